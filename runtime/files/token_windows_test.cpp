#include "runtime/files/token_windows.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string mistake_of(int64_t tokens, int64_t seq, int64_t batch) {
  try {
    TokenWindows::shuffled(tokens, seq, batch, 0);
    TokenWindows::sequential(tokens, seq, batch);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "none";
}

TEST(TokenWindows, AShuffledRowNeverCrossesTheEnd) {
  for (int64_t tokens : {9, 10, 11, 100}) {
    const auto windows = TokenWindows::shuffled(tokens, 8, 4, 1);
    std::set<int64_t> starts;
    for (int64_t step = 0; step < 1000; ++step) {
      for (int64_t row = 0; row < 4; ++row) {
        const int64_t start = windows.start(step, row);
        ASSERT_GE(start, 0);
        ASSERT_LE(start + 8 + 1, tokens);
        starts.insert(start);
      }
    }
    EXPECT_EQ(static_cast<int64_t>(starts.size()), tokens - 8);  // every possible start comes up
  }
}

TEST(TokenWindows, AShuffledRowDependsOnSeedStepAndRowAlone) {
  const auto windows = TokenWindows::shuffled(1'000'000, 256, 32, 7);
  const auto larger_batch = TokenWindows::shuffled(1'000'000, 256, 64, 7);
  const auto other_seed = TokenWindows::shuffled(1'000'000, 256, 32, 8);
  std::set<int64_t> starts;
  int same = 0;
  for (int64_t step = 10; step-- > 0;) {
    for (int64_t row = 0; row < 32; ++row) {
      EXPECT_EQ(windows.start(step, row), larger_batch.start(step, row));
      starts.insert(windows.start(step, row));
      same += windows.start(step, row) == other_seed.start(step, row) ? 1 : 0;
    }
  }
  EXPECT_GT(starts.size(), 315u);
  EXPECT_LT(same, 3);
}

// The order of the data is part of every recorded loss curve.
TEST(TokenWindows, TheShuffledOrderIsFixed) {
  const auto windows = TokenWindows::shuffled(1000, 10, 4, 42);
  std::vector<int64_t> starts;
  for (int64_t step : {0, 1, 1'000'000}) {
    for (int64_t row = 0; row < 4; ++row) starts.push_back(windows.start(step, row));
  }
  EXPECT_EQ(starts, (std::vector<int64_t>{613, 808, 741, 10, 6, 191, 713, 679, 896, 222, 3, 918}));
}

TEST(TokenWindows, ShuffledTrainingHasNoEnd) {
  const auto windows = TokenWindows::shuffled(1000, 10, 4, 42);
  EXPECT_EQ(windows.rows(), 0);
  EXPECT_EQ(windows.steps(), 0);
  EXPECT_EQ(windows.rows_in(int64_t{1} << 40), 4);
}

TEST(TokenWindows, ASequentialPassMakesEveryTokenATargetOnce) {
  const int64_t seq = 3;
  for (int64_t tokens = seq + 1; tokens < 30; ++tokens) {
    for (int64_t batch : {1, 2, 4, 100}) {
      const auto windows = TokenWindows::sequential(tokens, seq, batch);
      int64_t expected = 0, rows = 0;
      for (int64_t step = 0; step < windows.steps(); ++step) {
        ASSERT_GE(windows.rows_in(step), 1);
        for (int64_t row = 0; row < windows.rows_in(step); ++row, ++rows, expected += seq) {
          ASSERT_EQ(windows.start(step, row), expected);
          ASSERT_LE(expected + seq + 1, tokens);
        }
      }
      EXPECT_EQ(rows, windows.rows());
      EXPECT_GT(expected + seq + 1, tokens);  // one more row would not fit
      EXPECT_EQ(windows.rows_in(windows.steps()), 0);
    }
  }
}

TEST(TokenWindows, NamesDataThatIsTooShort) {
  EXPECT_EQ(mistake_of(9, 8, 1), "none");
  EXPECT_EQ(mistake_of(8, 8, 1), "tokens: the data has 8 tokens; a row of seq=8 needs 8 and one more");
  EXPECT_EQ(mistake_of(0, 8, 1), "tokens: the data has 0 tokens; a row of seq=8 needs 8 and one more");
  EXPECT_EQ(mistake_of(8, 0, 1), "tokens: seq=0 and batch=1 must be at least 1");
  EXPECT_EQ(mistake_of(8, 1, 0), "tokens: seq=1 and batch=0 must be at least 1");
}

}  // namespace
}  // namespace troupe
