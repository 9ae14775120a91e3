// Continued pretraining on several languages and on pairs of sentences.
#include "transfer/pretraining.h"

#include <cmath>

#include "base/philox.h"
#include "models/registry.h"
#include "train/tiny_run.h"
#include "train/train_state.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;
using test::TinyRun;
using testing::ElementsAre;

// Sentences of random words, and their translations word by word: only the other sentence shows what is
// masked.
struct Texts {
  TinyRun run;
  Texts() {
    run.model(models::kMaskedLm.task, {}).save_pretrained(run / "model");
    for (const char* file : {"vocab.txt", "tokenizer_config.json"})
      fs::copy_file(run / "tokenizer" / file, run / "model" / file, fs::copy_options::overwrite_existing);
  }

  // A prepared folder of `n` texts to train on and 40 that are held out.
  fs::path corpus(const std::string& name, int n, uint64_t seed, bool pairs) const {
    for (const auto& [file, lines] : {std::pair{"/train.txt", n}, {"/held_out.txt", 40}}) {
      PhiloxStream draws(philox_key(seed, static_cast<uint64_t>(lines), "texts"));
      std::string text;
      for (int i = 0; i < lines; ++i) {
        std::string source, target;
        for (int word = 0; word < 5; ++word) {
          const std::string vowel(1, "aeiou"[draws.below(5)]), space = word > 0 ? " " : "";
          source += space + "b" + vowel;
          target += space + "n" + vowel;
        }
        text += source + (pairs ? "\t" + target : "") + "\n";
      }
      run.dir().write(name + file, text);
    }
    return run / name;
  }

  PretrainingResult pretrain(const PretrainingText& text, int steps) {
    PretrainingSettings settings;
    settings.objective = {&models::kMaskedLm, false, false};
    settings.arguments = run.arguments();
    settings.arguments.max_seq_length = 16;
    settings.arguments.max_steps = steps;
    Hooks hooks;
    hooks.train = [](Trainer& trainer, train::TrainState& state) { return trainer.train(state, Observer()); };
    return transfer::pretrain("dapt", run / "model", text, settings, run / "stages", hooks);
  }
};

TEST(Pretraining, TranslationLmFindsAWordInTheOtherSentence) {
  Texts texts;
  PretrainingText text = {.corpora = {{"", texts.corpus("text", 200, 1, false)}}};
  text.parallel = texts.corpus("pairs", 400, 2, true);
  text.tlm_share = 0.8;
  const PretrainingResult r = texts.pretrain(text, 1000);
  ASSERT_EQ(r.mixture.size(), 2u);
  EXPECT_EQ(r.mixture[0].name, "mlm");
  EXPECT_EQ(r.mixture[1].name, "tlm");
  EXPECT_NEAR(r.mixture[1].share_after, 0.8, 0.01);
  // One of five words is right by chance.
  EXPECT_GT(*r.after.domain, 4);
  EXPECT_LT(*r.after.tlm, 3);
  EXPECT_GT(*r.before.tlm, 20);
}

TEST(Pretraining, LanguagesAreDrawnWithATemperatureAndScoredEach) {
  Texts texts;
  PretrainingText text = {
      .corpora = {{"en", texts.corpus("en", 320, 1, false)}, {"zh-Hant", texts.corpus("zh", 40, 2, false)}}};
  text.sampling_temperature = 3;
  const PretrainingResult r = texts.pretrain(text, 4);
  ASSERT_EQ(r.mixture.size(), 2u);
  EXPECT_NEAR(r.mixture[0].share_before, 8.0 / 9, 0.02);
  EXPECT_NEAR(r.mixture[0].share_after, 2.0 / 3, 0.02);  // 8^(1/3) = 2
  ASSERT_EQ(r.after.languages.size(), 2u);
  EXPECT_EQ(r.after.languages[1].first, "zh-Hant");
  EXPECT_NEAR(*r.after.domain, std::sqrt(r.after.languages[0].second * r.after.languages[1].second), 1e-6);

  const PretrainingResult cached = texts.pretrain(text, 4);
  EXPECT_TRUE(cached.cached);
  EXPECT_EQ(to_json(cached.mixture), to_json(r.mixture));
  EXPECT_EQ(cached.after.languages, r.after.languages);
  text.sampling_temperature = 2;
  EXPECT_FALSE(texts.pretrain(text, 4).cached);
  text.sampling_temperature = 3;
  text.corpora[1].language = "zh";
  EXPECT_FALSE(texts.pretrain(text, 4).cached);
}

TEST(Pretraining, EveryByteOfThePairsIsInTheKey) {
  Texts texts;
  PretrainingText text = {.corpora = {{"", texts.corpus("text", 40, 1, false)}}};
  EXPECT_FALSE(texts.pretrain(text, 2).cached);
  text.parallel = texts.corpus("pairs", 40, 2, true);
  EXPECT_FALSE(texts.pretrain(text, 2).cached);
  EXPECT_TRUE(texts.pretrain(text, 2).cached);
  text.parallel = texts.corpus("pairs", 40, 3, true);
  EXPECT_FALSE(texts.pretrain(text, 2).cached);
  text.tlm_share = 0.5;
  EXPECT_FALSE(texts.pretrain(text, 2).cached);
  text.parallel.reset();
  text.tlm_share.reset();
  const PretrainingResult alone = texts.pretrain(text, 2);
  EXPECT_TRUE(alone.cached);
  EXPECT_TRUE(alone.mixture.empty());
  EXPECT_FALSE(alone.after.tlm.has_value());
}

}  // namespace
}  // namespace graft::transfer
