// The C interface: answers as Pipeline's, failures as status and text, and the C program of the examples.
#include <sys/wait.h>

#include <cstdio>
#include <thread>

#include "base/log.h"
#include "capi/tiny_folder.h"
#include "graft/embed.h"
#include "graft/embedder.h"
#include "graft/graft.h"
#include "graft/pipeline.h"

namespace graft {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Capi : testing::Test {
  test::TempDir dir;
  std::string folder = test::write_tiny_folder(dir);
  std::vector<std::string> texts = test::tiny_texts(12);
};

TEST_F(Capi, AnswersAsThePipelineDoes) {
  graft_pipeline* p = graft_load(folder.c_str());
  ASSERT_NE(p, nullptr) << graft_last_error();
  EXPECT_EQ(graft_num_labels(p), 3u);
  EXPECT_STREQ(graft_label(p, 2), "good");
  EXPECT_EQ(graft_label(p, 3), nullptr);

  const Pipeline pipeline(folder);
  const std::vector<Prediction> expected = pipeline.predict(texts);
  std::vector<const char*> pointers;
  for (const std::string& t : texts) pointers.push_back(t.c_str());
  std::vector<graft_prediction> found(texts.size());
  ASSERT_EQ(graft_predict_batch(p, pointers.data(), nullptr, texts.size(), found.data()), GRAFT_OK);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(found[i].label, expected[i].label);
    EXPECT_EQ(found[i].score, expected[i].score);
    graft_prediction one;
    ASSERT_EQ(graft_predict(p, pointers[i], &one), GRAFT_OK);
    EXPECT_EQ(one.label, found[i].label);  // the same pointer: it belongs to the pipeline
    EXPECT_EQ(one.score, found[i].score);
  }
  const Prediction pair = pipeline.predict({"good film"}, {"bad soup"}).front();
  const char *first = "good film", *second = "bad soup";
  ASSERT_EQ(graft_predict_batch(p, &first, &second, 1, found.data()), GRAFT_OK);
  EXPECT_EQ(found[0].label, pair.label);
  EXPECT_EQ(found[0].score, pair.score);
  EXPECT_EQ(graft_predict_batch(p, nullptr, nullptr, 0, nullptr), GRAFT_OK);
  graft_free(p);
}

TEST_F(Capi, EmbedsAsTheEmbedderDoes) {
  graft_embedder* e = graft_embedder_open(folder.c_str());
  ASSERT_NE(e, nullptr) << graft_last_error();
  ASSERT_EQ(graft_embedder_dimension(e), 16u);
  std::vector<const char*> pointers;
  for (const std::string& t : texts) pointers.push_back(t.c_str());
  std::vector<float> found(texts.size() * 16);
  ASSERT_EQ(graft_embed(e, pointers.data(), texts.size(), found.data()), GRAFT_OK);
  EXPECT_EQ(found, Embedder(folder).embed(texts));
  EXPECT_EQ(graft_embed(e, nullptr, 0, nullptr), GRAFT_OK);
  const char* holes[] = {"a", nullptr};
  EXPECT_EQ(graft_embed(e, holes, 2, found.data()), GRAFT_INVALID_ARGUMENT);
  EXPECT_EQ(graft_embed(e, pointers.data(), 1, nullptr), GRAFT_INVALID_ARGUMENT);
  EXPECT_EQ(graft_embed(nullptr, pointers.data(), 1, found.data()), GRAFT_INVALID_ARGUMENT);
  EXPECT_EQ(graft_embedder_dimension(nullptr), 0u);
  EXPECT_EQ(graft_embedder_open((dir / "nothing").c_str()), nullptr);
  graft_embedder_close(e);
  graft_embedder_close(nullptr);
}

TEST_F(Capi, FailuresComeWithWhatToDo) {
  EXPECT_EQ(graft_load((dir / "nothing").c_str()), nullptr);
  EXPECT_THAT(graft_last_error(), HasSubstr("nothing"));
  std::filesystem::remove(folder + "/model.safetensors");
  EXPECT_EQ(graft_load(folder.c_str()), nullptr);
  EXPECT_THAT(graft_last_error(), AllOf(HasSubstr(folder), HasSubstr("\nhint: ")));
}

TEST_F(Capi, NullsAreRefused) {
  EXPECT_EQ(graft_load(nullptr), nullptr);
  EXPECT_THAT(graft_last_error(), HasSubstr("folder is NULL"));
  graft_prediction out = {"untouched", -1};
  EXPECT_EQ(graft_predict(nullptr, "a", &out), GRAFT_INVALID_ARGUMENT);
  EXPECT_THAT(graft_last_error(), HasSubstr("pipeline is NULL"));
  graft_pipeline* p = graft_load(folder.c_str());
  EXPECT_EQ(graft_predict(p, nullptr, &out), GRAFT_INVALID_ARGUMENT);
  EXPECT_EQ(graft_predict(p, "a", nullptr), GRAFT_INVALID_ARGUMENT);
  const char* texts[] = {"a", nullptr};
  EXPECT_EQ(graft_predict_batch(p, texts, nullptr, 2, &out), GRAFT_INVALID_ARGUMENT);
  EXPECT_STREQ(out.label, "untouched");
  EXPECT_EQ(graft_num_labels(nullptr), 0u);
  EXPECT_EQ(graft_label(nullptr, 0), nullptr);
  graft_free(p);
  graft_free(nullptr);
}

TEST_F(Capi, TheLogReachesTheCaller) {
  std::vector<std::string> lines;
  graft_set_log(
      [](int level, const char* text, void* user) {
        static_cast<std::vector<std::string>*>(user)->push_back(std::to_string(level) + " " + text);
      },
      &lines);
  log_warning("{} texts were cut", 3);
  graft_set_log(nullptr, nullptr);
  log_warning("dropped");
  EXPECT_EQ(lines, std::vector<std::string>{"1 3 texts were cut"});
}

TEST_F(Capi, OptionsOfATrainingThatAreLists) {
  const graft_train_callbacks none{};
  EXPECT_NE(graft_train(R"({"report_to": ["jsonl", "wandb"], "model": "x", "train_file": "y"})", &none),
            GRAFT_OK);
  EXPECT_THAT(graft_last_error(), HasSubstr("--report_to wandb is refused"));
  EXPECT_NE(graft_train(R"({"output_dir": ["a", "b"], "model": "x", "train_file": "y"})", &none), GRAFT_OK);
  EXPECT_THAT(graft_last_error(), HasSubstr("\"output_dir\" must be a string"));
  EXPECT_NE(graft_train(R"({"do_predict": true, "model": "x", "train_file": "y"})", &none), GRAFT_OK);
  EXPECT_THAT(graft_last_error(), HasSubstr("\"do_predict\" is refused"));
}

TEST_F(Capi, TheLastErrorBelongsToItsThread) {
  graft_load(nullptr);
  std::string other = "unset";
  std::thread([&] { other = graft_last_error(); }).join();
  EXPECT_EQ(other, "");
  EXPECT_THAT(graft_last_error(), HasSubstr("NULL"));
}

struct Output {
  int code = -1;
  std::string text;
};

Output run(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  Output out;
  char buffer[4096];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) out.text.append(buffer, n);
  out.code = WEXITSTATUS(::pclose(pipe));
  return out;
}

struct Heard {
  std::vector<std::string> lines;
  int steps_left = 1000000;
};
void hear(const char* json, void* user) { static_cast<Heard*>(user)->lines.emplace_back(json); }
int stop_after(void* user) { return --static_cast<Heard*>(user)->steps_left < 0; }

TEST_F(Capi, TrainsWithTheOptionsOfTheProgram) {
  std::string rows = "text,label\n";
  for (int i = 0; i < 16; ++i) rows += "good film,yes\nbad soup,no\n";
  const std::string train = dir.write("train.csv", rows).string();
  const auto options = [&](const std::string& more) {
    return R"({"model": ")" + folder + R"(", "train_file": [")" + train + R"("], "test_file": ")" + train +
           R"(", "ignore_mismatched_sizes": true, "output_dir": ")" + (dir / "out").string() +
           R"(", "learning_rate": 1e-2, "num_train_epochs": 5)" + more + "}";
  };
  Heard heard;
  const graft_train_callbacks callbacks = {hear, stop_after, &heard};
  ASSERT_EQ(graft_train(options(R"(, "logging_steps": 5)").c_str(), &callbacks), GRAFT_OK)
      << graft_last_error();
  EXPECT_THAT(heard.lines.front(), HasSubstr("\"learning_rate\":"));
  EXPECT_THAT(heard.lines.back(), AllOf(HasSubstr("\"global_step\":20"), HasSubstr("\"test_accuracy\":1")));
  graft_pipeline* p = graft_load((dir / "out").c_str());
  ASSERT_NE(p, nullptr) << graft_last_error();
  graft_prediction best;
  ASSERT_EQ(graft_predict(p, "good film", &best), GRAFT_OK);
  EXPECT_STREQ(best.label, "yes");
  graft_free(p);

  heard = {{}, 3};
  ASSERT_EQ(graft_train(options(R"(, "overwrite_output_dir": true)").c_str(), &callbacks), GRAFT_OK);
  EXPECT_THAT(heard.lines.back(), HasSubstr("\"global_step\":4"));

  const auto error = [&](const std::string& text) {
    EXPECT_EQ(graft_train(text.c_str(), nullptr), GRAFT_ERROR) << text;
    return std::string(graft_last_error());
  };
  EXPECT_THAT(error(options("")), HasSubstr("not empty"));
  EXPECT_THAT(error(options(R"(, "learning_rat": 1)")), HasSubstr("did you mean --learning_rate"));
  EXPECT_THAT(error(options(R"(, "max_steps": [1])")), HasSubstr("max_steps"));
  EXPECT_THAT(error(options(R"(, "max_train_samples": 0)")), HasSubstr("max_train_samples"));
  EXPECT_THAT(error(options(R"(, "line_by_line": true)")), HasSubstr("masked-lm"));
  EXPECT_THAT(error("{"), HasSubstr("options"));
  EXPECT_THAT(error("{}"), HasSubstr("--model"));
  EXPECT_EQ(graft_train(nullptr, nullptr), GRAFT_INVALID_ARGUMENT);
}

TEST_F(Capi, TheCProgram) {
  const Output answers = run(EXAMPLE_PREDICT_C " '" + folder + "' 'good film' 'bad soup'");
  EXPECT_EQ(answers.code, 0) << answers.text;
  EXPECT_THAT(answers.text,
              testing::MatchesRegex(
                  "(bad|fair|good)\t[01]\\.[0-9]+\tgood film\n(bad|fair|good)\t[01]\\.[0-9]+\tbad soup\n"));
  const Output failure = run(EXAMPLE_PREDICT_C " '" + (dir / "nothing").string() + "' x");
  EXPECT_EQ(failure.code, 1);
  EXPECT_THAT(failure.text, AllOf(testing::StartsWith("error: "), HasSubstr("nothing")));
}

TEST(CInterface, ContinuesATextAsTheFolderAsks) {
  GRAFT_SHARED_PATH(tokenizer, "data/tokenizers/small-gpt2");
  GRAFT_SHARED_PATH(golden, "golden/gpt2/causal_lm");
  test::TempDir dir;
  std::filesystem::create_directories(dir / "m");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    std::filesystem::copy_file(tokenizer / file, dir / "m" / file);
  const auto config = dir.write("start.json", R"({"model_type": "gpt2", "vocab_size": 900, "n_embd": 16,
    "n_layer": 2, "n_head": 2, "n_positions": 24, "bos_token_id": 0, "eos_token_id": 0})");
  ModelOptions options;
  options.task = "causal-lm";
  Model::from_config(config, options).save_pretrained(dir / "m");
  const std::string folder = (dir / "m").string();
  char* text = nullptr;
  ASSERT_EQ(graft_generate(folder.c_str(), "one", R"({"max_new_tokens": 3})", &text), GRAFT_OK)
      << graft_last_error();
  const std::string first = text;
  EXPECT_EQ(first.substr(0, 3), "one");
  graft_free_text(text);
  EXPECT_EQ(graft_generate(folder.c_str(), "one", R"({"num_beams": 2, "do_sample": true})", &text),
            GRAFT_ERROR);
  EXPECT_THAT(graft_last_error(), testing::HasSubstr("num_beams 2 with do_sample"));
  EXPECT_EQ(graft_generate(folder.c_str(), "one", "{", &text), GRAFT_ERROR);
  EXPECT_EQ(graft_generate(nullptr, "one", nullptr, &text), GRAFT_INVALID_ARGUMENT);
  graft_free_text(nullptr);

  // A generator keeps the model: the same texts, after the folder is gone, too.
  graft_generator* generator = graft_generator_open(folder.c_str());
  ASSERT_NE(generator, nullptr) << graft_last_error();
  std::filesystem::remove_all(folder);
  const auto drawn = [&](const char* options) {
    char* out = nullptr;
    EXPECT_EQ(graft_generator_generate(generator, "one", options, &out), GRAFT_OK) << graft_last_error();
    std::string result = out ? out : "";
    graft_free_text(out);
    return result;
  };
  EXPECT_EQ(drawn(R"({"max_new_tokens": 3})"), first);
  const char* seeded = R"({"max_new_tokens": 8, "do_sample": true, "temperature": 9.0, "seed": 1})";
  EXPECT_EQ(drawn(seeded), drawn(seeded));
  EXPECT_NE(drawn(seeded),
            drawn(R"({"max_new_tokens": 8, "do_sample": true, "temperature": 9.0, "seed": 2})"));
  EXPECT_EQ(graft_generator_generate(generator, "one", R"({"max_new_token": 3})", &text), GRAFT_ERROR);
  EXPECT_THAT(graft_last_error(), testing::AllOf(testing::HasSubstr("unknown key \"max_new_token\""),
                                                 testing::HasSubstr("did you mean \"max_new_tokens\"?")));
  EXPECT_EQ(graft_generator_generate(nullptr, "one", nullptr, &text), GRAFT_INVALID_ARGUMENT);
  EXPECT_EQ(graft_generator_open(folder.c_str()), nullptr);
  EXPECT_EQ(graft_generator_open(nullptr), nullptr);
  graft_generator_close(generator);
  graft_generator_close(nullptr);
}

}  // namespace
}  // namespace graft
