// embed against its plain twin: dense and row-sparse tables, padding rows, virtual tokens, a tied table,
// micro-batches.
#include <cmath>

#include "engine/plain_twins.h"
#include "support/shared.h"

namespace graft::engine::test {
namespace {

constexpr int64_t kVocab = 50, kPositions = 12, kTypes = 2, kHidden = 24, kVirtual = 3;

struct Model {
  ParameterStore store;
  Embeddings e;
  explicit Model(bool row_sparse, int64_t padding_row = -1, bool token_type = true, bool prompt = false) {
    const auto table = [&](const char* name, int64_t rows, bool sparse, int64_t padding) {
      Parameter p;
      p.name = name;
      p.shape = {rows, kHidden};
      p.row_sparse = sparse;
      p.padding_row = padding;
      return &store.add(std::move(p));
    };
    e.word = table("word", kVocab, row_sparse, padding_row);
    e.position = table("position", kPositions, false, padding_row);
    if (token_type) e.token_type = table("token_type", kTypes, false, -1);
    if (prompt) e.prompt = table("prompt", kVirtual, false, -1);
    e.norm = {declare(store, "LayerNorm.weight", {kHidden}), declare(store, "LayerNorm.bias", {kHidden}),
              1e-6f};
    fill_store(store);
  }
  twin::Mat value(const Parameter* p) { return copy_of(make_tensor(store.value(*p), p->rows(), p->cols())); }
};

struct Ids {
  std::vector<int32_t> word, position, type;
  explicit Ids(int64_t T, const char* name, int64_t num_words = kVocab)
      : word(random_ids(T, num_words, name)),
        position(random_ids(T, kPositions, "position")),
        type(random_ids(T, kTypes, "type")) {}
};

Forward embed_of(const Model& m, const Ids& ids, const Batch& batch, float p) {
  return [&m, &ids, &batch, p](Tape& t, const std::vector<Var>&) {
    return embed(t, m.e, ids.word.data(), ids.position.data(), ids.type.data(), p, "embeddings",
                 batch.rows());
  };
}

// Gradients of the tables and the norm, for dy.
struct Expected {
  twin::Mat y, word{kVocab, kHidden}, position{kPositions, kHidden}, type{kTypes, kHidden},
      prompt{kVirtual, kHidden};
  twin::NormGrads norm;
};
Expected expected(Model& m, const Ids& ids, const Batch& batch, float p, const Matrix& dy) {
  const int64_t T = batch.num_rows();
  const twin::Mat word = m.value(m.e.word), position = m.value(m.e.position),
                  prompt = m.e.prompt ? m.value(m.e.prompt) : twin::Mat();
  twin::Mat sum(T, kHidden);
  for (int64_t r = 0; r < T; ++r) {
    const int32_t id = ids.word[static_cast<size_t>(r)];
    for (int64_t c = 0; c < kHidden; ++c) {
      sum(r, c) = (id < kVocab ? word(id, c) : prompt(id - kVocab, c)) +
                  position(ids.position[static_cast<size_t>(r)], c);
      if (m.e.token_type) sum(r, c) += m.value(m.e.token_type)(ids.type[static_cast<size_t>(r)], c);
    }
  }
  const twin::Mat gamma = m.value(m.e.norm.weight);
  Dropout d;
  d.p = p;
  d.key = philox_key(training().seed, training().step, "embeddings");
  twin::Mat factors = twin::dropout_factors(d, batch.rows(), kHidden);
  Expected out;
  out.y = twin::residual_norm(sum, {}, {}, gamma, m.value(m.e.norm.bias), 1e-6).y;
  twin::Mat g = dy;
  for (size_t i = 0; i < g.v.size(); ++i) out.y.v[i] *= factors.v[i], g.v[i] *= factors.v[i];
  out.norm = twin::norm_backward(sum, gamma, 1e-6, g);
  for (int64_t r = 0; r < T; ++r) {
    const int32_t w = ids.word[static_cast<size_t>(r)], q = ids.position[static_cast<size_t>(r)],
                  k = ids.type[static_cast<size_t>(r)];
    for (int64_t c = 0; c < kHidden; ++c) {
      if (w >= kVocab)
        out.prompt(w - kVocab, c) += out.norm.dz(r, c);
      else if (w != m.e.word->padding_row)
        out.word(w, c) += out.norm.dz(r, c);
      if (q != m.e.position->padding_row) out.position(q, c) += out.norm.dz(r, c);
      out.type(k, c) += out.norm.dz(r, c);
    }
  }
  return out;
}

TEST(Embed, EqualsTwin) {
  const Batch batch({7, 1, 30, 45});
  const Ids ids(83, "ids");
  for (const bool sparse : {false, true}) {
    for (const int64_t padding : {int64_t{-1}, int64_t{1}}) {
      for (const float p : {0.0f, 0.1f}) {
        Model m(sparse, padding);
        const Matrix dy = random_matrix(83, kHidden, "dy");
        const Pass got = run_pass(m.store, {}, embed_of(m, ids, batch, p), training(), &dy);
        const Expected want = expected(m, ids, batch, p, dy);
        const std::string what = fmt::format("sparse {} padding {} p {}", sparse, padding, p);
        twin::expect_close(got.out, want.y, 3e-6, what);
        twin::expect_close(got.parameter_grads.at("word"), want.word, 5e-6, what + " word");
        twin::expect_close(got.parameter_grads.at("position"), want.position, 5e-6, what + " position");
        twin::expect_close(got.parameter_grads.at("token_type"), want.type, 5e-6, what + " token_type");
        twin::expect_close(got.parameter_grads.at("LayerNorm.weight"), want.norm.dgamma, 3e-6,
                           what + " gamma");
        twin::expect_close(got.parameter_grads.at("LayerNorm.bias"), want.norm.dbeta, 3e-6, what + " beta");
        if (p == 0) {
          expect_same_bits(run_forward(m.store, {}, embed_of(m, ids, batch, 0)), got.out,
                           what + " without a tape");
        }
      }
    }
  }
}

TEST(Embed, VirtualTokensHaveATableOfTheirOwn) {
  const Batch batch({7, 1, 30, 45});
  Ids ids(83, "ids", kVocab + kVirtual);
  ids.word[0] = kVocab, ids.word[7] = kVocab + 2;
  for (const bool sparse : {false, true}) {
    for (const int64_t padding : {int64_t{-1}, int64_t{1}}) {
      Model m(sparse, padding, true, true);
      const Matrix dy = random_matrix(83, kHidden, "dy");
      const Pass got = run_pass(m.store, {}, embed_of(m, ids, batch, 0.1f), training(), &dy);
      const Expected want = expected(m, ids, batch, 0.1f, dy);
      twin::expect_close(got.out, want.y, 3e-6, "virtual tokens");
      twin::expect_close(got.parameter_grads.at("word"), want.word, 5e-6, "word");
      twin::expect_close(got.parameter_grads.at("prompt"), want.prompt, 5e-6, "prompt");
    }
  }
  Model m(false, -1, true, true);
  m.e.word->trainable = false;
  Ids few(5, "few");
  few.word[1] = kVocab + 1;
  expect_gradients(m.store, {}, embed_of(m, few, Batch({2, 3}), 0.2f));
  few.word[1] = kVocab + kVirtual;
  EXPECT_THAT(graft::test::error_of([&] {
                run_forward(m.store, {}, embed_of(m, few, Batch({2, 3}), 0));
              }),
              testing::HasSubstr("rows and is asked for row 53"));
}

TEST(Embed, WithoutTokenTypes) {
  const Batch batch({5});
  const Ids ids(5, "ids");
  Model m(false, -1, false);
  const Matrix dy = random_matrix(5, kHidden, "dy");
  const Pass got = run_pass(m.store, {}, embed_of(m, ids, batch, 0), training(), &dy);
  twin::expect_close(got.out, expected(m, ids, batch, 0, dy).y, 3e-6, "no token types");
}

TEST(Embed, IdsOutsideTheirTableAreTold) {
  const Batch batch({5});
  Model m(false);
  for (const auto& [ids_of, table] :
       {std::pair{&Ids::word, "word"}, {&Ids::position, "position"}, {&Ids::type, "token_type"}}) {
    for (const int32_t wrong : {-1, 50}) {
      Ids ids(5, "ids");
      (ids.*ids_of)[3] = wrong;
      EXPECT_THAT(graft::test::error_of([&] { run_forward(m.store, {}, embed_of(m, ids, batch, 0)); }),
                  testing::HasSubstr(fmt::format("rows and is asked for row {}", wrong)))
          << table;
    }
  }
}

TEST(Embed, FiniteDifferences) {
  const Batch batch({2, 3});
  const Ids ids(5, "few");
  for (const bool sparse : {false, true}) {
    Model m(sparse);
    expect_gradients(m.store, {}, embed_of(m, ids, batch, 0.2f));
  }
}

// The decoder of a masked language model reads the word table as a matrix: both gradients land in one place.
TEST(Embed, TiedTableGetsBothGradients) {
  const Batch batch({2, 3});
  const Ids ids(5, "few");
  Model m(false);
  const Forward tied = [&](Tape& t, const std::vector<Var>& in) {
    return linear(t, embed_of(m, ids, batch, 0.1f)(t, in), {m.e.word, nullptr, 1});
  };
  expect_gradients(m.store, {}, tied);
}

TEST(Embed, RowSparseGradientKeepsOnlyRowsReadAndAddsMicroBatches) {
  const Batch first({4, 3}), second({5}, 100);
  const Ids a(7, "a"), b(5, "b");
  Model m(true, 1);
  const Matrix da = random_matrix(7, kHidden, "da"), db = random_matrix(5, kHidden, "db");
  const auto backward = [&](const Ids& ids, const Batch& batch, const Matrix& dy) {
    Arena arena;
    Tape tape(cpu_kernels(), arena, m.store, training());
    Var y = embed_of(m, ids, batch, 0)(tape, {});
    Tensor zero = tape.push(1, 1);
    *zero.f32() = 0;
    Var loss = tape.result(zero, true);
    tape.on_backward(loss, [y, from = dy.v.data()](Tape& t) {
      bool add = false;
      Tensor g = t.grad_of(y, add);
      std::copy_n(from, g.size(), g.f32());
    });
    tape.backward(loss);
  };
  backward(a, first, da);
  backward(b, second, db);
  const SparseGrad& sparse = m.store.sparse_grad(*m.e.word);
  std::vector<int32_t> want;
  for (const Ids* ids : {&a, &b}) {
    std::vector<int32_t> sorted = ids->word;
    std::sort(sorted.begin(), sorted.end());
    for (const int32_t id : sorted) {
      if (id != 1 && std::find(want.begin(), want.end(), id) == want.end()) want.push_back(id);
    }
  }
  EXPECT_EQ(sparse.ids, want);
  twin::Mat sum = expected(m, a, first, 0, da).word;
  const twin::Mat other = expected(m, b, second, 0, db).word;
  for (size_t i = 0; i < sum.v.size(); ++i) sum.v[i] += other.v[i];
  Matrix got(kVocab, kHidden);
  for (size_t i = 0; i < sparse.ids.size(); ++i)
    std::copy_n(sparse.rows.data() + i * kHidden, kHidden, &got.at(sparse.ids[i], 0));
  twin::expect_close(got, sum, 5e-6, "two micro-batches");
  m.store.clear_grads();
  EXPECT_TRUE(m.store.sparse_grad(*m.e.word).ids.empty());
  for (const int32_t slot : m.store.sparse_grad(*m.e.word).slot_of) EXPECT_EQ(slot, -1);
}

// NEFTune (Jain et al. 2024): uniform noise of alpha / sqrt(L H) on the word rows, in training only.
TEST(Embed, NoiseIsUniformAndScaledByTheLength) {
  Model m(false, -1, false);
  m.e.norm = {};
  const Batch batch({3, 5});
  const Ids ids(8, "word");
  const auto embedded = [&](float alpha, bool training) {
    Arena arena;
    Tape t(cpu_kernels(), arena, m.store,
           {.training = training, .seed = 1, .step = 2, .neftune_noise_alpha = alpha});
    return copy_of(
        embed(t, m.e, ids.word.data(), ids.position.data(), nullptr, 0, "embeddings", batch.rows())->data);
  };
  const Matrix plain = embedded(0, true), noisy = embedded(4, true), again = embedded(4, true);
  EXPECT_EQ(noisy.v, again.v);
  EXPECT_EQ(embedded(4, false).v, plain.v);
  double largest[2] = {0, 0}, sum = 0;
  for (int64_t r = 0; r < 8; ++r) {
    for (int64_t c = 0; c < kHidden; ++c) {
      const int s = r < 3 ? 0 : 1;
      const double bound = 4 / std::sqrt((s == 0 ? 3.0 : 5.0) * kHidden),
                   noise = noisy.at(r, c) - plain.at(r, c);
      largest[s] = std::max(largest[s], std::fabs(noise) / bound);
      sum += noise / bound;
    }
  }
  for (const double share : largest) {
    EXPECT_LE(share, 1.0 + 1e-5);
    EXPECT_GT(share, 0.9);
  }
  EXPECT_NEAR(sum / (8 * kHidden), 0, 0.15);
}

}  // namespace
}  // namespace graft::engine::test
