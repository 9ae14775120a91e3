// MB/s of text to ids, per tokenizer and language, with a hash of all ids; loading times; two threads against
// one, and two processes.
// usage: tokenizer_bench [--shared DIR] [--mb N] [--tokenizers a,b] [--languages en,de] [--json] [--dump DIR]
//   --json prints one object a line: {"name","value","unit","limit","ratio"}; limit and ratio where there is
//   a target, "ids" (a hash of all of them) where a text was encoded.
//   --dump writes the documents as DIR/<language>.txt, for tokenizer_bench.mjs.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/file.h"
#include "base/threads.h"
#include "graft/tokenizer.h"
#include "two_threads.h"

namespace {

using graft::Encoding;
using graft::Tokenizer;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Arguments {
  std::string shared = "../shared", dump;
  double mb = 120;
  std::vector<std::string> tokenizers = {"bert-base-uncased", "gpt2", "roberta-base", "xlm-roberta-base",
                                         "t5-small"};
  std::vector<std::string> languages = {"en", "de", "ru", "zh"};
  bool json = false;
};

const std::map<std::string, std::vector<std::string>> kSources = {
    {"en", {"en/wikipedia", "en/openstax_books", "en/imdb_reviews"}},
    {"de", {"de/bundestag_debates", "de/eltec_novels", "de/gesetze_law", "de/d365_docs"}},
    {"ru", {"ru/d365_docs", "ru/eltec_novels", "ru/commonvoice_cc0"}},
    {"zh", {"zh/wikipedia", "zh/d365_docs", "zh/commonvoice_cc0"}}};

// Limits of the English rates (MB/s on one core) and of loading (ms).
const std::map<std::string, double> kMinRate = {
    {"bert-base-uncased", 120}, {"gpt2", 100}, {"xlm-roberta-base", 40}, {"t5-small", 40}};
const std::map<std::string, double> kMaxLoad = {{"bert-base-uncased", 15}, {"xlm-roberta-base", 150}};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> out;
  for (size_t pos = 0; pos <= list.size();) {
    const size_t end = std::min(list.find(',', pos), list.size());
    out.push_back(list.substr(pos, end - pos));
    pos = end + 1;
  }
  return out;
}

// The first lines of the language's corpora, each once.
std::vector<std::string> read_documents(const Arguments& args, const std::string& language) {
  std::vector<std::string> documents;
  std::unordered_set<std::string> seen;
  size_t bytes = 0;
  for (const std::string& source : kSources.at(language)) {
    const std::string command = fmt::format("xz -dc '{}/data/corpora/{}.txt.xz'", args.shared, source);
    FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) continue;
    std::string pending;
    std::vector<char> buffer(1 << 20);
    for (size_t n; static_cast<double>(bytes) < args.mb * 1e6 &&
                   (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      pending.append(buffer.data(), n);
      size_t pos = 0;
      for (size_t end; (end = pending.find('\n', pos)) != std::string::npos; pos = end + 1) {
        std::string document = pending.substr(pos, end - pos);
        if (!seen.insert(document).second) continue;
        bytes += document.size();
        documents.push_back(std::move(document));
      }
      pending.erase(0, pos);
    }
    pclose(pipe);
  }
  return documents;
}

struct Result {
  double mb_per_s = 0;
  uint64_t hash = 0;
  size_t tokens = 0;
};

using Blocks = std::vector<std::vector<std::string>>;

// A batch is as long as a reader would make it.
Blocks in_blocks(std::vector<std::string> documents) {
  constexpr size_t kBlock = 2048;
  Blocks blocks;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (i % kBlock == 0) blocks.emplace_back();
    blocks.back().push_back(std::move(documents[i]));
  }
  return blocks;
}

// Writes more than any cache holds.
void empty_caches() {
  static std::vector<char> buffer(size_t{256} << 20);
  for (size_t i = 0; i < buffer.size(); i += 64) ++buffer[i];
}

// Encodes everything, in blocks so that encodings do not pile up in memory; of three passes over all
// documents each block counts with its best time, which keeps other work on the machine out.
Result measure(const Tokenizer& tokenizer, const Blocks& blocks, bool offsets, int threads) {
  graft::set_num_threads(threads);
  graft::EncodeOptions options;
  options.ids_only = !offsets;
  size_t bytes = 0;
  for (const auto& block : blocks)
    for (const std::string& d : block) bytes += d.size();
  Result result;
  std::vector<double> best(blocks.size(), 1e9);
  for (int pass = 0; pass < 3; ++pass) {
    empty_caches();
    result.hash = 14695981039346656037u;
    result.tokens = 0;
    for (size_t b = 0; b < blocks.size(); ++b) {
      const auto start = Clock::now();
      const std::vector<Encoding> encodings = tokenizer.encode_batch(blocks[b], {}, options);
      best[b] = std::min(best[b], seconds_since(start));
      for (const Encoding& e : encodings)
        for (const int32_t id : e.input_ids) {
          result.hash = (result.hash ^ static_cast<uint32_t>(id)) * 1099511628211u;
          ++result.tokens;
        }
    }
  }
  double seconds = 0;
  for (const double b : best) seconds += b;
  result.mb_per_s = static_cast<double>(bytes) / 1e6 / seconds;
  graft::set_num_threads(0);
  return result;
}

graft::bench::TwoThreads compare(const Tokenizer& tokenizer, const Blocks& blocks) {
  graft::EncodeOptions options;
  options.ids_only = true;
  return graft::bench::compare_two_threads(blocks.size(), [&](size_t b) {
    const auto start = Clock::now();
    const std::vector<Encoding> encodings = tokenizer.encode_batch(blocks[b], {}, options);
    return seconds_since(start);
  });
}

class Report {
 public:
  explicit Report(bool json) : json_(json) {}
  // `limit` > 0: value must reach it; < 0: value must stay below -limit; 0: no target.
  void line(const std::string& name, double value, const char* unit, double limit,
            const std::string& note = "", const std::string& ids = "") {
    const double ratio = limit > 0 ? value / limit : limit < 0 ? -limit / value : 0;
    if (json_)
      fmt::print("{{\"name\":\"{}\",\"value\":{:.3f},\"unit\":\"{}\"{}{}}}\n", name, value, unit,
                 limit != 0 ? fmt::format(",\"limit\":{},\"ratio\":{:.3f}", std::abs(limit), ratio) : "",
                 ids.empty() ? "" : fmt::format(",\"ids\":\"{}\"", ids));
    else
      fmt::print(
          "{:<52}{:>10.2f} {:<6}{}{}\n", name, value, unit,
          limit != 0 ? fmt::format(" limit {:g} ({})", std::abs(limit), ratio >= 1 ? "met" : "MISSED") : "",
          note.empty() ? "" : "  " + note);
    std::fflush(stdout);
  }

 private:
  bool json_;
};

double limit_of(const std::map<std::string, double>& limits, const std::string& name) {
  const auto it = limits.find(name);
  return it == limits.end() ? 0 : it->second;
}

void bench_tokenizer(const Arguments& args, const std::string& name,
                     const std::map<std::string, Blocks>& documents, Report& report) {
  const std::string folder = args.shared + "/data/tokenizers/" + name;
  double load = 1e9;
  std::shared_ptr<Tokenizer> tokenizer;
  for (int i = 0; i < 5; ++i) {
    const auto start = Clock::now();
    tokenizer = Tokenizer::from_pretrained(folder);
    load = std::min(load, seconds_since(start) * 1e3);
  }
  report.line("tokenizer/" + name + "/load", load, "ms", -limit_of(kMaxLoad, name));
  double log_sum = 0;
  for (const std::string& language : args.languages) {
    const Result r = measure(*tokenizer, documents.at(language), false, 1);
    log_sum += std::log(r.mb_per_s);
    const std::string ids = fmt::format("{:016x}", r.hash);
    report.line("tokenizer/" + name + "/" + language, r.mb_per_s, "MB/s",
                language == "en" ? limit_of(kMinRate, name) : 0,
                fmt::format("{} tokens, ids {}", r.tokens, ids), ids);
    if (language != "en") continue;
    const Result with_offsets = measure(*tokenizer, documents.at(language), true, 1);
    report.line("tokenizer/" + name + "/en/offsets", with_offsets.mb_per_s, "MB/s", 0,
                fmt::format("{:.0f} % of ids only", 100 * with_offsets.mb_per_s / r.mb_per_s));
    const Result two = measure(*tokenizer, documents.at(language), false, 2);
    const graft::bench::TwoThreads times = compare(*tokenizer, documents.at(language));
    report.line("tokenizer/" + name + "/en/two_threads", times.threads, "x", 1.9,
                two.hash == r.hash ? "same ids" : "DIFFERENT IDS");
    report.line("tokenizer/" + name + "/en/two_processes", times.processes, "x", 0, "that share nothing");
  }
  report.line("tokenizer/" + name + "/mean", std::exp(log_sum / static_cast<double>(args.languages.size())),
              "MB/s", 0, "geometric mean");
}

}  // namespace

int main(int argc, char** argv) {
  Arguments args;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&] { return std::string(i + 1 < argc ? argv[++i] : ""); };
    if (option == "--json")
      args.json = true;
    else if (option == "--shared")
      args.shared = value();
    else if (option == "--dump")
      args.dump = value();
    else if (option == "--mb")
      args.mb = std::stod(value());
    else if (option == "--tokenizers")
      args.tokenizers = split(value());
    else if (option == "--languages")
      args.languages = split(value());
    else {
      fmt::print(stderr, "unknown option {}\n", option);
      return 2;
    }
  }
  std::map<std::string, Blocks> documents;
  for (const std::string& language : args.languages) {
    std::vector<std::string> texts = read_documents(args, language);
    if (!args.dump.empty()) {
      std::string all;
      for (const std::string& d : texts) all += d + "\n";
      graft::write_file(args.dump + "/" + language + ".txt", all);
    }
    documents[language] = in_blocks(std::move(texts));
  }
  Report report(args.json);
  for (const std::string& name : args.tokenizers) bench_tokenizer(args, name, documents, report);
}
