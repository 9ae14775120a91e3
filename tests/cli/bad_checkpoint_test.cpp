// Damaged, hostile and misfitting checkpoints through the program: file, place, fix, exit code 1.
#include <cstring>

#include "base/file.h"
#include "cli/graft_program.h"
#include "hub/state_dict.h"
#include "hub/torch_writer.h"

namespace graft::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;
namespace torch = hub::test_files;

struct BadCheckpoint : testing::Test {
  World world;
  std::string folder = world.model_copy("damaged");
  void expect_error(const std::vector<std::string>& parts) {
    const Result r = run_graft({"predict", "--model", folder}, {"a good film\n"});
    EXPECT_EQ(r.code, 1) << r.err;
    EXPECT_EQ(r.out, "");
    EXPECT_THAT(r.err, HasSubstr("error: "));
    for (const std::string& part : parts) EXPECT_THAT(r.err, HasSubstr(part));
  }
  std::string path(const char* file) const { return folder + "/" + file; }
  // config.json with one key another.
  void set_config(const char* key, const Json& value) {
    Json config = read_json(path("config.json"));
    if (value.is_null()) {
      config.erase(key);
    } else {
      config[key] = value;
    }
    write_json(path("config.json"), config);
  }
  void write_safetensors(const std::string& header, uint64_t length, const std::string& data = "") {
    write_file(path("model.safetensors"), torch::raw(length) + header + data);
  }
  void write_bin(const std::string& bytes) {
    fs::remove(path("model.safetensors"));
    write_file(path("pytorch_model.bin"), bytes);
  }
};

TEST_F(BadCheckpoint, ConfigJson) {
  set_config("hidden_size", nullptr);
  expect_error({"damaged/config.json: the key \"hidden_size\" is missing"});
  set_config("hidden_size", "many");
  expect_error({"config.json", "\"hidden_size\" must be a positive integer, not \"many\""});
  set_config("hidden_size", 15);
  expect_error({"hidden size 15 is not a multiple of 2 attention heads"});
  set_config("hidden_size", 16);
  set_config("model_type", "brt");
  expect_error(
      {"config.json: model_type \"brt\" is not implemented; graft has: bert, roberta, xlm-roberta, "
       "camembert, data2vec-text, distilbert",
       "hint: did you mean \"bert\"?"});
  set_config("model_type", nullptr);
  expect_error({"config.json: the key \"model_type\" is missing"});
  write_file(path("config.json"), "{\"model_type\": \n oops}");
  expect_error({"config.json", "line 2"});
  fs::remove(path("config.json"));
  expect_error({"config.json"});
}

TEST_F(BadCheckpoint, AbsurdSizesInConfigJson) {
  set_config("hidden_size", int64_t{1} << 30);
  expect_error({"config.json: a model of these sizes has", "GB of memory", "hint: check the sizes"});
  set_config("hidden_size", int64_t{1} << 40);
  expect_error({"config.json: a model of these sizes has", "GB of memory"});
  set_config("hidden_size", 16);
  set_config("num_hidden_layers", 2'000'000'000);
  expect_error({"config.json: a model of these sizes has"});
  set_config("num_hidden_layers", 501);
  expect_error({"\"num_hidden_layers\" is 501; at most 500 are"});
  set_config("num_hidden_layers", 2);
  set_config("pad_token_id", 25);
  expect_error({"\"pad_token_id\" is 25, outside the vocabulary of 25"});
  set_config("pad_token_id", 0);
  set_config("hidden_dropout_prob", 1.5);
  expect_error({"\"hidden_dropout_prob\" is 1.5"});
}

TEST_F(BadCheckpoint, TensorsThatDoNotFitTheConfig) {
  set_config("intermediate_size", 64);
  expect_error(
      {"model.safetensors: tensor bert.encoder.layer.0.intermediate.dense.weight is [32, 16] but the model "
       "needs [64, 16]"});
  set_config("intermediate_size", 32);
  set_config("num_hidden_layers", 3);
  expect_error({"damaged: tensor bert.encoder.layer.2.", "is missing",
                "hint: the checkpoint does not fit its config.json"});
}

TEST_F(BadCheckpoint, TheRealTruncatedDownloads) {
  GRAFT_SHARED_PATH(truncated, "data/checkpoints/truncated");
  for (const std::string size : {"1835008", "851968"}) {
    fs::remove_all(folder);
    fs::copy(truncated, folder, fs::copy_options::recursive);
    fs::rename(path(("model.truncated-" + size + ".safetensors").c_str()), path("model.safetensors"));
    for (const auto& args :
         {std::vector<std::string>{"info", "--model", folder},
          std::vector<std::string>{"train", "--model", folder, "--train_file", world.rows("t.csv", 4, 1),
                                   "--output_dir", world / "out"}}) {
      const Result r = run_graft(args);
      EXPECT_EQ(r.code, 1);
      EXPECT_THAT(r.err, HasSubstr("model.safetensors: is cut short: " + size + " of "));
      EXPECT_THAT(r.err,
                  HasSubstr("hint: the download or copy is incomplete: download or copy the file again"));
    }
  }
}

TEST_F(BadCheckpoint, HeadersOfSafetensors) {
  const auto tensors = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + b + "}}";
  };
  write_safetensors("{}", uint64_t{1} << 60);
  expect_error(
      {"model.safetensors: is not a safetensors file: its header size is 1152921504606846976 bytes"});
  std::string header = tensors("[0,8]", "[4,12]");
  write_safetensors(header, header.size(), std::string(12, '\0'));
  expect_error(
      {"model.safetensors: tensor 'b' begins at byte 4 of the data, inside the tensor before it, which ends "
       "at 8"});
  header = tensors("[0,8]", "[8,9999999999999]");
  write_safetensors(header, header.size(), std::string(16, '\0'));
  expect_error({"model.safetensors: ", "'b'"});
  header = R"({"a":{"dtype":"F32","shape":[4611686018427387904,4611686018427387904],"data_offsets":[0,8]}})";
  write_safetensors(header, header.size(), std::string(8, '\0'));
  expect_error({"model.safetensors: ", "'a'"});
  write_file(path("model.safetensors"), "");
  expect_error({"model.safetensors: is not a safetensors file: it has 0 bytes"});
  write_file(path("model.safetensors"), "<!DOCTYPE html><html>not found</html>");
  expect_error({"model.safetensors: is a web page, not the weights"});
}

TEST_F(BadCheckpoint, APickleThatAsksForOsSystemIsNotObeyed) {
  const std::string mark = world / "obeyed";
  const std::string call =
      torch::pickle(torch::global("os", "system") + torch::tuple({torch::text("touch " + mark)}) + "R");
  write_bin(torch::zip_file({{"archive/data.pkl", call}}));
  expect_error({"pytorch_model.bin: its pickle asks for os.system; refused, nothing was executed"});
  write_bin(torch::legacy_file(call, {}));
  expect_error({"pytorch_model.bin: its pickle asks for os.system; refused, nothing was executed"});
  EXPECT_FALSE(fs::exists(mark));
}

TEST_F(BadCheckpoint, AZipBomb) {
  torch::ZipItem bomb = {"archive/data.pkl", std::string(200 << 20, '\0'), true};
  write_bin(torch::zip_file({bomb}));
  EXPECT_LT(fs::file_size(path("pytorch_model.bin")), 1u << 20);
  expect_error({"pytorch_model.bin: entry 'archive/data.pkl' would grow from",
                "suspicious compression ratio (zip bomb?)"});
  bomb.content = "small";
  bomb.declared_size = int64_t{1} << 31;
  write_bin(torch::zip_file({bomb}));
  expect_error({"pytorch_model.bin: "});
}

TEST_F(BadCheckpoint, NoWeightsAtAll) {
  fs::remove(path("model.safetensors"));
  expect_error({"damaged", "model.safetensors", "pytorch_model.bin"});
}

TEST_F(BadCheckpoint, AVocabularyThatDoesNotFitTheEmbedding) {
  fs::remove(path("tokenizer.json"));
  write_file(path("vocab.txt"), read_file(path("vocab.txt")) + "extra\n");
  // As in the reference it trains as long as no text holds the token without a row.
  const Result r = run_graft({"train", "--model", folder, "--train_file", world.rows("t.csv", 8, 1),
                              "--output_dir", world / "out", "--max_steps", "1"});
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("'extra' (id 25, from vocab.txt) is the first token without a row"));
  const std::string file = world.write("extra.csv", "text,label\ngood,pos\nan extra film,neg\n");
  const Result e =
      run_graft({"train", "--model", folder, "--train_file", file, "--output_dir", world / "no"});
  EXPECT_EQ(e.code, 1);
  EXPECT_THAT(
      e.err,
      HasSubstr("extra.csv: line 3: the token 'extra' has id 25, but the model's embedding has 25 rows"));
  const Result p = run_graft({"predict", "--model", folder}, {"a good film\nan extra film\n"});
  EXPECT_EQ(p.code, 1);
  EXPECT_THAT(p.err, HasSubstr("standard input: line 2: the token 'extra' has id 25"));
  // The hint names the file that holds the token.
  EXPECT_THAT(p.err, HasSubstr("remove the tokens from id 25 on from the tokenizer's vocab.txt"));
  write_file(path("vocab.txt"), read_file(world / "start/vocab.txt"));
  write_file(path("added_tokens.json"), R"({"extra": 25})");
  const Result added = run_graft({"predict", "--model", folder}, {"an extra film\n"});
  EXPECT_EQ(added.code, 1);
  EXPECT_THAT(added.err, HasSubstr("remove the tokens from id 25 on from the tokenizer's added_tokens.json"));
}

TEST_F(BadCheckpoint, WeightsThatAreNoNumbers) {
  std::string bytes = read_file(path("model.safetensors"));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(8 + header), bytes.end(), '\xff');  // all NaN
  write_file(path("model.safetensors"), bytes);
  expect_error({"damaged: the model's output is not a finite number", "hint: "});
  const std::string rows = world.rows("t.csv", 8, 1);
  const Result evaluated = run_graft({"evaluate", "--model", folder, "--test_file", rows});
  EXPECT_EQ(evaluated.code, 1);
  EXPECT_EQ(evaluated.out, "");
  const Result trained =
      run_graft({"train", "--model", folder, "--train_file", rows, "--output_dir", world / "out"});
  EXPECT_EQ(trained.code, 1);
  EXPECT_THAT(trained.err,
              testing::AllOf(HasSubstr("step 1: the loss is"),
                             HasSubstr("the parameter bert.embeddings.word_embeddings.weight is not finite"),
                             HasSubstr("hint: the checkpoint itself is damaged")));
}

TEST_F(BadCheckpoint, AHeadThatWasNeverTrained) {
  graft_output(
      world.train_args("pretrained", {"--task", "masked-lm", "--train_file", world.lines("t.txt", 40, 1),
                                      "--max_steps", "1", "--max_seq_length", "16"}));
  folder = world / "pretrained";
  expect_error({"no [MASK] among", "for labels, fine-tune it first: graft train"});
}

// Tensors that nothing reads: named by every command that loads the model.
TEST_F(BadCheckpoint, UnusedTensorsAreNamed) {
  const std::string name = "bert.encoder.layer.0.attention.self.distance_embedding.weight";
  const hub::StateDict tensors = hub::read_safetensors(path("model.safetensors"));
  std::vector<hub::TensorToWrite> all;
  std::vector<std::vector<float>> values;
  for (const hub::TensorView& t : tensors.tensors()) {
    values.emplace_back(static_cast<size_t>(t.num_elements()));
    hub::copy_to_float(t, values.back().data());
    all.push_back({t.name, t.shape, DType::f32, values.back().data()});
  }
  const std::vector<float> extra(8);
  all.push_back({name, {8}, DType::f32, extra.data()});
  hub::write_safetensors(path("model.safetensors"), all);
  const std::string data = world.write("test.csv", "text,label\na good film,pos\na bad film,neg\n");
  const std::string named = "in the checkpoint, not used by this task: " + name;
  EXPECT_THAT(run_graft({"predict", "--model", folder}, {"a good film\n"}).err, HasSubstr(named));
  EXPECT_THAT(run_graft({"evaluate", "--model", folder, "--test_file", data}).err, HasSubstr(named));
  EXPECT_THAT(run_graft({"info", "--model", folder}).out, HasSubstr(name));
  EXPECT_THAT(run_graft({"info", "--model", folder, "--json"}).out, HasSubstr(name));
}

// A head and a config.json that disagree: no hint to an option that these commands do not have.
TEST_F(BadCheckpoint, LabelsThatDoNotFitTheHead) {
  set_config("id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}});
  for (const char* verb : {"predict", "evaluate", "info"}) {
    std::vector<std::string> args = {verb, "--model", folder};
    if (std::string(verb) == "evaluate")
      args.insert(args.end(), {"--test_file", world.write("test.csv", "text,label\na good film,a\n")});
    const Result r = run_graft(args, {"a good film\n"});
    EXPECT_EQ(r.code, 1) << verb;
    EXPECT_THAT(r.err, HasSubstr("the head in the checkpoint has 2 labels")) << verb;
    EXPECT_THAT(r.err, HasSubstr("\"id2label\" names 3 labels")) << verb;
    EXPECT_EQ(r.err.find("ignore_mismatched_sizes"), std::string::npos) << verb;
  }
}

TEST_F(BadCheckpoint, AFamilyOrHeadThatIsNotThere) {
  set_config("architectures", Json::array({"BertForNextSentencePrediction"}));
  expect_error(
      {"config.json names BertForNextSentencePrediction (model_type \"bert\"), which is no head that graft "
       "has"});
  set_config("model_type", "rembert");
  set_config("architectures", Json::array({"RemBertForSequenceClassification"}));
  expect_error({"model_type \"rembert\" is not implemented; graft has: bert"});
  set_config("architectures", Json::array({"RemBertModel"}));
  expect_error({"model_type \"rembert\" is not implemented; graft has: bert"});
}

}  // namespace
}  // namespace graft::test
