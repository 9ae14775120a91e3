// Generation of an encoder-decoder: the sequences of the reference, and what must not change them.
#include "generate/causal_decoder.h"
#include "generate/search.h"
#include "generate/settings.h"
#include "models/decoder.h"
#include "models/model_case.h"

namespace graft::generate {
namespace {
using namespace graft::test;
using Ids = std::vector<int32_t>;

struct Seq2SeqFixture {
  Model model;
  Json json;
  std::vector<Ids> sources;  // without padding
  int32_t start;

  Seq2SeqFixture(const std::filesystem::path& golden, const std::string& family)
      : model(load_model(golden / family / "seq2seq")),
        json(read_json(golden / family / "generate/generate.json")),
        start(*model.state().network.encoder->decoder()->decoder_start_token_id()) {
    const Json ids = json.at("inputs").at("input_ids").at("data"),
               mask = json.at("inputs").at("attention_mask").at("data");
    for (size_t b = 0; b < ids.size(); ++b) {
      sources.emplace_back();
      for (size_t i = 0; i < ids[b].size(); ++i)
        if (mask[b][i].get<int>() == 1) sources.back().push_back(ids[b][i].get<int32_t>());
    }
  }

  std::vector<std::vector<Generated>> run(const GenerationOptions& o, const std::vector<Ids>& of,
                                          const SearchHooks& hooks = {}) const {
    check(o);
    const auto n = static_cast<int64_t>(of.size()) * std::max(o.num_beams, o.num_return_sequences);
    const auto decoder = make_decoder(model.state(), n, 60, o.use_cache, of);
    return search(*decoder, std::vector<Ids>(of.size(), {start}), o,
                  std::vector<int64_t>(of.size(), o.max_new_tokens.value_or(20)), hooks);
  }
};

TEST(Seq2SeqSearch, EveryRunOfTheFixturesIsReproducedTokenByToken) {
  GRAFT_SHARED_PATH(golden, "golden");
  int compared = 0;
  for (const char* family : {"t5", "t5-v1_1"}) {
    const Seq2SeqFixture f(golden, family);
    const Json runs = f.json.at("runs");
    for (const auto& [name, run] : runs.items()) {
      const GenerationOptions o =
          read_settings(run.at("options"), f.model.state().config.json(), "generate.json");
      const Json sequences = run.at("sequences");
      const auto found = f.run(o, f.sources);
      for (size_t p = 0; p < f.sources.size(); ++p) {
        for (size_t i = 0; i < found[p].size(); ++i) {
          const size_t row = p * found[p].size() + i;
          Ids expected = {f.start};
          bool ended = false;
          for (size_t t = 1; t < sequences[row].size() && !ended; ++t) {
            expected.push_back(sequences[row][t].get<int32_t>());
            ended = expected.back() == o.eos_token_id.front();
          }
          EXPECT_EQ(found[p][i].tokens, expected) << family << " " << name << " row " << row;
          if (run.contains("sequences_scores")) {
            EXPECT_NEAR(found[p][i].score, run.at("sequences_scores")[row].get<double>(), 1e-4)
                << family << " " << name << " row " << row;
          }
          ++compared;
        }
      }
    }
  }
  EXPECT_GT(compared, 40);
}

std::vector<Ids> tokens_of_all(const std::vector<Generated>& found) {
  std::vector<Ids> out;
  for (const Generated& g : found) out.push_back(g.tokens);
  return out;
}

TEST(Seq2SeqSearch, ABatchEqualsItsMembersAndACacheChangesNothing) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* family : {"t5", "t5-v1_1"}) {
    const Seq2SeqFixture f(golden, family);
    for (const int beams : {1, 4}) {
      GenerationOptions o;
      o.max_new_tokens = 20;
      o.eos_token_id = {1};
      o.num_beams = o.num_return_sequences = beams;
      o.no_repeat_ngram_size = beams == 4 ? 2 : 0;
      const auto together = f.run(o, f.sources);
      GenerationOptions uncached = o;
      uncached.use_cache = false;
      const auto again = f.run(uncached, f.sources);
      for (size_t p = 0; p < f.sources.size(); ++p) {
        EXPECT_EQ(tokens_of_all(f.run(o, {f.sources[p]})[0]), tokens_of_all(together[p]))
            << family << " " << p;
        EXPECT_EQ(tokens_of_all(again[p]), tokens_of_all(together[p])) << family << " " << p;
      }
    }
  }
}

TEST(Seq2SeqSearch, SourcesThatDoNotFitTheModelAreRefused) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Model t5 = load_model(golden / "t5/seq2seq"), gpt2 = load_model(golden / "gpt2/causal_lm");
  EXPECT_THAT(error_of([&] { make_decoder(t5.state(), 1, 8, true); }), testing::HasSubstr("0 sources"));
  EXPECT_THAT(error_of([&] {
                make_decoder(gpt2.state(), 1, 8, true, {{5, 6}});
              }),
              testing::HasSubstr("1 sources"));
  const auto decoder = make_decoder(t5.state(), 2, 8, true, {{5, 6}});
  EXPECT_THAT(error_of([&] { decoder->start({{0}, {0}}); }), testing::HasSubstr("2 sequences for 1 sources"));
}

}  // namespace
}  // namespace graft::generate
