#include "transfer/corpus.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/folder.h"
#include "transfer/duplicates.h"
#include "transfer/line_file.h"
#include "transfer/words.h"

namespace graft::transfer {
namespace fs = std::filesystem;

namespace {

uint64_t bytes_of(const std::vector<fs::path>& files) {
  uint64_t bytes = 0;
  for (const fs::path& file : files) {
    const std::string extension = file.extension().string();
    const bool packed = extension == ".gz" || extension == ".zst" || extension == ".xz";
    bytes += MappedFile(file).size() * (packed ? 4 : 1);
  }
  return bytes;
}

// A share of all texts by the hash of their content.
class Share {
 public:
  Share(double share, uint64_t seed)
      : least_(share >= 1 ? std::numeric_limits<uint64_t>::max()
                          : static_cast<uint64_t>(std::max(0.0, share) * 0x1p64)),
        seed_(seed) {}
  bool has(std::string_view text) const { return hash_of_text(text, seed_) <= least_ && least_ > 0; }

 private:
  uint64_t least_, seed_;
};

// Different draws of one run.
enum Draw : uint64_t { kHeldOutDraw = 1, kSampleDraw, kReplayHeldOutDraw, kReplayDraw };

// Reads, cleans and deduplicates `files` into one file of lines.
void collect(const CorpusOptions& o, const std::vector<fs::path>& files, TestTexts* tests, const fs::path& to,
             CorpusReport& report) {
  TextSource source(files, o.columns);
  LineFile out(to);
  std::unique_ptr<DuplicateFinder> duplicates;
  if (o.remove_duplicates)
    duplicates = std::make_unique<DuplicateFinder>(out, bytes_of(files), o.near_duplicates);
  std::vector<uint64_t> words;
  for (SourceText text; source.next(text);) {
    if (duplicates || tests) word_hashes(text.text, words);
    if (tests && tests->look_in(text.text, words, files[text.file].string(), text.line) && o.remove_overlap)
      continue;
    if (duplicates) {
      const Duplicate kind = duplicates->find(text.text, words);
      report.exact_duplicates += kind == Duplicate::exact;
      report.near_duplicates += kind == Duplicate::near;
      if (kind != Duplicate::none) continue;
    }
    const uint64_t position = out.append(text.text);
    if (duplicates) duplicates->add(position);
  }
  out.finish();
  report.source = source.counts();
}

struct Sizes {
  uint64_t bytes = 0;
  int64_t texts = 0;
};
Sizes sizes_of_lines(const fs::path& file) {
  Sizes sizes;
  for_each_line(file, [&](std::string_view line) { sizes.bytes += line.size() + 1, ++sizes.texts; });
  return sizes;
}

// Which lines of a collected file are held out: a share by content, at least one text.
class HeldOut {
 public:
  HeldOut(const fs::path& file, const Sizes& sizes, double percentage, uint64_t seed)
      : share_(
            std::min(percentage / 100, static_cast<double>(kHeldOutBytes) / static_cast<double>(sizes.bytes)),
            seed) {
    if (percentage <= 0) return;
    bool any = false;
    uint64_t least = std::numeric_limits<uint64_t>::max();
    for_each_line(file, [&](std::string_view line) {
      any |= share_.has(line);
      if (const uint64_t hash = hash_of_text(line, seed); hash < least) least = hash, first_ = line;
    });
    if (any) first_.clear();
  }
  bool has(std::string_view line) const { return share_.has(line) || (!first_.empty() && line == first_); }

 private:
  Share share_;
  std::string first_;  // the text with the smallest hash, where the share has none
};

[[noreturn]] void fail_for_few(const CorpusOptions& o, const CorpusReport& r, int64_t texts) {
  const int64_t dropped =
      r.exact_duplicates + r.near_duplicates + (o.remove_overlap ? r.overlap.corpus_lines : 0);
  fail_with("give more text, a sentence or paragraph a line; one text is held out and another is trained on",
            "{}{}: {} after {} lines ({} empty, {} no text, {} duplicates or texts of a test set)",
            o.files.front().string(),
            o.files.size() > 1 ? fmt::format(" and {} more", o.files.size() - 1) : "",
            texts == 0 ? "no text is left" : "one text alone is left", r.source.lines, r.source.empty_lines,
            r.source.junk_lines, dropped);
}

// The general text, a line at a time, in proportion to the text that was written.
class Replay {
 public:
  Replay(const CorpusOptions& o, const fs::path& folder, uint64_t domain_bytes, CorpusReport& report)
      : report_(report), domain_bytes_(domain_bytes), file_(folder / "replay.tmp") {
    CorpusReport of_replay;
    CorpusOptions options = o;
    options.remove_overlap = false;
    collect(options, o.replay_files, nullptr, file_, of_replay);
    const Sizes sizes = sizes_of_lines(file_);
    if (sizes.texts < 2) fail("{}: fewer than two texts to replay", o.replay_files.front().string());
    const HeldOut held(file_, sizes, std::max(o.held_out_percentage, 1.0), o.seed + kReplayHeldOutDraw);
    LineFile held_out(folder / "general_held_out.txt");
    for_each_line(file_, [&](std::string_view line) {
      if (held.has(line))
        held_out.append(line);
      else
        report.replay_available += line.size() + 1;
    });
    held_out.finish();
    wanted_ =
        static_cast<uint64_t>(static_cast<double>(domain_bytes) * o.replay_ratio / (1 - o.replay_ratio));
    const Share share(static_cast<double>(wanted_) / static_cast<double>(report.replay_available),
                      o.seed + kReplayDraw);
    LineFile chosen(folder / "chosen.tmp");
    for_each_line(file_, [&](std::string_view line) {
      if (!held.has(line) && share.has(line)) chosen.append(line);
    });
    chosen.finish();
    replace_file(folder / "chosen.tmp");
    mapped_ = std::make_unique<MappedFile>(file_);
    rest_ = mapped_->text();
    chosen_bytes_ = rest_.size();
  }
  ~Replay() {
    mapped_.reset();
    std::error_code ignored;
    fs::remove(file_, ignored);
  }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  // Writes what is due after `domain_done` bytes of the domain.
  void catch_up(uint64_t domain_done, LineFile& out) {
    const double due = static_cast<double>(chosen_bytes_) * static_cast<double>(domain_done) /
                       static_cast<double>(std::max<uint64_t>(domain_bytes_, 1));
    while (!rest_.empty() && static_cast<double>(report_.replay_bytes) < due) {
      const std::string_view line = rest_.substr(0, rest_.find('\n'));
      out.append(line);
      rest_.remove_prefix(line.size() + 1);
      report_.replay_bytes += line.size() + 1;
      ++report_.replay_texts;
    }
  }

 private:
  void replace_file(const fs::path& by) const {
    remove_file(file_);
    move_path(by, file_);
  }
  CorpusReport& report_;
  uint64_t domain_bytes_, wanted_ = 0, chosen_bytes_ = 0;
  fs::path file_;
  std::unique_ptr<MappedFile> mapped_;
  std::string_view rest_;
};

// Splits the collected text into train.txt and held_out.txt.
void split(const CorpusOptions& o, const fs::path& collected, const fs::path& folder, CorpusReport& report) {
  const Sizes all = sizes_of_lines(collected);
  const bool holds_out = o.held_out_files.empty();
  if (all.texts < (holds_out ? 2 : 1)) fail_for_few(o, report, all.texts);
  const HeldOut held(collected, all, holds_out ? o.held_out_percentage : 0, o.seed + kHeldOutDraw);
  uint64_t training_bytes = 0;
  LineFile held_out(folder / "held_out.txt");
  for_each_line(collected, [&](std::string_view line) {
    if (!held.has(line)) return void(training_bytes += line.size() + 1);
    held_out.append(line);
    report.held_out_bytes += line.size() + 1;
    ++report.held_out_texts;
  });
  if (!holds_out) {
    TextSource source(o.held_out_files, o.columns);
    for (SourceText text; source.next(text); ++report.held_out_texts) {
      held_out.append(text.text);
      report.held_out_bytes += text.text.size() + 1;
    }
    if (report.held_out_texts == 0) fail("{}: no text to evaluate on", o.held_out_files.front().string());
  }
  held_out.finish();
  if (training_bytes == 0) fail_for_few(o, report, all.texts);
  const bool samples = o.max_bytes > 0 && o.max_bytes < training_bytes;
  const Share sample(samples ? static_cast<double>(o.max_bytes) / static_cast<double>(training_bytes) : 1,
                     o.seed + kSampleDraw);
  std::unique_ptr<Replay> replay;
  if (!o.replay_files.empty() && o.replay_ratio > 0)
    replay = std::make_unique<Replay>(o, folder, samples ? o.max_bytes : training_bytes, report);
  LineFile train(folder / "train.txt");
  for_each_line(collected, [&](std::string_view line) {
    if (held.has(line) || !sample.has(line)) return;
    train.append(line);
    report.bytes += line.size() + 1;
    ++report.texts;
    if (replay) replay->catch_up(report.bytes, train);
  });
  train.finish();
}

}  // namespace

CorpusReport prepare_corpus(const CorpusOptions& o, const fs::path& folder) {
  if (o.files.empty()) fail("no files of text");
  make_folders(folder);
  CorpusReport report;
  TestTexts tests;
  for (const fs::path& file : o.exclude_files) tests.add_file(file, o.columns);
  const fs::path collected = folder / "collected.tmp";
  collect(o, o.files, tests.empty() ? nullptr : &tests, collected, report);
  report.overlap = tests.report();
  split(o, collected, folder, report);
  remove_file(collected);
  return report;
}

}  // namespace graft::transfer
