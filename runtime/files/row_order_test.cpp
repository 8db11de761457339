#include "runtime/files/row_order.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

std::vector<int64_t> rows_at(const RowOrder& order, int64_t step) {
  std::vector<int64_t> rows;
  const RowOrder::Batch batch = order.at(step);
  for (int64_t place = 0; place < order.choice().batch; ++place) rows.push_back(batch.row(place));
  return rows;
}

TEST(Random, WhatWasMixedCanBeUnmixed) {
  uint64_t x = 0;
  for (int i = 0; i < 1000; ++i, x = mix64(x)) ASSERT_EQ(unmix64(mix64(x)), x);
  EXPECT_EQ(unmix64(mix64(~uint64_t{0})), ~uint64_t{0});
}

// The order of the data is part of every recorded loss curve.
TEST(RowOrder, TheShuffledOrderIsFixed) {
  using Rows = std::vector<int64_t>;
  EXPECT_EQ(rows_at(RowOrder({10, 10, 0}), 0), (Rows{2, 6, 5, 3, 0, 4, 7, 1, 8, 9}));
  EXPECT_EQ(rows_at(RowOrder({10, 10, 1}), 0), (Rows{7, 8, 9, 1, 0, 3, 5, 6, 4, 2}));
  EXPECT_EQ(rows_at(RowOrder({10, 10, 1}), 3), (Rows{9, 3, 4, 0, 7, 5, 2, 6, 1, 8}));
  EXPECT_EQ(rows_at(RowOrder({10, 4, 1}), 7), (Rows{7, 5, 2, 6}));  // the second of pass 3
  EXPECT_EQ(rows_at(RowOrder({7, 7, (uint64_t{1} << 63) + 5}), 1'000'000'000), (Rows{0, 4, 3, 2, 1, 5, 6}));
}

TEST(RowOrder, APassHasEveryRowOnce) {
  const RowOrder order({1000, 100, 7});
  std::set<int64_t> rows;
  for (int64_t step = 20; step < 30; ++step) {
    for (int64_t row : rows_at(order, step)) rows.insert(row);
  }
  EXPECT_EQ(rows.size(), 1000u);
  EXPECT_EQ(*rows.begin(), 0);
  EXPECT_EQ(*rows.rbegin(), 999);
}

TEST(RowOrder, UnshuffledPassesAreEqual) {
  const RowOrder order({7, 3, 5, false});
  EXPECT_EQ(rows_at(order, 1), (std::vector<int64_t>{3, 4, 5}));
  EXPECT_EQ(rows_at(order, 2), (std::vector<int64_t>{0, 1, 2}));  // the last row does not fill a batch
}

TEST(RowOrder, StepsCanBeAskedForInAnyOrderFromAnyThread) {
  const RowOrder order({50, 10, 3});
  std::vector<std::vector<int64_t>> expected;
  for (int64_t step = 0; step < 40; ++step) expected.push_back(rows_at(RowOrder({50, 10, 3}), step));
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      for (int i = 0; i < 300; ++i) {
        const int64_t step = random.below(40);
        EXPECT_EQ(rows_at(order, step), expected[static_cast<size_t>(step)]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(RowOrder, RefusesABatchThatTheRowsDoNotFill) {
  const auto mistake = [](int64_t rows, int64_t batch) -> std::string {
    try {
      RowOrder({rows, batch});
    } catch (const PlanError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(mistake(3, 3), "none");
  EXPECT_EQ(mistake(3, 4), "a batch of 4 rows cannot be taken from arrays of 3 rows");
  EXPECT_EQ(mistake(3, 0), "a batch of 0 rows cannot be taken from arrays of 3 rows");
}

}  // namespace
}  // namespace troupe
