#include "cli/graft_program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "base/file.h"
#include "base/philox.h"

namespace graft::test {
namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = R"({
  "model_type": "bert", "vocab_size": 25, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
  "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 40, "type_vocab_size": 2, "initializer_range": 0.1, "layer_norm_eps": 1e-12,
  "pad_token_id": 0
})";

const std::vector<std::string>& fillers() {
  static const std::vector<std::string> words = {"the", "film", "was", "book", "a",    "soup", "very", "with",
                                                 "and", "on",   "in",  "it",   "song", "is",   "of",   "."};
  return words;
}

std::string sentence(PhiloxStream& draws, std::vector<std::string> words) {
  const uint64_t length = words.size() + 2 + draws.below(6);
  while (words.size() < length) words.push_back(fillers()[draws.below(fillers().size())]);
  for (size_t i = words.size() - 1; i > 0; --i) std::swap(words[i], words[draws.below(i + 1)]);
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

PhiloxStream draws_of(int seed, const char* name) {
  return PhiloxStream(philox_key(static_cast<uint64_t>(seed), 0, name));
}

void write_gzip(const fs::path& path, const std::string& content) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())),
            static_cast<int>(content.size()));
  gzclose(file);
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& s : strings) out.push_back(s.data());
  out.push_back(nullptr);
  return out;
}

// In the child, between fork and exec.
[[noreturn]] void become_graft(const std::vector<std::string>& args, const RunOptions& options) {
  std::vector<std::string> all = {"graft"};
  all.insert(all.end(), args.begin(), args.end());
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  ::setenv("OMP_WAIT_POLICY", "passive", 0);  // tests share the cores with others
  ::setenv("HF_HOME", "/nonexistent", 1);
  if (options.file_size_limit >= 0) {
    const auto limit = static_cast<rlim_t>(options.file_size_limit);
    const rlimit limits = {limit, limit};
    ::setrlimit(RLIMIT_FSIZE, &limits);
  }
  // GRAFT_NAME is an option of `graft train`.
  std::vector<std::string> options_of_train;
  for (char** entry = environ; *entry; ++entry) {
    const std::string name = std::string(*entry).substr(0, std::string(*entry).find('='));
    if (name.starts_with("GRAFT_") && name != "GRAFT_ISA") options_of_train.push_back(name);
  }
  for (const std::string& name : options_of_train) ::unsetenv(name.c_str());
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (!options.stdout_file.empty())
    ::dup2(::open(options.stdout_file.c_str(), O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
  if (options.close_stderr) ::close(STDERR_FILENO);
  if (options.close_stdout) ::close(STDOUT_FILENO);
  if (options.close_stdin) ::close(STDIN_FILENO);
  ::execv(GRAFT_PROGRAM, pointers(all).data());
  ::_exit(127);
}

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

int memory_file(const std::string& content) {
  const int fd = ::memfd_create("graft-test", 0);
  EXPECT_EQ(write_fully(fd, content.data(), content.size()), 0);
  ::lseek(fd, 0, SEEK_SET);
  return fd;
}

std::string content_of(int fd) {
  ::lseek(fd, 0, SEEK_SET);
  std::string out;
  char buffer[1 << 14];
  for (ssize_t n; (n = ::read(fd, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<size_t>(n));
  ::close(fd);
  return out;
}

}  // namespace

Result run_graft(const std::vector<std::string>& args, const RunOptions& options) {
  const int in = memory_file(options.input), out = memory_file(""), err = memory_file("");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(in, STDIN_FILENO);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(err, STDERR_FILENO);
    become_graft(args, options);
  }
  int status = 0;
  rusage usage{};
  ::wait4(pid, &status, 0, &usage);
  ::close(in);
  Result result;
  result.max_rss = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  result.code = exit_code(status);
  result.out = content_of(out);
  result.err = content_of(err);
  return result;
}

std::string graft_output(const std::vector<std::string>& args, const std::string& input) {
  RunOptions options;
  options.input = input;
  const Result result = run_graft(args, options);
  EXPECT_EQ(result.code, 0) << result.err;
  return result.out;
}

RunningGraft::RunningGraft(const std::vector<std::string>& args) {
  int in[2], out[2], err[2];
  EXPECT_EQ(::pipe2(in, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC) | ::pipe2(err, O_CLOEXEC), 0);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    become_graft(args, {});
  }
  for (const int fd : {in[0], out[1], err[1]}) ::close(fd);
  input_ = in[1];
  output_ = out[0];
  error_ = err[0];
}

RunningGraft::~RunningGraft() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  for (const int fd : {input_, output_, error_}) {
    if (fd >= 0) ::close(fd);
  }
}

void RunningGraft::write_input(const std::string& text) {
  EXPECT_EQ(write_fully(input_, text.data(), text.size()), 0);
}

void RunningGraft::close_input() {
  ::close(input_);
  input_ = -1;
}

void RunningGraft::close_output() {
  ::close(output_);
  output_ = -1;
}

void RunningGraft::close_error() {
  ::close(error_);
  error_ = -1;
}

std::string RunningGraft::next_line(int fd) {
  std::string& buffer = buffers_[fd];
  for (;;) {
    if (const size_t end = buffer.find('\n'); end != std::string::npos) {
      const std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      return line;
    }
    pollfd wait_for = {fd, POLLIN, 0};
    if (::poll(&wait_for, 1, 60'000) <= 0) {
      ADD_FAILURE() << "no line within 60 s; so far: " << buffer;
      return "";
    }
    char bytes[4096];
    const ssize_t n = ::read(fd, bytes, sizeof bytes);
    if (n <= 0) return std::exchange(buffer, "");
    buffer.append(bytes, static_cast<size_t>(n));
  }
}

void RunningGraft::send(int signal) const { ::kill(pid_, signal); }

bool RunningGraft::running() {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == 0;
}

int RunningGraft::wait() {
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code(status);
}

World::World() {
  dir_.write("start/config.json", kConfig);
  std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nun\n##good\n";
  for (const std::string& w : fillers()) vocabulary += w + "\n";
  dir_.write("start/vocab.txt", vocabulary);
  dir_.write("start/tokenizer_config.json",
             R"({"tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 40})");
}

std::string World::rows(const std::string& name, int n, int seed) const {
  PhiloxStream draws = draws_of(seed, "rows");
  const bool json = name.find(".jsonl") != std::string::npos;
  const std::string separator = name.find(".tsv") != std::string::npos ? "\t" : ",";
  std::string out = json ? "" : "text" + separator + "label\n";
  for (int i = 0; i < n; ++i) {
    const bool good = draws.below(2) == 0;
    const std::string text = sentence(draws, {good ? "good" : "bad"}), label = good ? "pos" : "neg";
    out += json ? Json({{"text", text}, {"label", label}}).dump() + "\n" : text + separator + label + "\n";
  }
  if (!name.ends_with(".gz")) return write(name, out);
  write_gzip(dir_.path() / name, out);
  return *this / name;
}

std::string World::pairs(const std::string& name, int n, int seed) const {
  PhiloxStream draws = draws_of(seed, "pairs");
  std::string out = "sentence1,sentence2,label\n";
  for (int i = 0; i < n; ++i) {
    const bool first = draws.below(2) == 0, second = draws.below(2) == 0;
    out += sentence(draws, {first ? "good" : "bad"}) + "," + sentence(draws, {second ? "good" : "bad"}) +
           "," + (second ? "1" : "0") + "\n";
  }
  return write(name, out);
}

std::string World::scores(const std::string& name, int n, int seed) const {
  PhiloxStream draws = draws_of(seed, "scores");
  std::string out = "text,label\n";
  for (int i = 0; i < n; ++i) {
    const auto good = draws.below(3), bad = draws.below(3);
    std::vector<std::string> words(good, "good");
    words.insert(words.end(), bad, "bad");
    out += sentence(draws, words) + "," +
           std::to_string((static_cast<double>(good) - static_cast<double>(bad)) / 2) + "\n";
  }
  return write(name, out);
}

std::string World::multi_labels(const std::string& name, int n, int seed) const {
  PhiloxStream draws = draws_of(seed, "multi");
  std::string out;
  for (int i = 0; i < n; ++i) {
    std::vector<std::string> words;
    for (const char* word : {"good", "bad"}) {
      if (i < 2 || draws.below(2) == 0) words.emplace_back(word);
    }
    out += Json({{"text", sentence(draws, words)}, {"label", words}}).dump() + "\n";
  }
  return write(name, out);
}

std::string World::lines(const std::string& name, int n, int seed) const {
  PhiloxStream draws = draws_of(seed, "lines");
  std::string out;
  for (int i = 0; i < n; ++i) out += sentence(draws, {"good", "ungood"}) + "\n";
  return write(name, out);
}

std::vector<std::string> World::train_args(const std::string& output,
                                           const std::vector<std::string>& more) const {
  std::vector<std::string> args = {"train",
                                   "--config_name",
                                   *this / "start/config.json",
                                   "--tokenizer_name",
                                   *this / "start",
                                   "--output_dir",
                                   *this / output,
                                   "--learning_rate",
                                   "5e-3",
                                   "--num_train_epochs",
                                   "4",
                                   "--save_strategy",
                                   "no"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::string World::model() {
  if (!fs::exists(*this / "model/config.json")) {
    graft_output(train_args("model", {"--train_file", rows("model_train.csv", 96, 1)}));
  }
  return *this / "model";
}

std::string World::model_copy(const std::string& name) {
  fs::copy(model(), *this / name, fs::copy_options::recursive);
  return *this / name;
}

std::vector<Json> json_lines(const std::string& text) {
  std::vector<Json> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    out.push_back(parse_json(text.substr(begin, end - begin), "a line"));
    begin = end + 1;
  }
  return out;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) out.push_back(fs::relative(entry.path(), folder).string());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace graft::test
