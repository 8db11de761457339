// Compiled plans under random timing: the same bits as on threads, whatever comes first.

#include <gtest/gtest.h>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "tests/walk/mlp.h"

namespace troupe {
namespace {

void expect_same(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  for (const auto& [name, value] : a.variables) EXPECT_TRUE(value == b.variables.at(name)) << name;
}

void expect_any_timing_gives_the_same(const Graph& graph, const Choices& choices, const Batches& batches, int seeds) {
  const Plan plan = compile(graph, choices, Profile()).plan;
  const Trained threads = run_plan(graph, plan, batches, 3, {.executors = 2});
  const int streams = static_cast<int>(plan.streams.size());
  for (int seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(testing::Message() << choices.mesh.str() << " shards " << choices.batch_shards << " seed " << seed);
    const int executors = 1 + seed % streams;
    expect_same(run_plan(graph, plan, batches, 3, {.executors = executors, .scrambled = static_cast<uint64_t>(seed)}),
                threads);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(ScrambledRun, AnyTimingOfAPerceptronGivesTheBitsOfThreads) {
  const MlpShape shape;
  for (const auto& [dp, tp, shards, pieces] :
       {std::tuple(1, 1, 2, 2), {4, 1, 4, 1}, {1, 4, 2, 1}, {2, 2, 8, 1}, {3, 2, 8, 2}, {5, 1, 8, 1}}) {
    const Choices choices = mlp_choices(dp, tp, shards, pieces);
    expect_any_timing_gives_the_same(mlp_graph(shape, rows_of_round(shape, choices)), choices, mlp_batches(shape), 12);
  }
}

TEST(ScrambledRun, AnyTimingOfAGptGivesTheBitsOfThreads) {
  GptShape shape{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 2};
  const int64_t batch = 8;
  for (const auto& [dp, tp, split] : {std::tuple(2, 2, true), {2, 2, false}, {1, 3, false}, {4, 1, false}}) {
    shape.rows = batch / 4 * dp;
    ModelBuilder model = gpt_model(shape);
    if (split) split_blocks(model, "tp");
    expect_any_timing_gives_the_same(model.graph, choices_on({{"dp", dp}, {"tp", tp}}, 4),
                                     {{"x", random_ids("x", {batch, shape.seq}, shape.vocab)},
                                      {"y", random_ids("y", {batch, shape.seq}, shape.vocab)}},
                                     6);
  }
}

TEST(ScrambledRun, AnyTimingOfAPipelineGivesTheBitsOfThreads) {
  GptShape shape{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 2};
  const int64_t batch = 8;
  for (const auto& [axes, schedule, zero] : {std::tuple(std::vector<Axis>{{"pp", 3}}, Schedule::one_f_one_b, false),
                                             {std::vector<Axis>{{"pp", 2}, {"tp", 2}}, Schedule::zero_bubble, false},
                                             {std::vector<Axis>{{"dp", 2}, {"pp", 2}}, Schedule::gpipe, true}}) {
    Choices choices = choices_on(axes, 4);
    cut_pipeline(choices, {"tok", "pos", "blocks.0", "blocks.1", "ln", "head"}, schedule);
    shape.rows = batch / 4 * choices.data_parallel_size();
    ModelBuilder model = gpt_model(shape);
    if (zero) model.zero("dp", choices, true);
    expect_any_timing_gives_the_same(model.graph, choices,
                                     {{"x", random_ids("x", {batch, shape.seq}, shape.vocab)},
                                      {"y", random_ids("y", {batch, shape.seq}, shape.vocab)}},
                                     6);
  }
}

// That the runs above find what they look for.
TEST(ScrambledRun, WithoutControlEdgesSomeTimingOverwritesWhatIsStillRead) {
  const MlpShape shape;
  const Choices choices = mlp_choices(2, 2, 8);
  const Graph graph = mlp_graph(shape, rows_of_round(shape, choices));
  Plan plan = compile(graph, choices, Profile()).plan;
  for (PlanTask& task : plan.tasks) {
    std::erase_if(task.inputs, [&](const PlanRead& read) { return plan.reg(read.reg).is_control(); });
    std::erase_if(task.outputs, [&](RegisterId reg) { return plan.reg(reg).is_control(); });
  }
  std::erase_if(plan.registers, [](const PlanRegister& reg) { return reg.is_control(); });  // they stand last
  const Trained threads = train_mlp(shape, choices, 3);
  bool found = false;
  for (uint64_t seed = 0; seed < 40 && !found; ++seed) {
    const std::optional<Trained> run =
        try_plan(graph, plan, mlp_batches(shape), 3, {.executors = 8, .scrambled = seed});
    found = !run || run->losses != threads.losses;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace troupe
