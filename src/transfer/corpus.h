// Prepares the text of continued pretraining, streamed: junk and duplicates are dropped, texts of a test set
// are found, a share is held out, and general text is mixed in against forgetting. Files that it writes:
//   train.txt, held_out.txt    a text a line
//   general_held_out.txt       of the replayed text, where there is one
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "graft/dataset.h"
#include "transfer/overlap.h"
#include "transfer/text_source.h"

namespace graft::transfer {

struct CorpusOptions {
  std::vector<std::filesystem::path> files;
  std::vector<std::filesystem::path> held_out_files{};  // instead of a share of `files`
  std::vector<std::filesystem::path> exclude_files{};   // test sets
  std::vector<std::filesystem::path> replay_files{};    // general text
  DatasetOptions columns{};                             // which columns of files with columns hold text
  bool remove_overlap = false;  // lines that hold a text of a test set are dropped; else they are counted
  bool remove_duplicates = true;
  double near_duplicates = 0.8;    // Jaccard similarity; above 1: exact duplicates alone
  double held_out_percentage = 5;  // of the texts, at most kHeldOutBytes
  double replay_ratio = 0.1;       // share of the replayed text in the training text, by bytes
  uint64_t max_bytes = 0;          // of the training text, sampled by content; 0 = all
  uint64_t seed = 42;
};

// About ten thousand masked tokens: more would cost time of each evaluation and little precision.
inline constexpr uint64_t kHeldOutBytes = uint64_t{256} << 10;

struct CorpusReport {
  SourceCounts source;
  int64_t exact_duplicates = 0, near_duplicates = 0;
  OverlapReport overlap;
  int64_t texts = 0, held_out_texts = 0, replay_texts = 0;  // written
  uint64_t bytes = 0, held_out_bytes = 0, replay_bytes = 0, replay_available = 0;
};

// Which texts are held out, sampled and replayed is a function of their content and the seed. Throws Error if
// fewer than two texts are left, and as TextSource does.
CorpusReport prepare_corpus(const CorpusOptions& options, const std::filesystem::path& folder);

// Logs what was read, dropped and found. `name`: "corpus".
void log_corpus(const CorpusReport& report, const CorpusOptions& options, const std::string& name);
Json to_json(const CorpusReport& report);
CorpusReport corpus_report(const Json& json);

}  // namespace graft::transfer
