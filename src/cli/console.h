// What the program says on stderr: log lines, a progress bar with an ETA, tables. Results alone go to stdout.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "graft/model.h"
#include "graft/tokenizer.h"
#include "graft/trainer.h"
#include "train/saved_arguments.h"

namespace graft::cli {

class Profile;

inline constexpr const char* kVersion = "0.1.0";

void install_log();
// A line on stderr, above the progress bar if there is one.
void say(const std::string& text);
// Text to `out`; a stream that cannot be written (stderr closed, a pipe without a reader) must not end a run.
void put(std::FILE* out, const std::string& text);
// On a terminal a bar that is redrawn; else a line now and then.
void show_progress(const TrainProgress& progress);
void end_progress();
void say_log_entry(const LogEntry& entry);
// Name and value in two columns, to `out` (stdout or stderr).
void print_table(std::FILE* out, const LogEntry& entry);

// A verb's result on stdout: one json object, or a table, with the profile where there is one.
void print_result(const LogEntry& result, bool json, const Profile& profile);

// "bert with 4.4 M parameters from DIR; fp32 (why); 2 threads (why), instruction set"
void say_loaded(const Model& model, const std::string& name, const train::Precision& precision);
// Verdicts on tensors that did not fit.
void say_load_report(const LoadReport& report);
void say_unused(const LoadReport& report);  // the tensors of the checkpoint that nothing reads

// --num_threads was given: the line of say_loaded names it.
void threads_were_chosen();

// While one lives, SIGINT and SIGTERM ask `trainer` to stop, and say so at once; a second one ends the
// program. Afterwards a signal ends the program, as by default.
class StopOnSignals {
 public:
  explicit StopOnSignals(Trainer& trainer);
  ~StopOnSignals();
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;
};
// 130 or 143 where such a signal came, 0 where none did.
int signal_exit_code();

}  // namespace graft::cli
