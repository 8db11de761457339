// What plans say of time, held against runs: the order of firings, and the step time that slots allow.

#include <gtest/gtest.h>

#include <map>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/text.h"
#include "tests/walk/training.h"

namespace troupe {
namespace {

constexpr int kPieces = 12;

Profile products_only() {
  Profile profile;
  profile.memory_bytes_per_s = 1e30;
  profile.firing_s = 0;
  return profile;
}

struct Model {
  Graph graph;
  Choices choices;
  Batches batches;
};

// Equal layers, so many in each chunk.
Model staged_mlp(const std::vector<int>& layers_of_chunk, Schedule schedule, int send_slots) {
  Model model;
  const int chunks = static_cast<int>(layers_of_chunk.size());
  const int stages = schedule == Schedule::interleaved ? chunks / 2 : chunks;
  model.choices = choices_on({{"pp", stages}}, kPieces);
  for (Link& link : model.choices.topology.links) link = {1e30, 0};
  model.choices.cut_stages("pp");
  Pipeline& pipeline = model.choices.pipeline;
  pipeline.schedule = schedule;
  pipeline.chunks = chunks;
  pipeline.send_slots = send_slots;
  int layer = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    for (int i = 0; i < layers_of_chunk[static_cast<size_t>(chunk)]; ++i) {
      pipeline.chunk_of["layers." + std::to_string(layer++)] = chunk;
    }
  }
  model.graph = mlp_model(layer, 2, 16).graph;
  model.batches = {{"x", random_numbers("x", {2 * kPieces, 16})}};
  return model;
}

struct Timed {
  Compiled compiled;
  double step_s = 0;
};

// The time between the ends of steps, once they follow one another evenly.
Timed timed(const Model& model) {
  Timed result{compile(model.graph, model.choices, products_only()), 0};
  const auto ends = [&](int steps) {
    return run_plan(model.graph, result.compiled.plan, model.batches, steps, {.as_predicted = true}).simulated_s;
  };
  result.step_s = (ends(5) - ends(3)) / 2;
  return result;
}

TEST(Timing, SimulatedPipelinesOfUnequalStagesTakeWhatTheirPlansSayAndMoreSlotsBuyNothing) {
  int with_several_slots = 0;
  for (const std::vector<int>& layers : {std::vector<int>{2, 2, 2, 2}, {4, 1, 2, 1}, {1, 1, 1, 1, 9, 1, 1, 1}}) {
    for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble, Schedule::interleaved}) {
      SCOPED_TRACE(testing::Message() << "layers " << join(layers, ", ", [](int n) { return std::to_string(n); })
                                      << ", " << name_of(schedule));
      const Timed chosen = timed(staged_mlp(layers, schedule, 0));
      EXPECT_NEAR(chosen.step_s, chosen.compiled.summary.cycle_s, 1e-6 * chosen.step_s);
      const int slots = chosen.compiled.summary.send_slots;
      EXPECT_NEAR(timed(staged_mlp(layers, schedule, slots + 3)).step_s, chosen.step_s, 1e-6 * chosen.step_s);
      if (slots == 1) continue;
      ++with_several_slots;
      EXPECT_GT(timed(staged_mlp(layers, schedule, slots - 1)).step_s, chosen.step_s * (1 + 1e-6));
    }
  }
  EXPECT_GT(with_several_slots, 0);
}

// By stream: what fired, in order of time.
std::map<StreamId, std::vector<TaskId>> fired(const Plan& plan, const std::vector<TracedFiring>& trace) {
  std::map<StreamId, std::vector<TaskId>> order;
  for (const TracedFiring& firing : trace) order[plan.task(firing.task).stream].push_back(firing.task);
  return order;
}

std::vector<TaskId> planned(const PlanStream& stream) {
  std::vector<TaskId> order;
  for (const PlanSegment& segment : stream.segments) {
    for (int i = 0; i < segment.repeat; ++i) order.insert(order.end(), segment.tasks.begin(), segment.tasks.end());
  }
  return order;
}

TEST(Timing, ThreadsFireInThePlannedOrder) {
  for (Schedule schedule : {Schedule::gpipe, Schedule::one_f_one_b, Schedule::zero_bubble}) {
    const Model model = staged_mlp({1, 3, 2}, schedule, 0);
    const Plan plan = compile(model.graph, model.choices, Profile()).plan;
    const Trained run = run_plan(model.graph, plan, model.batches, 1, {.executors = 2, .trace = true});
    std::map<StreamId, std::vector<TaskId>> order = fired(plan, run.trace);
    for (size_t s = 0; s < plan.streams.size(); ++s) {
      if (plan.streams[s].runs_ahead) continue;  // reads on for the next step
      EXPECT_EQ(order[StreamId(static_cast<int64_t>(s))], planned(plan.streams[s])) << plan.streams[s].name;
    }
  }
}

}  // namespace
}  // namespace troupe
