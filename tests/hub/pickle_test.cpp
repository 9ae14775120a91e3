#include "hub/pickle.h"

#include "support/shared.h"
#include "torch_writer.h"

namespace graft::hub {
namespace {

using namespace test_files;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kOrigin = "f";

Pickle read(const std::string& bytes) { return Pickle(std::as_bytes(std::span(bytes)), kOrigin); }

std::string refusal(const std::string& body) {
  const std::string bytes = pickle(body);
  return test::error_of([&] { read(bytes); });
}

TEST(Pickle, ReadsConstantsAndContainers) {
  const std::string bytes =
      pickle(
          "](K\xff"
          "M\x01\x02"
          "J\xfe\xff\xff\xff" +
          std::string("\x8a\x00\x8a\x01\xff", 5) +
          "\x88"
          "N"
          "G12345678" +
          text("name") + "U\x02py" + tuple({number(-7), "K\x01\x85"}) + dict({{"k", "K\x05"}}) + "e") +
      "tail";
  const Pickle p = read(bytes);
  EXPECT_EQ(p.size(), bytes.size() - 4);
  ASSERT_EQ(p.root().kind, PickleKind::list);
  const auto item = [&](size_t i) { return p[p.root().items[i]]; };
  ASSERT_EQ(p.root().items.size(), 12u);
  EXPECT_EQ(item(0).integer, 255);
  EXPECT_EQ(item(1).integer, 513);
  EXPECT_EQ(item(2).integer, -2);
  EXPECT_EQ(item(3).integer, 0);
  EXPECT_EQ(item(4).integer, -1);
  EXPECT_EQ(item(5).kind, PickleKind::boolean);
  EXPECT_EQ(item(6).kind, PickleKind::none);
  EXPECT_EQ(item(7).kind, PickleKind::floating);
  EXPECT_EQ(item(8).text, "name");
  EXPECT_EQ(item(9).text, "py");
  EXPECT_EQ(p[item(10).items[0]].integer, -7);
  EXPECT_EQ(p[p[item(10).items[1]].items[0]].integer, 1);
  EXPECT_EQ(p[item(11).items[0]].text, "k");
  EXPECT_EQ(p[item(11).items[1]].integer, 5);
}

TEST(Pickle, MemoSharesValues) {
  const std::string bytes = pickle(
      "](]q\x01h\x01K\x07"
      "ae");
  // The inner list is stored, recalled and only then filled: both places see it.
  const Pickle p = read(bytes);
  ASSERT_EQ(p.root().items.size(), 2u);
  EXPECT_EQ(p.root().items[0], p.root().items[1]);
  EXPECT_EQ(p[p.root().items[0]].items.size(), 1u);
}

TEST(Pickle, OrderedDictIsADictWithoutItsState) {
  const std::string made =
      global("collections", "OrderedDict") + ")R(" + text("a") + "K\x01u}" + text("_metadata") + "}sb";
  const std::string bytes = pickle(made);
  const Pickle p = read(bytes);
  EXPECT_EQ(p.root().kind, PickleKind::dict);
  EXPECT_EQ(p.root().items.size(), 2u);
  const std::string python2 = pickle(global("collections", "OrderedDict") + "](](" + text("a") +
                                     "K\x01"
                                     "ee\x85R");
  EXPECT_EQ(read(python2).root().items.size(), 2u);
}

// Every way in which a pickle can name something: none of them gets further than its name.
TEST(Pickle, RefusesNamesAndExecutesNothing) {
  const std::string argument = text("touch /tmp/graft-was-here") + "\x85R";
  const auto refused = [](const char* name) {
    return AllOf(HasSubstr(std::string("f: its pickle asks for ") + name + "; refused, nothing was executed"),
                 HasSubstr("save its state dict as safetensors"));
  };
  EXPECT_THAT(refusal(global("os", "system") + argument), refused("os.system"));
  EXPECT_THAT(refusal(global("posix", "system") + argument), refused("posix.system"));
  EXPECT_THAT(refusal(global("builtins", "eval") + argument), refused("builtins.eval"));
  EXPECT_THAT(refusal(global("__builtin__", "exec") + argument), refused("__builtin__.exec"));
  EXPECT_THAT(refusal(global("torch", "load") + argument), refused("torch.load"));
  EXPECT_THAT(refusal(global("torch._utils", "_rebuild_tensor_v2.__globals__") + argument),
              refused("torch._utils._rebuild_tensor_v2.__globals__"));
  EXPECT_THAT(refusal(text("os") + text("system") + "\x93" + argument), refused("os.system"));
  EXPECT_THAT(refusal("(" + text("ls") + "ios\nsystem\n"), refused("os.system"));
  EXPECT_THAT(refusal(global("os\x1b[2J", "system")), refused("os\\x1b[2J.system"));
  EXPECT_THAT(refusal(global("numpy.core.multiarray", "_reconstruct")),
              refused("numpy.core.multiarray._reconstruct"));
  EXPECT_FALSE(std::filesystem::exists("/tmp/graft-was-here"));
}

TEST(Pickle, RefusesOpcodesThatNoStateDictNeeds) {
  const std::string ordered_dict = global("collections", "OrderedDict");
  EXPECT_THAT(refusal(ordered_dict + ")\x81"), HasSubstr("opcode 0x81"));    // NEWOBJ
  EXPECT_THAT(refusal(ordered_dict + ")}\x92"), HasSubstr("opcode 0x92"));   // NEWOBJ_EX
  EXPECT_THAT(refusal("(" + ordered_dict + "o"), HasSubstr("opcode 0x6f"));  // OBJ
  EXPECT_THAT(refusal("\x82\x01"), HasSubstr("opcode 0x82"));                // EXT1
  EXPECT_THAT(refusal("Pid\n"), HasSubstr("opcode 0x50"));                   // PERSID
  EXPECT_THAT(refusal(std::string("\xff")), HasSubstr("opcode 0xff"));
}

TEST(Pickle, RefusesCallsAndStateInWrongPlaces) {
  EXPECT_THAT(refusal(text("os.system") + ")R"), HasSubstr("calls something that is not a function"));
  EXPECT_THAT(refusal(global("torch", "FloatStorage") + ")R"), HasSubstr("calls a storage class"));
  EXPECT_THAT(refusal(global("collections", "OrderedDict") + "}R"),
              HasSubstr("calls something that is not a function"));
  EXPECT_THAT(refusal("]}b"), HasSubstr("adds to something that is not a container"));
  EXPECT_THAT(refusal("K\x01K\x02"
                      "a"),
              HasSubstr("adds to something that is not a container"));
  EXPECT_THAT(refusal("K\x01K\x02\x93"), HasSubstr("asks for a name that is not text"));
  EXPECT_THAT(refusal("}(K\x01u"), HasSubstr("key without a value"));
}

TEST(Pickle, RefusesAStackThatDoesNotAddUp) {
  EXPECT_THAT(refusal(""), HasSubstr("takes from an empty stack"));
  EXPECT_THAT(refusal("0"), HasSubstr("takes from an empty stack"));
  EXPECT_THAT(refusal("t"), HasSubstr("lacks a mark"));
  EXPECT_THAT(refusal("K\x01(0"), HasSubstr("takes from an empty stack"))
      << "a mark cannot be popped through";
  EXPECT_THAT(refusal("h\x07"), HasSubstr("recalls a value that it never stored"));
  EXPECT_THAT(refusal("\x80\x06"), HasSubstr("protocol beyond 5"));
}

TEST(Pickle, EveryCutIsNoticed) {
  const std::string bytes = pickle(dict({{"w", tensor(storage("0", "FloatStorage", 4), 0, {2, 2}, {2, 1})}}));
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string cut = bytes.substr(0, size);
    EXPECT_THAT(test::error_of([&] { read(cut); }), HasSubstr("is cut short")) << size;
  }
  EXPECT_NO_THROW(read(bytes));
}

TEST(Pickle, MemoryIsBounded) {
  EXPECT_THAT(refusal(std::string(1'100'000, 'N')), HasSubstr("needs too large a stack"));
  EXPECT_THAT(refusal(std::string(1'100'000, '(')), HasSubstr("needs too large a stack"));
  std::string popped;
  for (int i = 0; i < 4'100'000; ++i) popped += "N0";
  EXPECT_THAT(refusal(popped), HasSubstr("holds too many values"));
  EXPECT_THAT(refusal("X\xff\xff\xff\xff"), HasSubstr("is cut short"));
  EXPECT_THAT(refusal("X" + raw(uint32_t{2 << 20}) + std::string(2 << 20, 'x')),
              HasSubstr("holds a text of 2097152 bytes"));
  // One long list handed to many calls must not be copied each time.
  std::string list = "](";
  for (int i = 0; i < 1000; ++i) list += "N";
  std::string calls = list + "e\x85q\x01";
  for (int i = 0; i < 100; ++i)
    calls += global("torch._utils", "_rebuild_tensor_v2") + "(" + std::string(20, 'N') + "tR";
  EXPECT_THAT(refusal(calls), HasSubstr("passes too many arguments"));
}

TEST(Pickle, OneLongListGivenToManyCallsIsRefused) {
  std::string pairs = "](";
  for (int i = 0; i < 5000; ++i) pairs += "NN\x86";
  std::string body = global("collections", "OrderedDict") + "q\x01" + pairs + "e\x85q\x02";
  for (int i = 0; i < 1000; ++i) body += "h\x01h\x02R0";
  EXPECT_THAT(refusal(body), HasSubstr("holds too many values"));
}

TEST(Pickle, DepthCostsNothing) {
  std::string body = ")";
  for (int i = 0; i < 1'000'000; ++i) body += "\x85";
  const std::string bytes = pickle(body);
  EXPECT_EQ(read(bytes).root().kind, PickleKind::tuple);
  const std::string cycle = pickle(
      "]q\x01h\x01"
      "a");
  const Pickle p = read(cycle);
  EXPECT_EQ(&p[p.root().items[0]], &p.root());
}

}  // namespace
}  // namespace graft::hub
