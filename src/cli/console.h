// Output on stderr: log lines, a progress bar with an ETA, tables. stdout has results only.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "base/version.h"
#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"
#include "train/saved_arguments.h"

namespace graft::cli {

class Profile;

void install_log();
// A line on stderr, above the progress bar if there is one, if --log_level shows notes (or warnings, for one
// that begins with "warning: ").
void say(const std::string& text);
// The same at any --log_level.
void say_always(const std::string& text);
// Warns that a file with columns, such as a .csv, is read as lines of text.
void warn_of_columns(const std::string& file);
// Writes text to `out` and ignores write errors: a closed stderr must not end a run.
void put(std::FILE* out, const std::string& text);
// A progress bar on a terminal, else a line every 15 seconds.
void show_progress(const TrainProgress& progress);
void end_progress();
void say_log_entry(const LogEntry& entry);
// Name and value in two columns, to `out` (stdout or stderr).
void print_table(std::FILE* out, const LogEntry& entry);

// A verb's result on stdout: one json object, or a table, with the profile where there is one.
void print_result(const LogEntry& result, bool json, const Profile& profile);

// "bert with 4.4 M parameters from DIR; fp32 (why); 2 threads (why), instruction set"
void say_loaded(const Model& model, const std::string& name, const train::Precision& precision);
// Logs missing, mismatched and unused tensors.
void say_load_report(const LoadReport& report);
void say_unused(const LoadReport& report);  // only the unused tensors of the checkpoint

// Records that --num_threads was given, for say_loaded.
void threads_were_chosen();

// During its lifetime SIGINT and SIGTERM print `text`, which lives as long and begins with a line end, and
// end the program with 130 or 143.
class EndOnSignals {
 public:
  explicit EndOnSignals(const char* text);
  ~EndOnSignals();
  EndOnSignals(const EndOnSignals&) = delete;
  EndOnSignals& operator=(const EndOnSignals&) = delete;
};

// During its lifetime SIGINT and SIGTERM print a message and call trainer.request_stop(); a second signal
// ends the program. Afterwards signals do what they did before; where that was an EndOnSignals, with the text
// `afterwards`, unless it is null.
class StopOnSignals {
 public:
  explicit StopOnSignals(Trainer& trainer, const char* afterwards = nullptr);
  ~StopOnSignals();
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;

 private:
  const char* afterwards_;
};
// 130 or 143 after such a signal, else 0.
int signal_exit_code();

}  // namespace graft::cli
