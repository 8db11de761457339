// What the planner promises about live slots, against what the engine counts.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/mlp.h"

namespace troupe {
namespace {

struct Peaks {
  std::vector<int64_t> promised;
  std::vector<int64_t> counted;
};

Peaks peaks_of(const Graph& graph, const Choices& choices, const Batches& batches, HowToRun how) {
  const Plan plan = compile(graph, choices, Profile()).plan;
  how.count_live_bytes = true;
  return {plan.promise.peak, run_plan(graph, plan, batches, 4, how).peak_bytes};
}

Batches gpt_batches(const GptShape& shape, int64_t batch) {
  return {{"x", random_ids("x", {batch, shape.seq}, shape.vocab)},
          {"y", random_ids("y", {batch, shape.seq}, shape.vocab)}};
}

TEST(Peak, OfOneDeviceIsWhatTheEngineCounts) {
  const MlpShape shape;
  for (const auto& [shards, pieces] : {std::pair(1, 1), {2, 1}, {1, 2}, {4, 1}, {4, 2}}) {
    const Choices choices = mlp_choices(1, 1, shards, pieces);
    const Peaks peaks = peaks_of(mlp_graph(shape, rows_of_round(shape, choices)), choices, mlp_batches(shape), {});
    EXPECT_EQ(peaks.promised, peaks.counted) << shards << " shards of " << pieces;
    EXPECT_GT(peaks.promised.front(), 0);
  }
  GptShape gpt{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 2};
  for (int shards : {1, 2, 4}) {
    gpt.rows = 8 / shards;
    const Peaks peaks = peaks_of(gpt_model(gpt).graph, choices_on({{"dp", 1}}, shards), gpt_batches(gpt, 8), {});
    EXPECT_EQ(peaks.promised, peaks.counted) << shards << " shards of a gpt";
  }
}

TEST(Peak, OfSeveralDevicesIsWhatTheEngineCountsUnderAnyTiming) {
  GptShape gpt{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 2};
  for (const auto& [dp, tp, shards] : {std::tuple(2, 2, 4), {1, 3, 2}, {3, 1, 4}}) {
    gpt.rows = 8 / shards * dp;
    for (int seed = -1; seed < 6; ++seed) {
      HowToRun how{.executors = 2};
      if (seed >= 0) how.scrambled = static_cast<uint64_t>(seed);
      const Peaks peaks =
          peaks_of(gpt_model(gpt).graph, choices_on({{"dp", dp}, {"tp", tp}}, shards), gpt_batches(gpt, 8), how);
      ASSERT_EQ(peaks.promised.size(), static_cast<size_t>(dp * tp));
      for (size_t d = 0; d < peaks.promised.size(); ++d) {
        EXPECT_EQ(peaks.counted[d], peaks.promised[d]) << "device " << d << ", seed " << seed;
      }
    }
  }
}

TEST(Arenas, NobodyWritesOutsideOfWhatThePlanGaveOut) {
  // Sizes that leave gaps behind nearly every tensor.
  GptShape gpt{.vocab = 13, .layers = 2, .dim = 20, .heads = 4, .seq = 7, .rows = 2};
  for (const auto& [dp, tp, shards] : {std::tuple(1, 1, 2), {2, 2, 4}, {1, 3, 2}, {3, 1, 4}}) {
    SCOPED_TRACE(testing::Message() << "dp=" << dp << " tp=" << tp);
    gpt.rows = 8 / shards * dp;
    const Trained run = train(gpt_model(gpt).graph, choices_on({{"dp", dp}, {"tp", tp}}, shards), gpt_batches(gpt, 8),
                              3, {.executors = 2, .watch_gaps = true});
    EXPECT_GT(run.gap_bytes, 1000);
    EXPECT_EQ(run.written_gap, "");
  }
}

}  // namespace
}  // namespace troupe
