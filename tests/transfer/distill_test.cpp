#include "transfer/distill.h"

#include <cmath>
#include <fstream>
#include <functional>
#include <regex>

#include "base/error.h"
#include "base/file.h"
#include "graft/embedder.h"
#include "models/model_case.h"
#include "models/selection.h"
#include "support/messages.h"
#include "train/tiny_run.h"

namespace graft::transfer {
namespace {
namespace fs = std::filesystem;

using test::error_of;
using test::Messages;
using test::same_bits;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

TEST(TeacherOutputs, AreComputedOnceAndAgainWhereDamaged) {
  const TempDir dir;
  const Json key = {{"teacher", "a"}};
  int calls = 0;
  const auto read = [&](const Json& k) {
    return TeacherOutputs(dir / "cache", k, 5000, 3, [&](int64_t first, int64_t last, float* out) {
      ++calls;
      for (int64_t i = 0; i < (last - first) * 3; ++i) out[i] = static_cast<float>(first * 3 + i);
    });
  };
  const TeacherOutputs fresh = read(key);
  EXPECT_EQ(calls, 2);  // in pieces
  EXPECT_FALSE(fresh.was_there());
  EXPECT_EQ(fresh.row(4999)[2], 14999);
  EXPECT_TRUE(read(key).was_there());
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(read({{"teacher", "b"}}).was_there());
  EXPECT_EQ(calls, 4);
  for (const auto& entry : fs::recursive_directory_iterator(dir / "cache")) {
    if (entry.path().filename() != "outputs.f32") continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(40);
    file.put('x');
  }
  const Messages messages;
  EXPECT_FALSE(read(key).was_there());
  EXPECT_THAT(messages.all(), AllOf(HasSubstr("damaged"), HasSubstr("computed again")));
  EXPECT_TRUE(read(key).was_there());
}

// What a run computed before it was interrupted is kept; with other inputs nothing of it is.
TEST(TeacherOutputs, GoOnFromAnInterruptedRun) {
  const TempDir dir;
  const auto read = [&](const Json& key, int64_t fail_at, std::vector<int64_t>& firsts) {
    return TeacherOutputs(dir / "cache", key, 9000, 3, [&](int64_t first, int64_t last, float* out) {
      firsts.push_back(first);
      if (first == fail_at) throw Error("interrupted");
      for (int64_t i = 0; i < (last - first) * 3; ++i) out[i] = static_cast<float>(first * 3 + i);
    });
  };
  std::vector<int64_t> firsts;
  EXPECT_THAT(error_of([&] { read({{"teacher", "a"}}, 8192, firsts); }), HasSubstr("interrupted"));
  for (const auto& entry : fs::recursive_directory_iterator(dir / "cache"))
    if (entry.path().filename() == "outputs.f32")
      std::ofstream(entry.path(), std::ios::binary | std::ios::app) << "a piece that was cut";
  firsts.clear();
  const Messages messages;
  const TeacherOutputs outputs = read({{"teacher", "a"}}, -1, firsts);
  EXPECT_THAT(firsts, testing::ElementsAre(8192));
  EXPECT_THAT(messages.all(), HasSubstr("8192 of 9000 texts were computed before"));
  for (const int64_t row : {0, 8191, 8192, 8999})
    EXPECT_EQ(outputs.row(row)[1], static_cast<float>(row * 3 + 1)) << row;
  EXPECT_TRUE(read({{"teacher", "a"}}, 0, firsts).was_there());
  EXPECT_THAT(error_of([&] { read({{"teacher", "b"}}, 4096, firsts); }), HasSubstr("interrupted"));
  fs::path left;
  for (const auto& entry : fs::directory_iterator(dir / "cache"))
    if (entry.path().extension() == ".tmp") left = entry.path();
  write_json(left / "key.json", {{"teacher", "c"}});
  firsts.clear();
  read({{"teacher", "b"}}, -1, firsts);
  EXPECT_THAT(firsts, testing::ElementsAre(0, 4096, 8192));
}

// The loss of a batch whose outputs are `student` and whose targets are `teacher`, [n, columns].
double loss_of(const Distillation& task, std::vector<float> student, const std::vector<float>& teacher,
               int64_t n, std::vector<int32_t> labels = {}, double* total = nullptr) {
  engine::ParameterStore store;
  engine::Arena arena(engine::ArenaSize{1 << 20, 1 << 20});
  engine::Tape tape(arena, store, {});
  data::RaggedBatch batch;
  const int32_t id = 1;
  for (int64_t i = 0; i < n; ++i) batch.append(&id, nullptr, 1, i);
  batch.float_labels = teacher;
  batch.labels = std::move(labels);
  const engine::Var outputs = tape.constant(engine::make_tensor(student.data(), n, std::ssize(student) / n));
  return tape.scalar(task.loss(tape, outputs, batch, static_cast<double>(n), total));
}

TEST(Distillation, OfEmbeddingsIsItsFormula) {
  const std::vector<float> teacher = {1, 0, 0, 1, 1, 1}, student = {2, 0, 1, 1, 0, 3};
  DistillationLosses losses;
  losses.similarity = 0;
  const double cosines = 1 + std::sqrt(0.5) + std::sqrt(0.5);
  double total = 0;
  EXPECT_NEAR(loss_of({TargetKind::embedding, losses}, student, teacher, 3, {}, &total), (3 - cosines) / 3,
              1e-6);
  EXPECT_NEAR(total, 3 - cosines, 1e-6);
  EXPECT_NEAR(loss_of({TargetKind::embedding, losses}, {5, 0, 0, 5, 5, 5}, teacher, 3), 0, 1e-6);
  // With the similarities to the two other texts.
  losses.similarity = 0.5;
  const auto divergence = [](double a, double b, double c, double d) {  // KL(softmax(a, b) || softmax(c, d))
    const double p = 1 / (1 + std::exp((b - a) / 0.05)), q = 1 / (1 + std::exp((d - c) / 0.05));
    return p * std::log(p / q) + (1 - p) * std::log((1 - p) / (1 - q));
  };
  const double h = std::sqrt(0.5);
  // Cosines of the teacher: 01 0, 02 h, 12 h; of the student: 01 h, 02 0, 12 h.
  const double kl = divergence(0, h, h, 0) + divergence(0, h, h, h) + divergence(h, h, 0, h);
  EXPECT_NEAR(loss_of({TargetKind::embedding, losses}, student, teacher, 3), (3 - cosines + 0.5 * kl) / 3,
              1e-3);
  EXPECT_NEAR(loss_of({TargetKind::embedding, losses}, {2, 1}, {1, 2}, 1), 1 - 0.8, 1e-6);  // no other text
}

TEST(Distillation, OfLogitsIsItsFormula) {
  const std::vector<float> teacher = {2, 0, -1, 1}, student = {1, 1, 0, 1};
  DistillationLosses losses;
  losses.temperature = 2;
  const auto log_softmax = [](double a, double b) { return a - std::log(std::exp(a) + std::exp(b)); };
  double kl = 0;
  for (size_t i = 0; i < 4; i += 2)
    for (const auto& [c, o] : {std::pair{i, i + 1}, {i + 1, i}}) {
      const double p = log_softmax(teacher[c] / 2, teacher[o] / 2),
                   q = log_softmax(student[c] / 2, student[o] / 2);
      kl += std::exp(p) * (p - q);
    }
  EXPECT_NEAR(loss_of({TargetKind::logits, losses}, student, teacher, 2), 4 * kl / 2, 1e-5);
  losses.alpha = 0.25;
  const double entropy = -log_softmax(1, 1);  // the second text has no label
  double total = 0;
  EXPECT_NEAR(loss_of({TargetKind::logits, losses}, student, teacher, 2, {0, -1}, &total),
              (0.75 * 4 * kl + 0.25 * entropy) / 2, 1e-5);
  EXPECT_NEAR(total, 0.75 * 4 * kl + 0.25 * entropy, 1e-5);
  EXPECT_NEAR(loss_of({TargetKind::scores, losses}, {1, 2}, {0, 4}, 2), (1 + 4) / 2.0, 1e-6);
}

// Tiny models with random weights as teachers.
class DistillTest : public testing::Test {
 protected:
  fs::path save(const Model& model, const std::string& name) const {
    model.save_pretrained(run_ / name);
    run_.tokenizer()->save(run_ / name);
    return run_ / name;
  }
  DistillOptions options(const fs::path& teacher) const {
    DistillOptions o;
    o.teacher = teacher;
    o.layers = "1";
    o.train_file = {run_.text("texts.txt", 200, 3)};
    o.arguments = run_.arguments();
    o.arguments.output_dir = run_ / "student";
    o.arguments.num_train_epochs = 4;
    o.arguments.disable_tqdm = true;
    return o;
  }
  test::TinyRun run_;
};

TEST_F(DistillTest, AStudentBecomesLikeItsTeacher) {
  const fs::path teacher = save(run_.model("sentence-embedding", {}), "teacher");
  DistillOptions o = options(teacher);
  Distiller distiller(o);
  distiller.trainer().train();
  const std::vector<DistillRow> rows = distiller.compare();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_NEAR(rows[0].likeness, 1, 1e-5);
  EXPECT_GT(rows[2].likeness, rows[1].likeness);
  EXPECT_GT(rows[2].likeness, 0.9);
  EXPECT_EQ(rows[1].size.layers, 1);
  EXPECT_LT(rows[1].size.parameters, rows[0].size.parameters);
  EXPECT_TRUE(std::isnan(rows[2].score));
  EXPECT_EQ(read_json(run_ / "student" / "all_results.json").at("cosine").get<double>(), rows[2].likeness);
  EXPECT_TRUE(fs::exists(run_ / "student" / "modules.json"));
}

TEST_F(DistillTest, AClassifierTeachesItsLogits) {
  const std::vector<std::string> labels = {"red", "green", "blue"};
  Model model = run_.model("sequence-classification", labels);
  TrainingArguments a = run_.arguments();
  a.output_dir = run_ / "trained";
  a.num_train_epochs = 6;
  const fs::path rows_file = run_.single_csv("train.csv", 240, 1);
  Trainer trainer(model, a, {Dataset::from_file(rows_file), {}, run_.tokenizer()});
  trainer.train();
  DistillOptions o = options(run_ / "trained");
  o.train_file = {rows_file};
  o.validation_file = run_.single_csv("dev.csv", 80, 2);
  o.arguments.num_train_epochs = 8;
  for (const double alpha : {0.0, 0.5}) {
    o.losses.alpha = alpha;
    o.overwrite_output_dir = true;
    Distiller distiller(o);
    distiller.trainer().train();
    const std::vector<DistillRow> rows = distiller.compare();
    EXPECT_EQ(distiller.likeness(), "agreement");
    EXPECT_EQ(distiller.score(), "accuracy");
    EXPECT_EQ(rows[0].likeness, 1);
    EXPECT_GT(rows[2].score, 0.8) << alpha;
  }
}

TEST_F(DistillTest, AResumedRunEndsWithTheSameBits) {
  const fs::path teacher = save(run_.model("sentence-embedding", {}, 0.1), "teacher");
  DistillOptions o = options(teacher);
  o.arguments.max_steps = 8;
  o.arguments.save_strategy = "steps";
  o.arguments.save_steps = 4;
  const auto weights = [&] {
    ModelOptions m;
    m.task = "sentence-embedding";
    return test::all_values(Model::from_pretrained(o.arguments.output_dir, m));
  };
  Distiller(o).trainer().train();
  const std::vector<float> whole = weights();
  o.arguments.output_dir = run_ / "resumed";
  {
    Distiller first(o);
    Observer observer;
    observer.on_save = [&](const fs::path&, int64_t) { first.trainer().request_stop(); };
    EXPECT_TRUE(first.trainer().train(observer).interrupted);
  }
  o.arguments.resume_from_checkpoint = "true";
  Distiller second(o);
  EXPECT_EQ(second.trainer().train().global_step, 8);
  EXPECT_TRUE(same_bits(whole, weights()));
}

TEST_F(DistillTest, RandomWeightsAndFoldersAreStudentsToo) {
  const fs::path teacher = save(run_.model("sentence-embedding", {}), "teacher");
  DistillOptions o = options(teacher);
  o.layers = "";
  o.arguments.max_steps = 2;
  o.config_name = teacher / "config.json";
  Distiller(o).trainer().train();
  o.config_name.clear();
  o.student = run_ / "student" / "start";
  o.arguments.output_dir = run_ / "again";
  Distiller distiller(o);
  distiller.trainer().train();
  EXPECT_EQ(distiller.compare()[1].size.layers, distiller.compare()[0].size.layers);
}

TEST_F(DistillTest, WhatDoesNotFitIsRefused) {
  const auto complaint = [](const DistillOptions& o) { return error_of([&] { Distiller d(o); }); };
  const fs::path teacher = save(run_.model("sentence-embedding", {}), "teacher");
  DistillOptions o = options(teacher);
  o.layers = "";
  EXPECT_THAT(complaint(o), HasSubstr("no student"));
  o.layers = "1";
  o.student = teacher;
  EXPECT_THAT(complaint(o), HasSubstr("twice"));
  o.student.clear();
  o.layers = "9";
  EXPECT_THAT(complaint(o), HasSubstr("the model has 2 layers"));
  o.layers = "1";
  o.train_file = {run_.dir().write("blank.txt", "\n  \n")};
  EXPECT_THAT(complaint(o), HasSubstr("no text"));
  o = options(teacher);
  o.arguments.eval_strategy = "steps";
  EXPECT_THAT(complaint(o), HasSubstr("--eval_strategy is refused"));
  o = options(teacher);
  o.arguments.scale = 10;
  EXPECT_THAT(complaint(o), HasSubstr("--scale is refused"));
  o = options(save(run_.model("masked-lm", {}), "mlm"));
  EXPECT_THAT(complaint(o), HasSubstr("is no teacher here"));
  // A student with other outputs.
  Model small = run_.model("sequence-classification", {"a", "b"});
  o = options(save(run_.model("sequence-classification", {"a", "b", "c"}), "three"));
  o.layers = "";
  o.student = save(small, "two");
  EXPECT_THAT(complaint(o), HasSubstr("2 numbers for a text and the teacher 3"));
  o.student = save(run_.model("sequence-classification", {"a", "c", "b"}), "order");
  EXPECT_THAT(complaint(o), HasSubstr("labels a, c, b are not those of the teacher, a, b, c"));
  // A vocabulary that does not hold the teacher's pieces.
  Json config = read_json(run_ / "three" / "config.json");
  config["vocab_size"] = 3;
  write_json(run_ / "small.json", config);
  o.student.clear();
  o.config_name = run_ / "small.json";
  EXPECT_THAT(complaint(o), AllOf(HasSubstr("small.json: \"vocab_size\" is 3"), HasSubstr("has 50 pieces")));
  EXPECT_FALSE(fs::exists(run_ / "student" / "start"));
}

TEST_F(DistillTest, OptionsThatWouldHaveNoEffectAreRefused) {
  const auto complaint = [](const DistillOptions& o) { return error_of([&] { Distiller d(o); }); };
  const fs::path encoder = save(run_.model("sentence-embedding", {}), "encoder"),
                 classifier = save(run_.model("sequence-classification", {"a", "b"}), "classifier"),
                 regression = save(run_.model("sequence-classification", {"a"}), "regression");
  const auto of = [&](const fs::path& teacher, const std::function<void(DistillOptions&)>& change) {
    DistillOptions o = options(teacher);
    change(o);
    return complaint(o);
  };
  EXPECT_THAT(of(classifier, [](auto& o) { o.arguments.peft_type = "lora"; }),
              HasSubstr("--peft_type is refused"));
  EXPECT_THAT(
      of(classifier, [](auto& o) { o.arguments.peft_type = "linear_probing", o.losses.layers.hidden = 1; }),
      HasSubstr("--hidden_weight is refused: --peft_type linear_probing trains the head alone"));
  EXPECT_THAT(of(classifier, [](auto& o) { o.losses.alpha = 0.7; }),
              HasSubstr("--alpha 0.7: it weighs the loss of the labels"));
  EXPECT_THAT(of(regression, [](auto& o) { o.losses.alpha = 0.7; }), HasSubstr("--alpha is refused"));
  EXPECT_THAT(of(regression, [](auto& o) { o.losses.temperature = 3; }),
              HasSubstr("--temperature is refused"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.losses.embedding = o.losses.similarity = 0; }),
              HasSubstr("no loss has a weight"));
  EXPECT_THAT(
      of(encoder, [](auto& o) { o.losses.embedding = 0, o.arguments.per_device_train_batch_size = 1; }),
      HasSubstr("--similarity_weight compares the texts of a batch"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.columns.tag_scheme = "iob1"; }),
              HasSubstr("--tag_scheme is refused"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.columns.label_column = "x"; }),
              HasSubstr("--label_column is refused"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.arguments.tokenized_path = "x"; }),
              HasSubstr("--tokenized_path is refused"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.arguments.label_names = "x"; }),
              HasSubstr("--label_names is refused"));
  EXPECT_THAT(of(encoder, [&](auto& o) { o.teacher_cache = run_.text("cache.txt", 1, 1); }),
              HasSubstr("is a file"));
  EXPECT_THAT(of(encoder, [](auto& o) { o.layers = "1,"; }), HasSubstr("--layers 1,: a number is missing"));
  // What is wrong with the student is said before the teacher reads the texts.
  EXPECT_THAT(of(encoder, [](auto& o) { o.losses.layers = {.relation = 1, .relation_layer = 9}; }),
              HasSubstr("--relation_layer 9: the teacher has 2 layers"));
  EXPECT_TRUE(!fs::exists(run_ / "student") || fs::is_empty(run_ / "student"));
}

TEST_F(DistillTest, AnEncoderBecomesTheStudentOfAClassifier) {
  DistillOptions o =
      options(save(run_.model("sequence-classification", {"red", "green", "blue"}), "teacher"));
  o.layers = "";
  o.student = save(run_.model("masked-lm", {}), "encoder");
  o.arguments.max_steps = 2;
  Distiller distiller(o);
  distiller.trainer().train();
  EXPECT_EQ(distiller.compare().size(), 2u);  // the student had no outputs before
  EXPECT_EQ(Model::from_pretrained(o.arguments.output_dir).labels(),
            (std::vector<std::string>{"red", "green", "blue"}));
}

TEST_F(DistillTest, ScoresAreComparedByTheirCorrelation) {
  DistillOptions o = options(save(run_.model("sequence-classification", {"mark"}), "teacher"));
  o.arguments.max_steps = 2;
  Distiller distiller(o);
  distiller.trainer().train();
  const std::vector<DistillRow> rows = distiller.compare();
  EXPECT_EQ(distiller.likeness(), "pearson");
  EXPECT_NEAR(rows[0].likeness, 1, 1e-6);
  EXPECT_LT(rows[1].likeness, 1);
}

TEST_F(DistillTest, AResumedRunIsThatOfItsOptions) {
  DistillOptions o = options(save(run_.model("sentence-embedding", {}), "teacher"));
  o.arguments.max_steps = 2;
  o.arguments.save_strategy = "steps";
  o.arguments.save_steps = 1;
  Distiller(o).trainer().train();
  o.arguments.max_steps = 3;
  o.arguments.resume_from_checkpoint = "true";
  DistillOptions other = o;
  other.layers = "2";
  EXPECT_THAT(error_of([&] { Distiller d(other); }),
              AllOf(HasSubstr("made in another way: --layers"), HasSubstr("choose another --output_dir")));
  o.losses.embedding = 2;
  {
    const Messages messages;
    Distiller(o).trainer().train();
    EXPECT_THAT(
        messages.all(),
        HasSubstr(
            "resumed with other settings, which hold from this step on: --embedding_weight 2.0 (was 1.0)"));
  }
  // A run that ended before its first checkpoint.
  other.arguments.output_dir = o.arguments.output_dir = run_ / "early";
  o.arguments.resume_from_checkpoint.clear();
  { const Distiller never_trained(o); }
  const Distiller again(other);
  EXPECT_EQ(read_json(run_ / "early" / "start" / "config.json").at("num_hidden_layers"), Json(2));
}

TEST_F(DistillTest, EqualTextsAreHeldOutTogether) {
  DistillOptions o = options(save(run_.model("sentence-embedding", {}), "teacher"));
  std::string text;
  for (int i = 0; i < 5; ++i) text += read_file(o.train_file.front());
  o.train_file = {run_.dir().write("repeated.txt", text)};
  const Messages messages;
  Distiller d(o);
  std::smatch found;
  const std::string said = messages.all();
  ASSERT_TRUE(std::regex_search(said, found, std::regex("texts: (\\d+) for training.*, (\\d+) held out")));
  EXPECT_EQ(std::stoi(found[1]) % 5, 0);
  EXPECT_EQ(std::stoi(found[2]) % 5, 0);
  EXPECT_EQ(std::stoi(found[1]) + std::stoi(found[2]), 1000);
}

TEST(Distill, TheRealEncoderInThreeLayers) {
  GRAFT_REAL_CHECKPOINT(checkpoint);
  const TempDir dir;
  std::string texts;
  const char* subjects[] = {"The committee", "A young doctor", "My neighbour", "The old bridge",
                            "Every student"};
  const char* verbs[] = {"discussed", "repaired", "forgot", "described", "painted"};
  const char* objects[] = {"the annual budget", "a wooden boat", "the missing keys", "the last chapter",
                           "two doors"};
  for (const char* s : subjects)
    for (const char* v : verbs)
      for (const char* o : objects) texts += std::string(s) + " " + v + " " + o + ".\n";
  DistillOptions o;
  o.teacher = checkpoint;
  o.layers = "3";
  o.train_file = o.vocabulary = {dir.write("texts.txt", texts)};
  o.arguments.output_dir = dir / "student";
  o.arguments.per_device_train_batch_size = 16;
  o.arguments.learning_rate = 3e-4;
  o.arguments.max_steps = 12;
  o.arguments.save_strategy = "no";
  o.arguments.bf16 = false;
  Distiller distiller(o);
  distiller.trainer().train();
  const std::vector<DistillRow> rows = distiller.compare();
  EXPECT_NEAR(rows[0].likeness, 1, 1e-5);
  EXPECT_GT(rows[2].likeness, rows[1].likeness + 0.05);
  EXPECT_LT(rows[2].size.bytes, rows[0].size.bytes / 3);
  EXPECT_EQ(Embedder(o.arguments.output_dir, {}).dimension(), 384);
}

}  // namespace
}  // namespace graft::transfer
