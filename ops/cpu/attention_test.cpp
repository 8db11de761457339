#include "ops/cpu/attention.h"

#include <limits>
#include <map>

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

// All tensors as [batch, heads, seq, dim]; `packed` instead lays q, k, v as thirds of [batch, seq, 3, heads,
// dim].
struct Problem {
  AttentionShape shape;
  HeadStrides q, k;

  explicit Problem(AttentionShape s) : shape(s) {
    q = {s.heads * s.q_len * s.head_dim, s.q_len * s.head_dim, s.head_dim};
    k = {s.kv_heads * s.kv_len * s.head_dim, s.kv_len * s.head_dim, s.head_dim};
  }
  int64_t q_size() const { return shape.batch * q.batch; }
  int64_t k_size() const { return shape.batch * k.batch; }
  int64_t rows() const { return shape.batch * shape.heads * shape.q_len; }
};

struct Reference {
  std::vector<double> out, lse;
};

Reference naive(const Problem& p, const std::vector<double>& q, const std::vector<double>& k,
                const std::vector<double>& v, double scale) {
  const AttentionShape& s = p.shape;
  Reference r{std::vector<double>(static_cast<size_t>(p.q_size())), std::vector<double>(static_cast<size_t>(p.rows()))};
  for (int64_t b = 0; b < s.batch; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t i = 0; i < s.q_len; ++i) {
        const double* qi = q.data() + b * p.q.batch + h * p.q.head + i * p.q.seq;
        double* oi = r.out.data() + b * p.q.batch + h * p.q.head + i * p.q.seq;
        const int64_t base = b * p.k.batch + h / (s.heads / s.kv_heads) * p.k.head;
        std::vector<double> scores;
        double sum = 0.0;
        for (int64_t j = 0; j < s.kv_len && (!s.causal || j <= i + s.q_offset); ++j) {
          double dot = 0.0;
          for (int64_t d = 0; d < s.head_dim; ++d) dot += qi[d] * k[static_cast<size_t>(base + j * p.k.seq + d)];
          const bool hidden = s.key_mask != nullptr && s.key_mask[b * s.kv_len + j] == 0;
          scores.push_back(hidden ? 0.0 : std::exp(dot * scale));
          sum += scores.back();
        }
        for (size_t j = 0; sum > 0.0 && j < scores.size(); ++j) {
          for (int64_t d = 0; d < s.head_dim; ++d) {
            oi[d] += scores[j] / sum * v[static_cast<size_t>(base + static_cast<int64_t>(j) * p.k.seq + d)];
          }
        }
        r.lse[static_cast<size_t>((b * s.heads + h) * s.q_len + i)] = std::log(sum);
      }
    }
  }
  return r;
}

template <typename T>
struct Result {
  std::vector<T> out, lse, dq, dk, dv;
};

template <typename T>
Result<T> run(const Problem& p, const std::vector<T>& q, const std::vector<T>& k, const std::vector<T>& v,
              const std::vector<T>& dout, T scale) {
  const T nan = std::numeric_limits<T>::quiet_NaN();  // every output must be written
  Result<T> r{std::vector<T>(q.size(), nan), std::vector<T>(static_cast<size_t>(p.rows()), nan),
              std::vector<T>(q.size(), nan), std::vector<T>(k.size(), nan), std::vector<T>(k.size(), nan)};
  std::vector<char> scratch(static_cast<size_t>(attention_backward_scratch_bytes<T>(p.shape)));
  attention_forward(r.out.data(), p.q, r.lse.data(), q.data(), p.q, k.data(), p.k, v.data(), p.k, p.shape, scale,
                    scratch.data());
  attention_backward(r.dq.data(), p.q, r.dk.data(), p.k, r.dv.data(), p.k, dout.data(), p.q, q.data(), p.q, k.data(),
                     p.k, v.data(), p.k, r.out.data(), p.q, r.lse.data(), p.shape, scale, false, scratch.data());
  return r;
}

// The first batch sees no key, of the second's keys none of the first half and every third of the rest.
const uint8_t* half_masked(int64_t batch, int64_t keys) {
  static std::map<int64_t, std::vector<uint8_t>> masks;
  std::vector<uint8_t>& mask = masks[batch * keys];
  mask.assign(static_cast<size_t>(batch * keys), 0);
  for (int64_t j = keys / 2; batch > 1 && j < keys; j += 3) mask[static_cast<size_t>(keys + j)] = 1;
  return mask.data();
}

std::vector<AttentionShape> shapes() {
  return {
      {.batch = 2, .heads = 3, .kv_heads = 1, .q_len = 9, .kv_len = 12, .head_dim = 5, .key_mask = half_masked(2, 12)},
      {.batch = 2,
       .heads = 1,
       .kv_heads = 1,
       .q_len = 70,
       .kv_len = 13,
       .head_dim = 2,
       .causal = true,
       .key_mask = half_masked(2, 13)},
      {.batch = 2,
       .heads = 1,
       .kv_heads = 1,
       .q_len = 3,
       .kv_len = 2600,
       .head_dim = 4,
       .key_mask = half_masked(2, 2600)},
      {.batch = 2, .heads = 3, .kv_heads = 3, .q_len = 17, .kv_len = 17, .head_dim = 8, .causal = true},
      {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = 130, .kv_len = 130, .head_dim = 32, .causal = true},
      {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = 70, .kv_len = 33, .head_dim = 5},
      {.batch = 1, .heads = 4, .kv_heads = 2, .q_len = 9, .kv_len = 30, .head_dim = 4, .causal = true, .q_offset = 21},
      {.batch = 1, .heads = 4, .kv_heads = 1, .q_len = 20, .kv_len = 12, .head_dim = 4, .causal = true, .q_offset = -5},
      {.batch = 1, .heads = 1, .kv_heads = 1, .q_len = 3, .kv_len = 2500, .head_dim = 4},
      {.batch = 1,
       .heads = 1,
       .kv_heads = 1,
       .q_len = 140,
       .kv_len = 1200,
       .head_dim = 4,
       .causal = true,
       .q_offset = 1000},
      {.batch = 1, .heads = 1, .kv_heads = 1, .q_len = 1, .kv_len = 1, .head_dim = 64, .causal = true},
      {.batch = 1,
       .heads = 1,
       .kv_heads = 1,
       .q_len = 100,
       .kv_len = 100,
       .head_dim = 4,
       .causal = true,
       .q_offset = -80},
      {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = 4, .kv_len = 0, .head_dim = 4},
      {.batch = 1, .heads = 2, .kv_heads = 2, .q_len = 0, .kv_len = 4, .head_dim = 4}};
}

template <typename T>
class Attention : public ::testing::Test {};
TYPED_TEST_SUITE(Attention, FloatTypes);

TYPED_TEST(Attention, ForwardMatchesTheDefinition) {
  using T = TypeParam;
  for (const AttentionShape& shape : shapes()) {
    const Problem p(shape);
    const auto q = random_values<T>(p.q_size(), 1);
    const auto k = random_values<T>(p.k_size(), 2);
    const auto v = random_values<T>(p.k_size(), 3);
    const auto r = run<T>(p, q, k, v, q, T(0.4));
    const auto e = naive(p, widened(q), widened(k), widened(v), static_cast<double>(T(0.4)));
    expect_near(r.out, e.out, sizeof(T) == 4 ? 4e-6 : 1e-12);
    expect_near(r.lse, e.lse, sizeof(T) == 4 ? 4e-6 : 1e-12);
  }
}

TEST(AttentionDouble, BackwardMatchesFiniteDifferences) {
  for (AttentionShape shape : shapes()) {
    if (shape.q_len * shape.kv_len * shape.head_dim > 5000) continue;
    const Problem p(shape);
    const auto q = random_values<double>(p.q_size(), 1);
    const auto k = random_values<double>(p.k_size(), 2);
    const auto v = random_values<double>(p.k_size(), 3);
    const auto dout = random_values<double>(p.q_size(), 4);
    const auto r = run<double>(p, q, k, v, dout, 0.4);
    expect_near(r.dq, numeric_gradient(q, [&](const auto& x) { return weighted(naive(p, x, k, v, 0.4).out, dout); }),
                1e-7);
    expect_near(r.dk, numeric_gradient(k, [&](const auto& x) { return weighted(naive(p, q, x, v, 0.4).out, dout); }),
                1e-7);
    expect_near(r.dv, numeric_gradient(v, [&](const auto& x) { return weighted(naive(p, q, k, x, 0.4).out, dout); }),
                1e-7);
  }
}

TEST(AttentionFloat, BackwardIsNearDouble) {
  for (const AttentionShape& shape : shapes()) {
    const Problem p(shape);
    const auto q = random_values<float>(p.q_size(), 1);
    const auto k = random_values<float>(p.k_size(), 2);
    const auto v = random_values<float>(p.k_size(), 3);
    const auto dout = random_values<float>(p.q_size(), 4);
    const auto r = run<float>(p, q, k, v, dout, 0.4f);
    const auto e = run<double>(p, widened(q), widened(k), widened(v), widened(dout), static_cast<double>(0.4f));
    expect_near(r.dq, e.dq, 2e-5);
    expect_near(r.dk, e.dk, 2e-5);
    expect_near(r.dv, e.dv, 2e-5);
  }
}

// q, k, v as thirds of one packed tensor, gradients written back the same way.
TYPED_TEST(Attention, PackedLayoutGivesTheSameBits) {
  using T = TypeParam;
  const AttentionShape s = {
      .batch = 2, .heads = 3, .kv_heads = 3, .q_len = 70, .kv_len = 70, .head_dim = 8, .causal = true};
  const Problem p(s);
  const auto q = random_values<T>(p.q_size(), 1);
  const auto k = random_values<T>(p.k_size(), 2);
  const auto v = random_values<T>(p.k_size(), 3);
  const auto dout = random_values<T>(p.q_size(), 4);
  const auto plain = run<T>(p, q, k, v, dout, T(0.3));
  const int64_t width = s.heads * s.head_dim;
  const HeadStrides packed = {s.q_len * 3 * width, s.head_dim, 3 * width};
  const auto each = [&](auto f) {
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t h = 0; h < s.heads; ++h) {
        for (int64_t i = 0; i < s.q_len; ++i) {
          for (int64_t d = 0; d < s.head_dim; ++d) {
            f(static_cast<size_t>(b * p.q.batch + h * p.q.head + i * p.q.seq + d),
              static_cast<size_t>(b * packed.batch + h * packed.head + i * packed.seq + d));
          }
        }
      }
    }
  };
  std::vector<T> qkv(q.size() * 3), dqkv(qkv.size()), out(q.size()), lse(plain.lse.size());
  const auto w = static_cast<size_t>(width);
  each([&](size_t from, size_t to) {
    qkv[to] = q[from];
    qkv[to + w] = k[from];
    qkv[to + 2 * w] = v[from];
  });
  std::vector<char> scratch(static_cast<size_t>(attention_backward_scratch_bytes<T>(s)));
  attention_forward(out.data(), p.q, lse.data(), qkv.data(), packed, qkv.data() + width, packed, qkv.data() + 2 * width,
                    packed, s, T(0.3), scratch.data());
  attention_backward(dqkv.data(), packed, dqkv.data() + width, packed, dqkv.data() + 2 * width, packed, dout.data(),
                     p.q, qkv.data(), packed, qkv.data() + width, packed, qkv.data() + 2 * width, packed, out.data(),
                     p.q, lse.data(), s, T(0.3), false, scratch.data());
  EXPECT_TRUE(same_bits(out, plain.out));
  EXPECT_TRUE(same_bits(lse, plain.lse));
  each([&](size_t from, size_t to) {
    ASSERT_EQ(dqkv[to], plain.dq[from]);
    ASSERT_EQ(dqkv[to + w], plain.dk[from]);
    ASSERT_EQ(dqkv[to + 2 * w], plain.dv[from]);
  });
}

TYPED_TEST(Attention, SameBitsForEveryAlignmentAndBoundedScratch) {
  using T = TypeParam;
  const Problem p({.batch = 1, .heads = 2, .kv_heads = 2, .q_len = 66, .kv_len = 66, .head_dim = 9, .causal = true});
  const auto q = random_values<T>(p.q_size(), 1);
  const auto k = random_values<T>(p.k_size(), 2);
  const auto v = random_values<T>(p.k_size(), 3);
  expect_alignment_free<T>({q, k, v}, p.q_size() + p.rows(), [&](const std::vector<const T*>& in, T* out) {
    std::vector<char> scratch(static_cast<size_t>(attention_forward_scratch_bytes<T>(p.shape)));
    attention_forward(out, p.q, out + p.q_size(), in[0], p.q, in[1], p.k, in[2], p.k, p.shape, T(0.3), scratch.data());
  });
  const AttentionShape long_shape = {
      .batch = 8, .heads = 8, .kv_heads = 8, .q_len = 100000, .kv_len = 100000, .head_dim = 64};
  EXPECT_LE(attention_backward_scratch_bytes<T>(long_shape), 2 << 20);
}

}  // namespace
}  // namespace troupe::cpu
