// The program: runs the verb, prints the error that it throws, and returns the exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "cli/console.h"
#include "cli/environment.h"
#include "cli/suggestions.h"
#include "cli/verbs.h"
#include "graft/error.h"

namespace graft::cli {
namespace {

struct Verb {
  const char* name;
  int (*run)(int argc, char** argv);
  const char* summary;
};

constexpr Verb kVerbs[] = {
    {"train", train, "fine-tune a checkpoint on labelled data, or pretrain it on text"},
    {"adapt", adapt, "continued pretraining on text of a domain, and what it gains on a task"},
    {"xling", xling, "train on one language, and the scores of every language: the matrix"},
    {"evaluate", evaluate, "metrics of a fine-tuned model on labelled data"},
    {"predict", predict, "labels and scores for texts, as jsonl"},
    {"embed", embed, "embeddings of texts, as .npy or jsonl"},
    {"generate", generate, "continuations of texts"},
    {"tokenize", tokenize, "ids, tokens and offsets of texts, as jsonl"},
    {"info", info, "parameters, sizes, tokenizer and memory of a checkpoint"},
    {"parity", parity, "compare with reference numbers: outputs, gradients, trained weights"},
    {"pull", pull, "download a model into the Hugging Face cache"},
    {"train-tokenizer", train_tokenizer, "a new vocabulary from text"},
    {"distill", distill, "a small student that learns from a teacher on unlabelled text"},
    {"merge", merge, "several models made into one, or adapters into their base"},
    {"prune", prune, "a smaller copy of a model: fewer layers, a smaller vocabulary"},
    {"verify-resume", verify_resume, "prove on your own run that resuming gives the same bits"},
};

void print_help(std::FILE* out) {
  fmt::print(
      out,
      "graft {}: transfer learning for NLP as native software\n\nusage: graft VERB [--option VALUE]...\n\n",
      kVersion);
  for (const Verb& v : kVerbs) fmt::print(out, "  {:15} {}\n", v.name, v.summary);
  fmt::print(out,
             "\nExamples:\n"
             "  graft train --model bert-base-uncased --task sequence-classification \\\n"
             "      --train_file train.csv --validation_file dev.csv --output_dir results\n"
             "  graft predict --model results --input texts.txt\n\n"
             "`graft VERB --help` explains a verb. Exit codes: 0 success, 1 failure, 2 usage, 130/143 "
             "interrupted.\n");
}

// Opens /dev/null for each closed standard stream. Otherwise a file opened later, such as a model, would get
// its descriptor, and results would be written into it. Reads and writes on the replacement fail; standard
// error is discarded.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one.
    [[maybe_unused]] const int opened = ::open("/dev/null", fd == STDOUT_FILENO ? O_RDONLY : O_WRONLY);
  }
}

void finish_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw std::system_error(errno ? errno : EIO, std::generic_category());
}

int run(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (name.empty() || name == "--help" || name == "-h" || name == "help") {
    print_help(name.empty() ? stderr : stdout);
    return name.empty() ? 2 : 0;
  }
  if (name == "--version") {
    fmt::print("graft {}\n", kVersion);
    return 0;
  }
  std::vector<std::string> known;
  for (const Verb& v : kVerbs) {
    if (name == v.name) return v.run(argc, argv);
    known.emplace_back(v.name);
  }
  const std::string near = suggested_verb(name, known);
  throw UsageError(fmt::format("graft has no verb \"{}\"", name),
                   near.empty() ? "graft --help lists the verbs" : "did you mean `graft " + near + "`?");
}

}  // namespace
}  // namespace graft::cli

int main(int argc, char** argv) {
  const auto complain = [](const std::string& what, const std::string& hint) {
    graft::cli::end_progress();
    graft::cli::put(stderr, "error: " + what + "\n");
    if (!hint.empty()) graft::cli::put(stderr, "hint: " + hint + "\n");
  };
  graft::cli::occupy_standard_streams();
  // A closed pipe or a file-size limit makes a write fail instead of ending a training run.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  const int kReaderGone = 128 + SIGPIPE;  // what a shell shows for `graft ... | head -1`
  try {
    graft::cli::install_log();
    const bool trains = argc > 1 && std::string_view(argv[1]) == "train";
    graft::cli::warn_of_misspelt_variables(graft::cli::train_options(), trains);
    const int code = graft::cli::run(argc, argv);
    graft::cli::finish_output();
    return code;
  } catch (const graft::UsageError& e) {
    complain(e.what(), e.hint());
    return 2;
  } catch (const graft::Error& e) {
    complain(e.what(), e.hint());
    return 1;
  } catch (const std::bad_alloc&) {
    complain("out of memory", "use a smaller batch or model");
    return 1;
  } catch (const std::system_error& e) {
    if (e.code() == std::errc::broken_pipe) return kReaderGone;
    // An error of fmt::print does not name the stream.
    complain(std::ferror(stdout) ? "standard output: cannot write: " + e.code().message() : e.what(), "");
    return 1;
  } catch (const std::exception& e) {
    complain(e.what(), "");
    return 1;
  }
}
