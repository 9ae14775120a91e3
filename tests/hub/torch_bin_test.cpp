#include "hub/torch_bin.h"

#include <cstring>

#include "base/json.h"
#include "support/shared.h"
#include "torch_writer.h"

namespace graft::hub {
namespace {
namespace fs = std::filesystem;

using namespace test_files;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<float> values_of(const TensorView& t) {
  std::vector<float> out(static_cast<size_t>(t.num_elements()));
  copy_to_float(t, out.data());
  return out;
}

StateDict parse(const std::string& file) { return parse_torch_bin(std::as_bytes(std::span(file)), "f"); }

std::string zip_checkpoint(const std::string& main,
                           const std::vector<std::pair<std::string, std::string>>& storages,
                           bool deflated = false) {
  std::vector<ZipItem> items = {{"archive/data.pkl", main, deflated},
                                {"archive/byteorder", "little", deflated}};
  for (const auto& [key, content] : storages) items.push_back({"archive/data/" + key, content, deflated});
  return zip_file(items);
}

// The refusal of a state dict {"w": value} over one storage "0" of six floats.
std::string refusal(const std::string& value) {
  const std::string main = pickle(dict({{"w", value}}));
  const std::string in_zip = test::error_of([&] {
    parse(zip_checkpoint(main, {{"0", std::string(24, 'x')}}));
  });
  const std::string in_legacy = test::error_of([&] {
    parse(legacy_file(main, {{"0", {6, std::string(24, 'x')}}}));
  });
  EXPECT_EQ(in_zip, in_legacy);
  return in_zip;
}

const std::string kSix = storage("0", "FloatStorage", 6);

TEST(TorchBin, BothLayoutsOfEveryGoldenModelHaveTheBitsOfItsSafetensors) {
  for (const fs::path& golden : test::golden_roots()) {
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(golden)) {
      if (entry.path().extension() != ".bin") continue;
      const StateDict dict = read_torch_bin(entry.path());
      const StateDict reference = read_safetensors(entry.path().parent_path() / "model.safetensors");
      for (const TensorView& t : reference.tensors()) {
        const TensorView* other = dict.find(t.name);
        ASSERT_NE(other, nullptr) << entry.path() << " " << t.name;
        EXPECT_EQ(other->dtype, t.dtype);
        EXPECT_EQ(other->shape, t.shape);
        ASSERT_EQ(other->num_bytes, t.num_bytes);
        EXPECT_EQ(std::memcmp(other->data, t.data, t.num_bytes), 0) << entry.path() << " " << t.name;
      }
      ++files;
    }
    EXPECT_GE(files, golden == test::golden_roots().front() ? 8 : 13) << golden;
  }
}

TEST(TorchBin, RealAdaptersToo) {
  GRAFT_SHARED_PATH(folder, "data/checkpoints/adapter-xlm-t-sentiment");
  for (const char* name : {"pytorch_adapter", "pytorch_model_head"}) {
    const StateDict dict = read_torch_bin(folder / (std::string(name) + ".bin"));
    const StateDict reference = read_safetensors(folder / (std::string(name) + ".safetensors"));
    ASSERT_EQ(dict.tensors().size(), reference.tensors().size());
    for (const TensorView& t : reference.tensors()) {
      ASSERT_NE(dict.find(t.name), nullptr) << t.name;
      EXPECT_EQ(std::memcmp(dict.find(t.name)->data, t.data, t.num_bytes), 0) << t.name;
    }
  }
}

TEST(TorchBin, TiedWeightsShareMemory) {
  GRAFT_SHARED_PATH(folder, "golden/bert/mlm");
  const StateDict dict = read_torch_bin(folder / "pytorch_model.bin");
  const TensorView* decoder = dict.find("cls.predictions.decoder.weight");
  const TensorView* embedding = dict.find("bert.embeddings.word_embeddings.weight");
  ASSERT_TRUE(decoder && embedding);
  EXPECT_EQ(decoder->data, embedding->data);
  const TensorView* position_ids = dict.find("bert.embeddings.position_ids");
  ASSERT_NE(position_ids, nullptr);
  EXPECT_EQ(position_ids->dtype, DType::i64);
}

TEST(TorchBin, StridedTensorsAreLaidOutAnew) {
  const std::string main = pickle(dict({{"plain", tensor(kSix, 0, {2, 3}, {3, 1})},
                                        {"transposed", tensor(kSix, 0, {3, 2}, {1, 3})},
                                        {"column", tensor(kSix, 1, {2}, {3})},
                                        {"expanded", tensor(kSix, 2, {2, 2}, {0, 1})},
                                        {"tail", tensor(kSix, 4, {2}, {1})},
                                        {"scalar", tensor(kSix, 5, {}, {})},
                                        {"ones", tensor(kSix, 0, {1, 2, 1}, {77, 1, INT64_MAX})},
                                        {"empty", tensor(kSix, 6, {0, 3}, {3, 1})}}));
  const std::string data = floats({0, 1, 2, 3, 4, 5});
  for (const std::string& file :
       {zip_checkpoint(main, {{"0", data}}), zip_checkpoint(main, {{"0", data}}, true),
        legacy_file(main, {{"0", {6, data}}})}) {
    const StateDict dict = parse(file);
    EXPECT_EQ(values_of(*dict.find("plain")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(values_of(*dict.find("transposed")), (std::vector<float>{0, 3, 1, 4, 2, 5}));
    EXPECT_EQ(values_of(*dict.find("column")), (std::vector<float>{1, 4}));
    EXPECT_EQ(values_of(*dict.find("expanded")), (std::vector<float>{2, 3, 2, 3}));
    EXPECT_EQ(values_of(*dict.find("tail")), (std::vector<float>{4, 5}));
    EXPECT_EQ(values_of(*dict.find("scalar")), (std::vector<float>{5}));
    EXPECT_EQ(values_of(*dict.find("ones")), (std::vector<float>{0, 1}));
    EXPECT_EQ(dict.find("empty")->num_bytes, 0u);
    EXPECT_EQ(dict.find("tail")->data, dict.find("plain")->data + 16) << "contiguous tensors are views";
  }
}

TEST(TorchBin, EveryTypeAndParametersAndTheOldRebuild) {
  const std::string parameter =
      global("torch._utils", "_rebuild_parameter") +
      tuple({tensor(kSix, 0, {6}, {1}), "\x88", global("collections", "OrderedDict") + ")R"}) + "R";
  const std::string old =
      global("torch._utils", "_rebuild_tensor") + tuple({kSix, number(2), numbers({2}), numbers({1})}) + "R";
  const char* types[] = {"Double", "Float", "Half", "BFloat16", "Long",
                         "Int",    "Short", "Char", "Byte",     "Bool"};
  const DType dtypes[] = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                          DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};
  std::vector<std::pair<std::string, std::string>> entries = {
      {"parameter", parameter}, {"old", old}, {"note", "K\x01"}};
  std::vector<std::pair<std::string, std::string>> storages = {{"0", floats({0, 1, 2, 3, 4, 5})}};
  for (int i = 0; i < 10; ++i) {
    const std::string key = std::to_string(i + 1);
    entries.emplace_back(types[i], tensor(storage(key, std::string(types[i]) + "Storage", 3), 0, {3}, {1}));
    storages.emplace_back(key, std::string(3 * dtype_size(dtypes[i]), '\1'));
  }
  const std::string file = zip_checkpoint(pickle(dict(entries)), storages);
  const StateDict read = parse(file);
  EXPECT_EQ(values_of(*read.find("parameter")).size(), 6u);
  EXPECT_EQ(values_of(*read.find("old")), (std::vector<float>{2, 3}));
  EXPECT_EQ(read.find("note"), nullptr) << "a number is no tensor";
  for (int i = 0; i < 10; ++i) EXPECT_EQ(read.find(types[i])->dtype, dtypes[i]);
}

TEST(TorchBin, AWindowOfAStorageAsBefore04) {
  const std::string window = tuple({text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"),
                                    number(6), tuple({text("v"), number(2), number(3)})}) +
                             "Q";
  const std::string file = legacy_file(pickle(dict({{"w", tensor(window, 1, {2}, {1})}})),
                                       {{"0", {6, floats({0, 1, 2, 3, 4, 5})}}});
  EXPECT_EQ(values_of(*parse(file).find("w")), (std::vector<float>{3, 4}));
  EXPECT_THAT(refusal(tensor(window, 1, {3}, {1})), HasSubstr("tensor 'w' reaches beyond its storage"));
}

TEST(TorchBin, AHostilePickleIsRefusedByName) {
  EXPECT_THAT(refusal(global("os", "system") + text("touch /tmp/graft-was-here") + "\x85R"),
              HasSubstr("f: its pickle asks for os.system; refused, nothing was executed"));
  EXPECT_THAT(refusal(tuple({text("module"), text("evil.py"), text("import os")}) + "Q"),
              HasSubstr("f: its pickle asks for a 'module' from outside; refused, nothing was executed"));
}

TEST(TorchBin, RefusesTensorsThatReachBeyondTheirStorage) {
  EXPECT_THAT(refusal(tensor(kSix, 0, {7}, {1})), HasSubstr("f: tensor 'w' reaches beyond its storage"));
  EXPECT_THAT(refusal(tensor(kSix, 6, {1}, {1})), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(refusal(tensor(kSix, 7, {0}, {1})), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {2, 3}, {4, 1})), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(refusal(tensor(kSix, -1, {1}, {1})), HasSubstr("not made of counts"));
  EXPECT_THAT(refusal(tensor(kSix, 5, {2}, {-1})), HasSubstr("not made of counts"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {2}, {1, 1})), HasSubstr("of different lengths"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {INT64_MAX, 4}, {0, 0})), HasSubstr("no file can hold"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {3}, {INT64_MAX})), HasSubstr("reaches beyond its storage"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {5}, {INT64_MAX})), HasSubstr("no file can hold"));
  EXPECT_THAT(refusal(tensor(kSix, 0, std::vector<int64_t>(65, 1), std::vector<int64_t>(65, 1))),
              HasSubstr("at most 64"));
  EXPECT_THAT(refusal(tensor(kSix, 0, {1 << 30}, {0})),
              HasSubstr("tensor 'w' repeats its storage to 4294967296 bytes"));
}

TEST(TorchBin, RefusesStoragesThatDoNotFit) {
  const std::string main = pickle(dict({{"w", tensor(kSix, 0, {6}, {1})}}));
  EXPECT_THAT(test::error_of([&] { parse(zip_checkpoint(main, {})); }),
              HasSubstr("storage '0' is not in the archive"));
  EXPECT_THAT(test::error_of([&] {
                parse(zip_checkpoint(main, {{"0", "short"}}));
              }),
              HasSubstr("storage '0' has 5 bytes, but 6 elements of F32 in its pickle"));
  EXPECT_THAT(test::error_of([&] { parse(legacy_file(main, {})); }),
              HasSubstr("storage '0' is not in the file"));
  EXPECT_THAT(test::error_of([&] {
                parse(legacy_file(main, {{"0", {5, std::string(24, 'x')}}}));
              }),
              HasSubstr("storage '0' has 5 elements, but 6 in its pickle"));
  EXPECT_THAT(test::error_of([&] {
                parse(legacy_file(main, {{"1", {6, std::string(24, 'x')}}}));
              }),
              HasSubstr("a storage '1' that no tensor refers to"));
  EXPECT_THAT(test::error_of([&] {
                parse(legacy_file(main, {{"0", {6, "cut"}}}));
              }),
              AllOf(HasSubstr("is cut short: storage '0' needs 24 bytes and 3 are left"),
                    HasSubstr("download or copy the file again")));
  EXPECT_THAT(refusal(tensor(storage("0", "FloatStorage", INT64_MAX), 0, {1}, {1})),
              HasSubstr("storage '0' is larger than any file"));
  EXPECT_THAT(
      refusal(tuple({tensor(kSix, 0, {6}, {1}), tensor(storage("0", "LongStorage", 6), 0, {6}, {1})})),
      HasSubstr("storage '0' is described in two ways"));
}

TEST(TorchBin, RefusesWhatIsNotAFlatStateDict) {
  EXPECT_THAT(refusal(dict({{"weight", tensor(kSix, 0, {6}, {1})}})),
              AllOf(HasSubstr("is not a flat state dict: 'w' is itself a dict"),
                    HasSubstr("torch.save(model.state_dict()")));
  EXPECT_THAT(test::error_of([] { parse(zip_checkpoint(pickle("]"), {})); }),
              HasSubstr("does not hold a state dict"));
  EXPECT_THAT(test::error_of([] { parse(zip_checkpoint(pickle("}K\x01K\x02s"), {})); }),
              HasSubstr("a key of its dict is not a string"));
  EXPECT_THAT(test::error_of([] {
                parse(zip_file({{"m/data.pkl", ""}, {"m/constants.pkl", ""}}));
              }),
              HasSubstr("TorchScript program"));
  EXPECT_THAT(test::error_of([] {
                parse(zip_file({{"word/document.xml", ""}}));
              }),
              HasSubstr("zip archive without data.pkl"));
  EXPECT_THAT(test::error_of([] { parse(pickle("}")); }), HasSubstr("is a pickle, but not a checkpoint"));
  EXPECT_THAT(test::error_of([] { parse("PNG"); }), HasSubstr("is not a file of torch.save"));
  EXPECT_THAT(test::error_of([] { parse(""); }), HasSubstr("is not a file of torch.save"));
  EXPECT_THAT(test::error_of([] { parse("version https://git-lfs.github.com/spec/v1\n"); }),
              HasSubstr("Git LFS pointer"));
  EXPECT_THAT(test::error_of([] {
                parse(zip_file({{"m/data.pkl", pickle("}")}, {"m/byteorder", "big"}}));
              }),
              HasSubstr("big-endian"));
}

TEST(TorchBin, NoticesAFlippedBit) {
  const std::string main = pickle(dict({{"w", tensor(kSix, 0, {6}, {1})}}));
  std::string file = zip_checkpoint(main, {{"0", floats({0, 1, 2, 3, 4, 5})}});
  file[file.find(floats({4, 5})) + 1] ^= 1;
  EXPECT_THAT(test::error_of([&] { parse(file); }),
              HasSubstr("the checksum of entry 'archive/data/0' is wrong"));
}

TEST(TorchBin, ShardsWithAnIndex) {
  const test::TempDir folder;
  for (const int i : {1, 2}) {
    const std::string name = i == 1 ? "a" : "b";
    folder.write(
        "pytorch_model-0000" + std::to_string(i) + "-of-00002.bin",
        zip_checkpoint(pickle(dict({{name, tensor(kSix, 0, {6}, {1})}})), {{"0", std::string(24, '\0')}}));
  }
  write_json(folder / "pytorch_model.bin.index.json",
             {{"weight_map",
               {{"a", "pytorch_model-00001-of-00002.bin"}, {"b", "pytorch_model-00002-of-00002.bin"}}}});
  const StateDict dict = read_checkpoint(folder.path());
  EXPECT_EQ(dict.tensors().size(), 2u);
  EXPECT_EQ(values_of(*dict.find("b")), std::vector<float>(6, 0.0f));
}

}  // namespace
}  // namespace graft::hub
