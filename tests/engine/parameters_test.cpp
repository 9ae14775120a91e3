#include "engine/parameters.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "engine/engine_case.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

using graft::test::error_of;

Parameter named(const char* name, std::vector<int64_t> shape) {
  Parameter p;
  p.name = name;
  p.shape = std::move(shape);
  return p;
}

TEST(ParameterStore, GroupsLieNextToEachOtherAndOthersAreAligned) {
  ParameterStore store;
  Parameter& first = store.add(named("a", {3, 5}));
  const auto qkv = store.add_group({named("q", {3, 5}), named("k", {3, 5}), named("v", {3, 5})});
  Parameter& last = store.add(named("b", {7}));
  EXPECT_EQ(first.offset, 0);
  EXPECT_EQ(qkv[0]->offset, 16);
  EXPECT_EQ(qkv[1]->offset, qkv[0]->offset + 15);
  EXPECT_EQ(qkv[2]->offset, qkv[1]->offset + 15);
  EXPECT_EQ(qkv[2]->grad_offset, qkv[0]->grad_offset + 30);
  EXPECT_EQ(last.offset % 16, 0);
  EXPECT_EQ(store.num_parameters(), 4 * 15 + 7);
  store.allocate();
  store.allocate_grads();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(store.value(*qkv[0])) % 64, 0u);
  EXPECT_EQ(store.value(*qkv[1]) - store.value(*qkv[0]), 15);
  EXPECT_EQ(store.grad(*qkv[1]) - store.grad(*qkv[0]), 15);
  for (int64_t i = 0; i < store.value_size(); ++i) ASSERT_EQ(store.value(first)[i], 0);
}

// A group in the memory of both stores would not be one matrix.
TEST(ParameterStore, SharesValuesOfWholeGroups) {
  ParameterStore lender, store;
  for (ParameterStore* s : {&lender, &store}) {
    s->add(named("a", {3, 5}));
    s->add_group({named("q", {3, 5}), named("k", {3, 5})});
    s->add_group({named("v", {3, 5}), named("w", {3, 5})});
  }
  lender.add(named("head", {2, 5}));
  lender.allocate();
  Parameter& head = store.add(named("head", {4, 5}));
  std::vector<Parameter*> shared;
  for (Parameter& p : store.parameters())
    if (p.name != "w") shared.push_back(&p);
  store.share_values(lender, shared);
  store.allocate();
  for (const char* name : {"a", "q", "k"})
    EXPECT_EQ(store.value(*store.find(name)), lender.value(*lender.find(name))) << name;
  for (const char* name : {"v", "w", "head"})
    EXPECT_NE(store.value(*store.find(name)), lender.value(*lender.find(name))) << name;
  EXPECT_EQ(store.value(*store.find("w")) - store.value(*store.find("v")), 15);
  EXPECT_EQ(store.value_size(), 64);  // v, w and the head
  const float* before = store.value(*store.find("a"));
  store.reopen();
  store.add(named("adapter", {8}));
  store.allocate();
  EXPECT_EQ(store.value(*store.find("a")), before);
  store.write_value(head).data()[0] = 1;
  EXPECT_EQ(lender.value(*lender.find("head"))[0], 0);
  EXPECT_THAT(error_of([&] { store.write_value(*store.find("a")); }),
              testing::HasSubstr("a cannot be changed"));
  EXPECT_THAT(error_of([&] { store.allocate_grads(); }), testing::HasSubstr("cannot be trained"));
  EXPECT_THAT(error_of([&] { store.share_values(lender, shared); }), testing::HasSubstr("before"));
}

TEST(ParameterStore, PointersStayAndNamesAreFound) {
  ParameterStore store;
  Parameter* first = &store.add(named("first", {2}));
  for (int i = 0; i < 1000; ++i) store.add(named(("p" + std::to_string(i)).c_str(), {1}));
  EXPECT_EQ(store.find("first"), first);
  EXPECT_EQ(store.find("p999")->name, "p999");
  EXPECT_EQ(store.find("absent"), nullptr);
}

TEST(ParameterStore, RowsAndColsOfAnyShape) {
  ParameterStore store;
  const Parameter &m = store.add(named("m", {4, 6})), &v = store.add(named("v", {9})),
                  &t = store.add(named("t", {2, 3, 5}));
  EXPECT_EQ(m.rows(), 4);
  EXPECT_EQ(m.cols(), 6);
  EXPECT_EQ(v.rows(), 1);
  EXPECT_EQ(v.cols(), 9);
  EXPECT_EQ(t.rows(), 2);
  EXPECT_EQ(t.cols(), 15);
}

TEST(ParameterStore, RowSparseTakesNoFlatGradient) {
  ParameterStore store;
  Parameter table = named("table", {100, 8});
  table.row_sparse = true;
  Parameter& sparse = store.add(table);
  Parameter& dense = store.add(named("dense", {8}));
  EXPECT_EQ(sparse.grad_offset, -1);
  EXPECT_EQ(dense.grad_offset, 0);
  store.allocate();
  store.allocate_grads();
  EXPECT_EQ(store.sparse_grad(sparse).slot_of, std::vector<int32_t>(100, -1));
  EXPECT_THAT(error_of([&] { store.sparse_grad(dense); }),
              testing::HasSubstr("dense has no row-sparse gradient"));
}

TEST(ParameterStore, SettleZeroesWhatNoBackwardReached) {
  ParameterStore store;
  Parameter &reached = store.add(named("reached", {3})), &unreached = store.add(named("unreached", {3})),
            &frozen = store.add(named("frozen", {3}));
  frozen.trainable = false;
  store.allocate();
  store.allocate_grads();
  for (Parameter* p : {&reached, &unreached, &frozen}) std::fill_n(store.grad(*p), 3, 5.0f);
  store.clear_grads();
  reached.has_grad = true;
  store.settle_grads();
  EXPECT_EQ(store.grad(reached)[2], 5);
  EXPECT_EQ(store.grad(unreached)[2], 0);
  EXPECT_TRUE(unreached.has_grad);
  EXPECT_FALSE(frozen.has_grad);
}

TEST(ParameterStore, SelectsByPattern) {
  ParameterStore store;
  for (const char* name :
       {"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.0.output.dense.bias", "bert.encoder.layer.1.output.dense.weight",
        "bert.encoder.layer.10.output.dense.weight", "classifier.weight", "classifier.bias"})
    store.add(named(name, {2}));
  const auto names = [&](const char* pattern) {
    std::vector<std::string> out;
    for (const Parameter* p : store.select(pattern)) out.push_back(p->name);
    return out;
  };
  EXPECT_EQ(names("*").size(), 7u);
  EXPECT_EQ(names("classifier.bias"), std::vector<std::string>{"classifier.bias"});
  EXPECT_EQ(names("*.layer.[0-3].*").size(), 3u);
  EXPECT_EQ(names("*.layer.?.*").size(), 3u);
  EXPECT_EQ(names("*.layer.*.dense.weight").size(), 3u);
  EXPECT_EQ(names("*.layer.[!0]*weight").size(), 2u);
  EXPECT_EQ(names("*bias").size(), 2u);
  EXPECT_EQ(names("**class*").size(), 2u);
  EXPECT_THAT(error_of([&] { store.select("classifer.*"); }),
              testing::AllOf(testing::HasSubstr("no parameter matches \"classifer.*\""),
                             testing::HasSubstr("nearest names are classifier.weight, classifier.bias")));
  // A forgotten prefix.
  EXPECT_THAT(error_of([&] { store.select("encoder.layer.0.*"); }),
              testing::HasSubstr("nearest names are bert.encoder.layer.0.output.dense.weight"));
  EXPECT_THAT(error_of([&] { store.select("classifier"); }), testing::HasSubstr("no parameter matches"));
  EXPECT_THAT(error_of([&] { store.select("layer.[0-3"); }), testing::HasSubstr("no closing bracket"));
  EXPECT_THAT(error_of([&] { store.select("layer.["); }), testing::HasSubstr("no closing bracket"));
}

TEST(ParameterStore, GradientsOfFrozenParametersAreNotCounted) {
  ParameterStore store;
  store.add(named("a", {16}));
  Parameter& b = store.add(named("b", {32}));
  EXPECT_EQ(store.grad_size(), 48);
  b.trainable = false;
  EXPECT_EQ(store.grad_size(), 16);
}

TEST(ParameterStore, MisuseIsTold) {
  ParameterStore store;
  store.add(named("a", {3}));
  EXPECT_THAT(error_of([&] { store.add(named("a", {3})); }), testing::HasSubstr("a was declared twice"));
  store.allocate();
  EXPECT_THAT(error_of([&] { store.add(named("b", {3})); }), testing::HasSubstr("b was added after"));
}

TEST(ParameterStore, VersionMovesWhenValuesAreTouched) {
  ParameterStore store;
  const uint64_t before = store.version();
  store.touch_values();
  EXPECT_NE(store.version(), before);
}

TEST(FloatBuffer, MovesItsMemory) {
  FloatBuffer a(100, cpu_device());
  a.data()[99] = 3;
  float* p = a.data();
  FloatBuffer b(std::move(a)), c;
  c = std::move(b);
  EXPECT_EQ(c.data(), p);
  EXPECT_EQ(c.size(), 100);
  EXPECT_EQ(c.data()[99], 3);
}

TEST(FloatBuffer, ResizedKeepsItsFloatsAndAddsZeros) {
  FloatBuffer b(0, cpu_device());
  b.resize(3);
  for (int i = 0; i < 3; ++i) b.data()[i] = static_cast<float>(i + 1);
  b.resize(100000);
  EXPECT_EQ(b.size(), 100000);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(b.data()[i], static_cast<float>(i + 1));
  EXPECT_EQ(std::count(b.data() + 3, b.data() + 100000, 0.0f), 100000 - 3);
  b.resize(1);
  b.resize(3);  // within the memory: what was there is gone
  EXPECT_EQ(b.data()[0], 1);
  EXPECT_EQ(b.data()[2], 0);
}

TEST(FloatBuffer, ScatteredRowsCostTheirPagesOnly) {
  constexpr int64_t kFloats = 16 << 20;  // 64 MB
  FloatBuffer buffer(kFloats, cpu_device());
  buffer.expect_scattered(0, kFloats);
  for (int64_t i = 0; i < kFloats; i += kFloats / 8) buffer.data()[i] = 1;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident(kFloats * 4 / page);
  ASSERT_EQ(::mincore(buffer.data(), kFloats * 4, resident.data()), 0);
  EXPECT_EQ(std::count_if(resident.begin(), resident.end(), [](unsigned char r) { return r & 1; }), 8);
}

}  // namespace
}  // namespace graft::engine::test
