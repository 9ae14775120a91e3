#include "cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include "base/json.h"
#include "base/log.h"
#include "base/threads.h"
#include "cli/profile.h"
#include "data/rows.h"
#include "engine/device.h"

namespace graft::cli {
namespace {

std::mutex mutex;
bool bar_drawn = false;
std::chrono::steady_clock::time_point last_drawn;

bool on_terminal() {
  static const bool yes = ::isatty(STDERR_FILENO) != 0;
  return yes;
}

}  // namespace

void put(std::FILE* out, const std::string& text) {
  const size_t written = std::fwrite(text.data(), 1, text.size(), out);
  if (written != text.size()) std::clearerr(out);
}

namespace {

void clear_bar() {
  if (bar_drawn) put(stderr, "\r\x1b[K");
  bar_drawn = false;
}

std::string duration(double seconds) {
  const int64_t s = std::llround(seconds);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string number(double x) {
  if (std::isnan(x)) return "undefined";  // a metric of too little data
  if (std::abs(x) < 1e9 && x == static_cast<double>(static_cast<int64_t>(x)))
    return fmt::format("{}", static_cast<int64_t>(x));
  return std::abs(x) < 1e-3 ? fmt::format("{:.3e}", x) : fmt::format("{:.4f}", x);
}

std::string list_names(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < 6; ++i) out += (i ? ", " : "") + names[i];
  return names.size() > 6 ? out + fmt::format(" and {} more", names.size() - 6) : out;
}

volatile std::sig_atomic_t signal_received = 0;
std::atomic<const char*> last_words = nullptr;  // of a signal that ends the process at once
std::atomic<Trainer*> to_stop = nullptr;
std::atomic<int> handlers_running = 0;
bool signal_below_bar = false;
bool threads_chosen = false;  // by --num_threads

void on_signal(int signal) {
  if (const char* text = last_words) {
    const std::string_view said = signal_below_bar ? text : text + 1;  // they begin with a line end
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, said.data(), said.size());
    ::_exit(128 + signal);
  }
  if (signal_received) ::_exit(128 + signal);  // the second one quits immediately
  const int error = errno;
  signal_received = signal;
  ++handlers_running;
  if (Trainer* trainer = to_stop) trainer->request_stop();
  --handlers_running;
  static constexpr char kStopping[] =
      "\nStopping after this batch, then saving. Press Ctrl-C again to quit immediately.\n";
  const int start = signal_below_bar ? 0 : 1;  // the bar has no line end
  [[maybe_unused]] const auto written =
      ::write(STDERR_FILENO, kStopping + start, sizeof kStopping - 1 - start);
  errno = error;
}

}  // namespace

void install_log() {
  set_log_sink([](LogLevel level, const std::string& text) {
    say(level == LogLevel::warning ? "warning: " + text : text);
  });
}

void say(const std::string& text) {
  if (is_logged(text.starts_with("warning: ") ? LogLevel::warning : LogLevel::info)) say_always(text);
}

void say_always(const std::string& text) {
  const std::lock_guard lock(mutex);
  clear_bar();
  put(stderr, text + "\n");
}

void warn_of_columns(const std::string& file) {
  const std::optional<data::Format> format = data::known_format(file);
  if (!format || *format == data::Format::txt) return;
  say(fmt::format("warning: {}: each line is read as a text, whole: this command does not read columns",
                  file));
}

void show_progress(const TrainProgress& p) {
  const std::lock_guard lock(mutex);
  const auto now = std::chrono::steady_clock::now();
  const double since = std::chrono::duration<double>(now - last_drawn).count();
  const bool last = p.step == p.total_steps;
  if (since < (on_terminal() ? 0.1 : 15.0) && !(last && on_terminal())) return;
  last_drawn = now;
  const double share = static_cast<double>(p.step) / static_cast<double>(p.total_steps);
  const std::string text = fmt::format(
      "step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {:.0f} tokens/s  {:.0f} examples/s  ETA {}", p.step,
      p.total_steps, p.epoch, p.loss, p.learning_rate, p.tokens_per_second, p.examples_per_second,
      duration(p.seconds_left));
  if (!on_terminal()) {
    put(stderr, text + "\n");
    return;
  }
  const int width = 20, filled = static_cast<int>(std::lround(share * width));
  put(stderr,
      fmt::format("\r\x1b[K{:3.0f}% [{}{}] {}", share * 100, std::string(static_cast<size_t>(filled), '#'),
                  std::string(static_cast<size_t>(width - filled), '.'), text));
  std::fflush(stderr);
  bar_drawn = true;
}

void end_progress() {
  const std::lock_guard lock(mutex);
  if (bar_drawn) put(stderr, "\n");
  bar_drawn = false;
}

void say_log_entry(const LogEntry& entry) {
  std::string line;
  for (const auto& [name, value] : entry)
    line += fmt::format("{}{} {}", line.empty() ? "" : "  ", name, number(value));
  say_always(line);
}

void print_result(const LogEntry& result, bool json, const Profile& profile) {
  if (!json) {
    print_table(stdout, result);
    if (profile.on()) profile.print(stdout);
    return;
  }
  Json out = Json::object();
  for (const auto& [name, value] : result) out[name] = value;
  if (profile.on()) out["profile"] = profile.json();
  fmt::print("{}\n", out.dump());
}

void print_table(std::FILE* out, const LogEntry& entry) {
  size_t width = 0;
  for (const auto& [name, value] : entry) width = std::max(width, name.size());
  for (const auto& [name, value] : entry) fmt::print(out, "  {:{}}  {}\n", name, width, number(value));
}

void threads_were_chosen() { threads_chosen = true; }

namespace {

std::string why_threads() { return threads_chosen ? "--num_threads" : num_threads_reason(); }

}  // namespace

void say_loaded(const Model& model, const std::string& name, const train::Precision& precision) {
  say(fmt::format("graft {}: {} for {} with {:.1f} M parameters from {}; {} ({}); {} thread{} ({}), {}",
                  kVersion, model.model_type(), model.task(),
                  static_cast<double>(model.num_parameters()) / 1e6, name, precision.bf16 ? "bf16" : "fp32",
                  precision.why, num_threads(), num_threads() == 1 ? "" : "s", why_threads(),
                  engine::default_device().description()));
}

void say_load_report(const LoadReport& report) {
  if (!report.missing.empty())
    say(fmt::format("newly initialized (not in the checkpoint): {}", list_names(report.missing)));
  if (!report.mismatched.empty())
    say(fmt::format("warning: reinitialized because of a shape mismatch: {}", list_names(report.mismatched)));
  say_unused(report);
}

void say_unused(const LoadReport& report) {
  if (!report.unexpected.empty())
    say(fmt::format("in the checkpoint, not used by this task: {}", list_names(report.unexpected)));
}

namespace {

void handle_signals() {
  signal_below_bar = on_terminal();
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void use_default_signals() {
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
}

}  // namespace

EndOnSignals::EndOnSignals(const char* text) {
  last_words = text;
  handle_signals();
}

EndOnSignals::~EndOnSignals() {
  use_default_signals();
  last_words = nullptr;
}

StopOnSignals::StopOnSignals(Trainer& trainer, const char* afterwards) : afterwards_(last_words) {
  if (afterwards_ && afterwards) afterwards_ = afterwards;
  to_stop = &trainer;
  last_words = nullptr;
  handle_signals();
}

// Handlers may run on any thread. Waits for those that run, because they use the trainer.
StopOnSignals::~StopOnSignals() {
  if (!afterwards_) use_default_signals();
  last_words = afterwards_;
  to_stop = nullptr;
  while (handlers_running > 0) {
  }
}

int signal_exit_code() { return signal_received ? 128 + signal_received : 0; }

}  // namespace graft::cli
