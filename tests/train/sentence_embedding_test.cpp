// Training and evaluation of sentence embeddings; data that does not fit.
#include "graft/embedder.h"
#include "graft/error.h"
#include "hub/sentence_transformers.h"
#include "models/model_case.h"
#include "train/tiny_run.h"
#include "train/trained_model.h"

namespace graft::train {
namespace {

using namespace test;
using testing::HasSubstr;

struct TrainEmbeddings : testing::Test {
  TinyRun run;
  // A name of a colour and a sentence with it: like texts share a colour and a filler word.
  std::string pairs(const std::string& name, int n, int first, bool negatives = false) const {
    const char* colours[] = {"red", "green", "blue"};
    std::string out = negatives ? "anchor,positive,negative\n" : "anchor,positive\n";
    const auto word = [](int i) { return std::string{"bdfgklmn"[i % 8], "aeiou"[i / 8 % 5]}; };
    for (int i = first; i < first + n; ++i) {
      out += std::string(colours[i % 3]) + " " + word(i) + " up," + "down " + word(i) + " " + colours[i % 3];
      out += negatives ? ",down " + word(i + 1) + " " + colours[(i + 1) % 3] + "\n" : "\n";
    }
    return run.dir().write(name, out).string();
  }
  std::string scores(const std::string& name, int n, int seed) const {
    const char* colours[] = {"red", "green", "blue"};
    std::string out = "sentence1,sentence2,score\n";
    for (int i = 0; i < n; ++i) {
      const int a = (i * 7 + seed) % 3, b = (i * 5 + i / 3) % 3;
      out += std::string("up ") + colours[a] + " ba,down " + colours[b] + " be," + (a == b ? "0.9" : "0.1") +
             "\n";
    }
    return run.dir().write(name, out).string();
  }
  Dataset read(const std::string& file) const {
    DatasetOptions o;
    o.tuples = true;
    return Dataset::from_file(file, o);
  }
  LogEntry train(TrainingArguments a, const std::string& train, const std::string& eval) const {
    Trainer trainer(run.model("sentence-embedding", {}), a, {read(train), read(eval), run.tokenizer()});
    return trainer.train().metrics;
  }
};

TEST_F(TrainEmbeddings, RetrievalOfHeldOutPairsImproves) {
  TrainingArguments a = run.arguments();
  a.per_device_train_batch_size = 16;
  a.num_train_epochs = 6;
  const std::string dev = pairs("dev.csv", 60, 0);
  const double before =
      value_of(Trainer(run.model("sentence-embedding", {}), a, {{}, read(dev), run.tokenizer()}).evaluate(),
               "eval_mrr@10");
  for (const bool negatives : {false, true}) {
    const LogEntry after = train(a, pairs("train.csv", 240, 1, negatives), dev);
    EXPECT_GT(value_of(after, "eval_mrr@10"), before + 0.1) << negatives;
    EXPECT_GT(value_of(after, "eval_recall@10"), 0.9);
  }
}

TEST_F(TrainEmbeddings, ScoredPairsTrainAndCorrelate) {
  TrainingArguments a = run.arguments();
  a.num_train_epochs = 6;
  for (const char* loss : {"CoSENTLoss", "CosineSimilarityLoss"}) {
    a.loss = loss;
    EXPECT_GT(value_of(train(a, scores("train.csv", 96, 1), scores("dev.csv", 30, 2)), "eval_spearman"), 0.8)
        << loss;
  }
}

TEST_F(TrainEmbeddings, TripletsTrain) {
  TrainingArguments a = run.arguments();
  a.num_train_epochs = 4;
  a.loss = "TripletLoss";
  EXPECT_GT(value_of(train(a, pairs("train.csv", 120, 1, true), pairs("dev.csv", 40, 0, true)),
                     "eval_triplet_accuracy"),
            0.9);
}

TEST_F(TrainEmbeddings, TheSavedFolderIsASentenceEncoder) {
  TrainingArguments a = run.arguments();
  a.max_steps = 3;
  a.max_seq_length = 20;
  ModelOptions o;
  const std::string data = pairs("train.csv", 24, 1);
  Trainer trainer(run.model("sentence-embedding", {}), a, {read(data), read(data), run.tokenizer()});
  const TrainResult result = trainer.train();
  const auto folder = run / "out";
  const auto modules = hub::read_sentence_transformer(folder);
  ASSERT_TRUE(modules.has_value());
  EXPECT_EQ(modules->max_seq_length, 20);
  EXPECT_THAT(modules->pooling, testing::ElementsAre(hub::Pooling::mean));
  EXPECT_EQ(Embedder(folder).max_seq_length(), 20);
  // Evaluation of the folder gives the numbers of the end of training.
  Trainer again(load_trained(folder, "sentence-embedding"), a, {{}, read(data), run.tokenizer()});
  EXPECT_EQ(value_of(again.evaluate(), "eval_mrr@10"), value_of(result.metrics, "eval_mrr@10"));
  // A classifier saved over it is none.
  run.model("sequence-classification", {}).save_pretrained(folder);
  EXPECT_FALSE(hub::read_sentence_transformer(folder).has_value());
}

TEST_F(TrainEmbeddings, DataThatDoesNotFitIsRefused) {
  const auto error = [&](const std::string& rows, const std::string& loss = "", int64_t batch = 8) {
    return error_of([&] {
      TrainingArguments a = run.arguments();
      a.loss = loss;
      a.per_device_train_batch_size = batch;
      const std::string file = run.dir().write("bad.jsonl", rows).string();
      Trainer trainer(run.model("sentence-embedding", {}), a, {read(file), {}, run.tokenizer()});
    });
  };
  const std::string good = R"({"anchor": "red", "positive": "up red"})"
                           "\n";
  EXPECT_THAT(error(good + R"({"anchor": "red", "positive": ""})"),
              HasSubstr("bad.jsonl: line 2: column 'positive' is empty"));
  EXPECT_THAT(
      error(R"({"anchor": "red", "positive": "a", "negative_1": "b", "negative_2": "c"})"
            "\n"
            R"({"anchor": "red", "positive": "a", "negative_1": "b"})"),
      testing::AllOf(HasSubstr("line 2"), HasSubstr("'negative_2' is missing"), HasSubstr("2 negatives")));
  EXPECT_THAT(error(good + R"({"anchor": "red", "positive": "a", "negative": "b"})"),
              HasSubstr("some rows have 'negative', but the first row has not"));
  EXPECT_THAT(error(R"({"text": "red", "label": "x"})"), HasSubstr("no two columns of texts"));
  const auto scored = [](const std::string& score) {
    return R"({"sentence1": "red", "sentence2": "up", "score": )" + score + "}\n";
  };
  EXPECT_THAT(error(scored("0.5") + scored("\"high\"")),
              HasSubstr("line 2: column 'score': the score 'high' is no number"));
  EXPECT_THAT(error(scored("0.5") + scored("4.5")), HasSubstr("line 2: the score 4.5 is outside of [-1, 1]"));
  EXPECT_THAT(error(scored("0.5"), "MultipleNegativesRankingLoss"),
              HasSubstr("which MultipleNegativesRankingLoss does not read"));
  EXPECT_THAT(error(good + good, "CoSENTLoss"), HasSubstr("line 1: CoSENTLoss needs a score"));
  EXPECT_THAT(error(good + good, "TripletLoss"), HasSubstr("TripletLoss needs 1 negative, the rows have 0"));
  EXPECT_THAT(error_of([&] {
                TrainingArguments a = run.arguments();
                a.distance_metric = "manhattan";
                const Dataset data = read(pairs("t.csv", 8, 0, true));
                Trainer trainer(run.model("sentence-embedding", {}), a, {data, {}, run.tokenizer()});
              }),
              HasSubstr("--distance_metric manhattan is not known; there are: euclidean, cosine"));
  EXPECT_THAT(error(good + good, "", 1), HasSubstr("compares the examples of a batch, and a batch has 1"));
}

}  // namespace
}  // namespace graft::train
