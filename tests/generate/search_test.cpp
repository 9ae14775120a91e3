// The sequences of the reference, token by token; and what must not change a sequence: the cache, the batch,
// the order of beams.
#include "generate/search.h"

#include "generate/beams.h"
#include "generate/causal_decoder.h"
#include "generate/processors.h"
#include "generate/settings.h"
#include "models/model_case.h"
#include "models/virtual_tokens.h"
#include "models/weights.h"

namespace graft::generate {
namespace {
using namespace graft::test;
using Ids = std::vector<int32_t>;

struct Fixture {
  Model model;
  Json json;
  std::vector<Ids> prompts;  // without padding

  explicit Fixture(const std::filesystem::path& golden)
      : model(load_model(golden / "gpt2/causal_lm")),
        json(read_json(golden / "gpt2/generate/generate.json")) {
    const Json ids = json.at("inputs").at("input_ids").at("data"),
               mask = json.at("inputs").at("attention_mask").at("data");
    for (size_t b = 0; b < ids.size(); ++b) {
      prompts.emplace_back();
      for (size_t i = 0; i < ids[b].size(); ++i)
        if (mask[b][i].get<int>() == 1) prompts.back().push_back(ids[b][i].get<int32_t>());
    }
  }

  std::vector<std::vector<Generated>> run(const GenerationOptions& o, const std::vector<Ids>& of,
                                          const SearchHooks& hooks = {}) const {
    check(o);
    const auto n = static_cast<int64_t>(of.size()) * std::max(o.num_beams, o.num_return_sequences);
    const auto decoder = make_decoder(model.state(), n, 40, o.use_cache);
    return search(*decoder, of, o, std::vector<int64_t>(of.size(), *o.max_new_tokens), hooks);
  }
};

GenerationOptions options_of(const Json& run, size_t padded_length) {
  GenerationOptions o = read_settings(run.at("options"), Json(), "generate.json");
  // The reference counts the padding of the prompt, too.
  if (o.min_length > 0) o.min_new_tokens = o.min_length - static_cast<int64_t>(padded_length);
  o.min_length = 0;
  return o;
}

TEST(Search, EveryRunOfTheFixtureIsReproducedTokenByToken) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Fixture f(golden);
  const Json runs = f.json.at("runs");
  int compared = 0;
  for (const auto& [name, run] : runs.items()) {
    const size_t padded = f.json.at("inputs").at("input_ids").at("data")[0].size();
    const GenerationOptions o = options_of(run, padded);
    const Json sequences = run.at("sequences");
    const auto found = f.run(o, f.prompts);
    for (size_t p = 0; p < f.prompts.size(); ++p) {
      for (size_t i = 0; i < found[p].size(); ++i) {
        const size_t row = p * found[p].size() + i;
        Ids expected = f.prompts[p];
        bool ended = false;
        for (size_t t = padded; t < sequences[row].size() && !ended; ++t) {
          expected.push_back(sequences[row][t].get<int32_t>());
          ended = expected.back() == o.eos_token_id.front();
        }
        EXPECT_EQ(found[p][i].tokens, expected) << name << " row " << row;
        if (run.contains("sequences_scores")) {
          EXPECT_NEAR(found[p][i].score, run.at("sequences_scores")[row].get<double>(), 1e-4)
              << name << " row " << row;
        }
        ++compared;
      }
    }
  }
  EXPECT_EQ(compared, 6 * 4 + 12);
}

std::vector<GenerationOptions> varied() {
  GenerationOptions greedy;
  greedy.max_new_tokens = 20;
  greedy.eos_token_id = {1};
  GenerationOptions beams = greedy, sampled = greedy, penalties = greedy;
  beams.num_beams = beams.num_return_sequences = 4;
  sampled.do_sample = true;
  sampled.num_return_sequences = 3;
  sampled.temperature = 1.5;
  sampled.top_p = 0.9;
  penalties.num_beams = 3;
  penalties.no_repeat_ngram_size = 2;
  penalties.repetition_penalty = 1.3;
  penalties.min_new_tokens = 8;
  return {greedy, beams, sampled, penalties};
}

std::vector<Ids> tokens_of(const std::vector<Generated>& found) {
  std::vector<Ids> out;
  for (const Generated& g : found) out.push_back(g.tokens);
  return out;
}

TEST(Search, ABatchEqualsItsMembersAndACacheChangesNothing) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Fixture f(golden);
  for (const bool bf16 : {false, true}) {
    f.model.state().bf16 = bf16;
    for (const GenerationOptions& o : varied()) {
      const auto together = f.run(o, f.prompts);
      GenerationOptions uncached = o;
      uncached.use_cache = false;
      const auto again = f.run(uncached, f.prompts);
      for (size_t p = 0; p < f.prompts.size(); ++p) {
        SearchHooks hooks;
        hooks.first_prompt = static_cast<int64_t>(p);
        EXPECT_EQ(tokens_of(f.run(o, {f.prompts[p]}, hooks)[0]), tokens_of(together[p]))
            << p << " bf16 " << bf16;
        if (!bf16) {
          EXPECT_EQ(tokens_of(again[p]), tokens_of(together[p])) << p;
        }
      }
    }
  }
}

// The cache begins with the virtual tokens, or with their keys and values, which no search sees.
TEST(Search, BehindVirtualTokensACacheChangesNothing) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const bool prefix : {false, true}) {
    const Fixture f(golden);
    models::State& state = f.model.state();
    state.parameters.reopen();
    models::declare_virtual_tokens(state, 4, prefix);
    state.parameters.allocate();
    if (prefix)
      models::initialize_parameter(state, *state.parameters.find(models::kPromptEmbeddings), 1);
    else
      models::start_from_words(state, {7, 3});
    state.parameters.touch_values();
    for (GenerationOptions o : varied()) {
      const auto found = f.run(o, f.prompts);
      o.use_cache = false;
      const auto again = f.run(o, f.prompts);
      for (size_t p = 0; p < f.prompts.size(); ++p)
        EXPECT_EQ(tokens_of(again[p]), tokens_of(found[p])) << p << prefix;
    }
  }
}

// A beam search with a single beam chooses the most probable token at each step; where it ends with the first
// finished beam, it ends as a greedy search does.
TEST(Search, OneBeamIsGreedy) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Fixture f(golden);
  const auto with_one_beam = [&](const Ids& prompt, const GenerationOptions& o) {
    const auto decoder = make_decoder(f.model.state(), 1, 40, true);
    Beams beam(prompt, o, *o.max_new_tokens);
    engine::Tensor logits = decoder->start({prompt});
    while (true) {
      std::vector<float> scores(logits.f32(), logits.f32() + logits.cols);
      log_softmax(scores);
      beam.extend({scores}, {});
      if (beam.done()) return beam.best().front().tokens;
      logits = decoder->step({0}, {beam.running(0).back()});
    }
  };
  size_t ended = 0;
  for (const bool ends : {false, true}) {
    for (const Ids& prompt : f.prompts) {
      GenerationOptions o = varied().front();
      o.eos_token_id.clear();
      const Ids longest = f.run(o, {prompt})[0][0].tokens;
      if (ends) o.eos_token_id = {longest[prompt.size() + 7]};  // a token that comes
      o.early_stopping = EarlyStopping::always;
      const Ids greedy = f.run(o, {prompt})[0][0].tokens;
      ended += greedy.size() < prompt.size() + 20 ? 1 : 0;
      EXPECT_EQ(with_one_beam(prompt, o), greedy);
    }
  }
  EXPECT_EQ(ended, f.prompts.size());
}

TEST(Search, SeedsAndCopiesDrawDifferently) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Fixture f(golden);
  GenerationOptions o = varied()[2];
  const auto first = tokens_of(f.run(o, {f.prompts[0]})[0]);
  EXPECT_NE(first[0], first[1]);
  EXPECT_EQ(first, tokens_of(f.run(o, {f.prompts[0]})[0]));
  o.seed = 43;
  EXPECT_NE(first, tokens_of(f.run(o, {f.prompts[0]})[0]));
  o.top_k = 1;
  GenerationOptions greedy = varied()[0];
  o.num_return_sequences = 1;
  EXPECT_EQ(tokens_of(f.run(o, {f.prompts[0]})[0]), tokens_of(f.run(greedy, {f.prompts[0]})[0]));
}

TEST(Search, TokensAreSeenAsTheyAreChosenAndStopsEndASequence) {
  GRAFT_SHARED_PATH(golden, "golden");
  const Fixture f(golden);
  GenerationOptions o = varied().front();
  Ids seen;
  SearchHooks hooks;
  hooks.on_token = [&](size_t sequence, int32_t token) {
    EXPECT_EQ(sequence, 0u);
    seen.push_back(token);
  };
  const Generated whole = f.run(o, {f.prompts[0]}, hooks)[0][0];
  EXPECT_EQ(seen,
            Ids(whole.tokens.begin() + static_cast<std::ptrdiff_t>(whole.prompt_length), whole.tokens.end()));
  hooks.on_token = nullptr;
  const size_t length = whole.prompt_length + 3;
  hooks.stops = [&](const Ids& tokens) { return tokens.size() == length; };
  EXPECT_EQ(f.run(o, {f.prompts[0]}, hooks)[0][0].tokens.size(), length);
}

TEST(Search, TheRealCheckpointContinuesAsItsReadmeHasIt) {
  GRAFT_SHARED_PATH(folder, "data/checkpoints/capp-gpt2");
  const Model model = load_model(folder);
  const Json expected = read_json(folder / "expected.json"),
             names = read_json(folder / "token_mappings.json");
  for (const Json& one : expected.at("cases")) {
    Ids prompt;
    for (const Json& id : one.at("input_ids")) prompt.push_back(id.get<int32_t>());
    GenerationOptions o;
    const auto steps = static_cast<int64_t>(one.at("greedy").size());
    const auto decoder = make_decoder(model.state(), 1, 64, true);
    const Generated g = search(*decoder, {prompt}, o, {steps})[0][0];
    for (size_t i = 0; i < one.at("greedy").size(); ++i) {
      const std::string id = std::to_string(g.tokens[g.prompt_length + i]);
      EXPECT_EQ(names.at("id2token").at(id).get<std::string>(), one.at("greedy")[i][0].get<std::string>());
    }
  }
}

TEST(Search, AModelThatIsNoCausalOneIsRefused) {
  GRAFT_SHARED_PATH(golden, "golden");
  for (const char* name : {"bert/mlm", "gpt2/seqcls_single"}) {
    const Model model = load_model(golden / name);
    EXPECT_THAT(error_of([&] { make_decoder(model.state(), 1, 8, true); }),
                testing::HasSubstr("does not continue texts"))
        << name;
  }
}

}  // namespace
}  // namespace graft::generate
