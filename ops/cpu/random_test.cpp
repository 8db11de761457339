#include "ops/cpu/random.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

constexpr uint64_t kKey = 0x0123456789abcdef;

struct Box {
  std::vector<int64_t> shape, offset, extent;
  RandomBox view() const { return {shape.data(), offset.data(), extent.data(), static_cast<int>(shape.size())}; }
  int64_t size() const {
    int64_t n = 1;
    for (const int64_t d : extent) n *= d;
    return n;
  }
};

Box whole(std::vector<int64_t> shape) { return {shape, std::vector<int64_t>(shape.size()), shape}; }

// The known answers of the Random123 distribution.
TEST(Philox, KnownAnswers) {
  struct Answer {
    uint32_t counter[4], key[2], out[4];
  };
  const Answer answers[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                            {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                             {0xffffffff, 0xffffffff},
                             {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                            {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                             {0xa4093822, 0x299f31d0},
                             {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Answer& a : answers) {
    uint32_t out[4];
    philox4x32(out, a.counter, a.key);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(out[i], a.out[i]);
  }
}

TEST(Philox, WordsFollowTheElementIndex) {
  const uint32_t key[2] = {static_cast<uint32_t>(kKey), static_cast<uint32_t>(kKey >> 32)};
  const Box box = {{int64_t{1} << 40}, {(int64_t{1} << 36) - 5}, {100}};  // the counter's high half changes on the way
  std::vector<uint32_t> words(100);
  fill_random_words(words.data(), kKey, box.view());
  for (int64_t i = 0; i < 100; ++i) {
    const uint64_t index = static_cast<uint64_t>(box.offset[0] + i);
    const uint32_t counter[4] = {static_cast<uint32_t>(index / 4), static_cast<uint32_t>(index / 4 >> 32), 0, 0};
    uint32_t block[4];
    philox4x32(block, counter, key);
    ASSERT_EQ(words[static_cast<size_t>(i)], block[index % 4]);
  }
}

template <typename T>
class Random : public ::testing::Test {};
TYPED_TEST_SUITE(Random, FloatTypes);

TYPED_TEST(Random, ABoxDrawsWhatTheWholeDraws) {
  using T = TypeParam;
  const Box all = whole({5, 7, 50});
  const auto x = random_values<T>(all.size(), 1);
  std::vector<T> uniform(x.size()), normal(x.size()), dropped(x.size());
  std::vector<uint8_t> mask(x.size());
  fill_uniform(uniform.data(), kKey, all.view(), T(-1), T(3));
  fill_normal(normal.data(), kKey, all.view(), T(1), T(2));
  fill_dropout_mask(mask.data(), kKey, all.view(), 0.3);
  dropout(dropped.data(), x.data(), kKey, all.view(), 0.3);
  for (const auto& [offset, extent] :
       std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>>{{{1, 2, 3}, {3, 4, 11}},
                                                                          {{0, 0, 49}, {5, 7, 1}},
                                                                          {{4, 6, 0}, {1, 1, 50}},
                                                                          {{2, 0, 0}, {2, 7, 50}},
                                                                          {{1, 1, 1}, {0, 3, 4}}}) {
    const Box part = {{5, 7, 50}, offset, extent};
    std::vector<T> expected_uniform, expected_normal, expected_dropped, local;
    std::vector<uint8_t> expected_mask;
    for (int64_t i = 0; i < extent[0]; ++i) {
      for (int64_t j = 0; j < extent[1]; ++j) {
        for (int64_t k = 0; k < extent[2]; ++k) {
          const auto at = static_cast<size_t>(((offset[0] + i) * 7 + offset[1] + j) * 50 + offset[2] + k);
          expected_uniform.push_back(uniform[at]);
          expected_normal.push_back(normal[at]);
          expected_dropped.push_back(dropped[at]);
          expected_mask.push_back(mask[at]);
          local.push_back(x[at]);
        }
      }
    }
    std::vector<T> u(local.size()), z(local.size()), y(local.size());
    std::vector<uint8_t> m(local.size());
    fill_uniform(u.data(), kKey, part.view(), T(-1), T(3));
    fill_normal(z.data(), kKey, part.view(), T(1), T(2));
    fill_dropout_mask(m.data(), kKey, part.view(), 0.3);
    dropout(y.data(), local.data(), kKey, part.view(), 0.3);
    EXPECT_TRUE(same_bits(u, expected_uniform));
    EXPECT_TRUE(same_bits(z, expected_normal));
    EXPECT_TRUE(same_bits(y, expected_dropped));
    EXPECT_EQ(m, expected_mask);
  }
}

TYPED_TEST(Random, MomentsAndRanges) {
  using T = TypeParam;
  const Box box = whole({400000});
  std::vector<T> u(400000), z(400000);
  fill_uniform(u.data(), kKey, box.view(), T(0), T(1));
  fill_normal(z.data(), kKey + 1, box.view(), T(0), T(1));
  double mean = 0, zmean = 0, zvar = 0, zfour = 0, cross = 0;
  for (size_t i = 0; i < u.size(); ++i) {
    ASSERT_GE(u[i], T(0));
    ASSERT_LT(u[i], T(1));
    const double v = static_cast<double>(z[i]);
    ASSERT_TRUE(std::isfinite(v));
    mean += static_cast<double>(u[i]) / 4e5;
    zmean += v / 4e5;
    zvar += v * v / 4e5;
    zfour += v * v * v * v / 4e5;
    if (i % 2 == 1) cross += v * static_cast<double>(z[i - 1]) / 2e5;
  }
  EXPECT_NEAR(mean, 0.5, 0.003);
  EXPECT_NEAR(zmean, 0.0, 0.01);
  EXPECT_NEAR(zvar, 1.0, 0.02);
  EXPECT_NEAR(zfour, 3.0, 0.1);
  EXPECT_NEAR(cross, 0.0, 0.01);
}

TEST(RandomTypes, FloatAndDoubleDrawTheSame) {
  const Box box = whole({10000});
  std::vector<float> u(10000), z(10000);
  std::vector<double> ud(10000), zd(10000);
  fill_uniform(u.data(), kKey, box.view(), 0.0f, 1.0f);
  fill_uniform(ud.data(), kKey, box.view(), 0.0, 1.0);
  fill_normal(z.data(), kKey, box.view(), 0.0f, 1.0f);
  fill_normal(zd.data(), kKey, box.view(), 0.0, 1.0);
  expect_near(u, ud, 0.0);
  expect_near(z, zd, 2e-6);
}

TYPED_TEST(Random, DropoutScalesWhatItKeeps) {
  using T = TypeParam;
  const Box box = whole({1000, 100});
  const std::vector<T> x(100000, T(3));
  std::vector<T> y(x.size());
  for (const double p : {0.0, 0.1, 0.5, 1.0}) {
    std::vector<uint8_t> mask(x.size());
    fill_dropout_mask(mask.data(), kKey, box.view(), p);
    dropout(y.data(), x.data(), kKey, box.view(), p);
    int64_t kept = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(y[i], mask[i] != 0 ? T(3) * static_cast<T>(1.0 / (1.0 - p)) : T(0));
      kept += mask[i];
    }
    EXPECT_NEAR(static_cast<double>(kept) / 1e5, 1.0 - p, 0.006);
  }
}

TYPED_TEST(Random, AScalarAndAnEmptyTensor) {
  using T = TypeParam;
  const RandomBox scalar;
  T first, z;
  fill_uniform(&first, kKey, scalar, T(0), T(1));
  fill_normal(&z, kKey, scalar, T(0), T(1));
  std::vector<T> row(3);
  fill_uniform(row.data(), kKey, whole({3}).view(), T(0), T(1));
  EXPECT_EQ(first, row[0]);
  fill_uniform<T>(nullptr, kKey, whole({0, 3}).view(), T(0), T(1));
}

}  // namespace
}  // namespace troupe::cpu
