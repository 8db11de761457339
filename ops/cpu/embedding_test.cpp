#include "ops/cpu/embedding.h"

#include "ops/cpu/test_support.h"

namespace troupe::cpu {
namespace {

template <typename T, typename Id>
void check() {
  const int64_t rows = 10, dim = 19;
  const std::vector<Id> ids = {3, 9, 0, 3, 5, 3, -1, 10};
  const auto count = static_cast<int64_t>(ids.size());
  const auto table = random_values<T>(rows * dim, 1);
  const auto dout = random_values<T>(count * dim, 2);
  std::vector<T> out(ids.size() * dim), summed(out.size()), dtable(table.size(), T(7)), expected(table.size());
  embedding_forward(out.data(), table.data(), ids.data(), count, dim, 0, rows);
  embedding_backward(dtable.data(), dout.data(), ids.data(), count, dim, 0, rows);
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool valid = ids[i] >= 0 && ids[i] < rows;
    for (int64_t j = 0; j < dim; ++j) {
      const size_t at = i * dim + static_cast<size_t>(j);
      ASSERT_EQ(out[at], valid ? table[static_cast<size_t>(ids[i] * dim + j)] : T(0));
      if (valid) expected[static_cast<size_t>(ids[i] * dim + j)] += dout[at];
    }
  }
  EXPECT_TRUE(same_bits(dtable, expected));
  // Shards of rows [0,4), [4,4), [4,10): outputs add up, gradients are the whole's rows.
  const int64_t begins[] = {0, 4, 4, 10};
  for (int s = 0; s < 3; ++s) {
    const int64_t size = begins[s + 1] - begins[s];
    std::vector<T> part(out.size()), dpart(static_cast<size_t>(size * dim));
    embedding_forward(part.data(), table.data() + begins[s] * dim, ids.data(), count, dim, begins[s], size);
    embedding_backward(dpart.data(), dout.data(), ids.data(), count, dim, begins[s], size);
    for (size_t i = 0; i < part.size(); ++i) summed[i] += part[i];
    EXPECT_TRUE(
        same_bits(dpart, std::vector<T>(dtable.begin() + begins[s] * dim, dtable.begin() + begins[s + 1] * dim)));
  }
  EXPECT_EQ(summed, out);
  embedding_forward<T, Id>(nullptr, table.data(), nullptr, 0, dim, 0, rows);
  embedding_backward<T, Id>(nullptr, nullptr, nullptr, 0, dim, 0, 0);
}

TEST(Embedding, GathersAndScattersInOrder) {
  check<float, int32_t>();
  check<float, int64_t>();
  check<double, int32_t>();
  check<double, int64_t>();
}

}  // namespace
}  // namespace troupe::cpu
