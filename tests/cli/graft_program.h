// The built program run as a child process, and a world small enough to train in: a vocabulary of words,
// models of hidden size 16, generated data.
#pragma once
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "support/shared.h"

namespace graft::test {

struct Result {
  int code = -1;  // 128 + signal where a signal ended it
  std::string out, err;
  int64_t max_rss = 0;  // bytes: the most memory it had
};

struct RunOptions {
  std::string input;             // standard input
  int64_t file_size_limit = -1;  // bytes that a file may have, as a stand-in for a full disk
  bool close_stderr = false, close_stdout = false, close_stdin = false;
  std::string stdout_file{};  // standard output goes there, /dev/full for one
  std::map<std::string, std::string> environment{};
};

// Runs `graft ARGS...` to its end, offline and with an empty cache.
Result run_graft(const std::vector<std::string>& args, const RunOptions& options = {});
// A success: its standard output; anything else fails the test with what it said.
std::string graft_output(const std::vector<std::string>& args, const std::string& input = "");

// The program with pipes on its standard streams, for what happens while it runs.
class RunningGraft {
 public:
  explicit RunningGraft(const std::vector<std::string>& args);
  ~RunningGraft();
  void write_input(const std::string& text);
  void close_input();
  void close_output();  // the reader of its standard output goes away
  void close_error();
  // The next line of standard output or of standard error; "" at the end. A test failure after 60 s of
  // silence.
  std::string read_line() { return next_line(output_); }
  std::string read_error_line() { return next_line(error_); }
  void send(int signal) const;
  bool running();  // false once it has ended; wait() then gives the exit code
  int wait();      // the exit code, 128 + signal where a signal ended it

 private:
  std::string next_line(int fd);
  pid_t pid_ = -1;
  int input_ = -1, output_ = -1, error_ = -1;
  std::map<int, std::string> buffers_;
};

// Files to train with. Texts hold exactly one of "good" and "bad", which is their label (pos, neg).
class World {
 public:
  World();
  std::string operator/(const std::string& name) const { return (dir_.path() / name).string(); }
  std::string write(const std::string& name, const std::string& content) const {
    return dir_.write(name, content).string();
  }
  const TempDir& dir() const { return dir_; }

  // `n` rows, other ones for another seed; the extension decides the format (.csv .tsv .jsonl, each also
  // .gz).
  std::string rows(const std::string& name, int n, int seed) const;
  std::string pairs(const std::string& name, int n,
                    int seed) const;  // csv: sentence1, sentence2, label 0 or 1
  std::string scores(const std::string& name, int n, int seed) const;  // csv: text, label in [-1, 1]
  std::string multi_labels(const std::string& name, int n,
                           int seed) const;                           // jsonl: label a list of "good", "bad"
  std::string lines(const std::string& name, int n, int seed) const;  // plain text

  // Options for training from random weights into `output`, over which `more` goes.
  std::vector<std::string> train_args(const std::string& output,
                                      const std::vector<std::string>& more = {}) const;
  // The folder of a model trained on rows(); trained when first asked for.
  std::string model();
  // A copy of that folder under `name`, to be damaged.
  std::string model_copy(const std::string& name);

 private:
  TempDir dir_;
};

// One json object a line.
std::vector<Json> json_lines(const std::string& text);
// Names of the files below `folder`, sorted, folders left out.
std::vector<std::string> files_in(const std::string& folder);

}  // namespace graft::test
