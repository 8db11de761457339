#include "planner/certify.h"

#include <gtest/gtest.h>

#include <functional>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

TimedGraph random_graph(Random& random) {
  TimedGraph graph;
  const int vertices = static_cast<int>(random.between(1, 6));
  for (int v = 0; v < vertices; ++v) graph.seconds.push_back(random.uniform());
  for (int64_t e = random.between(0, 12); e > 0; --e) {
    graph.edges.push_back({static_cast<int>(random.below(vertices)), static_cast<int>(random.below(vertices)),
                           static_cast<int>(random.below(3))});
  }
  return graph;
}

// Every simple cycle, from its smallest vertex on.
void each_cycle(const TimedGraph& graph, const std::function<void(double seconds, int tokens)>& visit) {
  std::vector<bool> on_path(graph.seconds.size(), false);
  std::function<void(int, int, double, int)> extend = [&](int start, int at, double seconds, int tokens) {
    on_path[static_cast<size_t>(at)] = true;
    for (const TimedGraph::Edge& edge : graph.edges) {
      if (edge.from != at) continue;
      if (edge.to == start) visit(seconds + graph.seconds[static_cast<size_t>(at)], tokens + edge.tokens);
      if (edge.to > start && !on_path[static_cast<size_t>(edge.to)]) {
        extend(start, edge.to, seconds + graph.seconds[static_cast<size_t>(at)], tokens + edge.tokens);
      }
    }
    on_path[static_cast<size_t>(at)] = false;
  };
  for (size_t v = 0; v < graph.seconds.size(); ++v) extend(static_cast<int>(v), static_cast<int>(v), 0, 0);
}

TEST(CycleRatio, IsThatOfTheWorstOfAllSimpleCycles) {
  int live = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const TimedGraph graph = random_graph(random);
    bool stuck = false;
    double worst = 0;
    each_cycle(graph, [&](double seconds, int tokens) {
      stuck |= tokens == 0;
      if (tokens > 0) worst = std::max(worst, seconds / tokens);
    });
    ASSERT_EQ(!tokenless_cycle(graph).empty(), stuck);
    if (stuck) continue;
    ++live;
    const CycleRatio ratio = max_cycle_ratio(graph);
    ASSERT_NEAR(ratio.seconds, worst, 1e-9);
    ASSERT_EQ(ratio.cycle.empty(), worst == 0);
  }
  EXPECT_GT(live, 500);
}

TEST(CycleRatio, NamesACycleWithoutTokens) {
  EXPECT_EQ(tokenless_cycle({{1, 1, 1, 1}, {{0, 1, 0}, {1, 2, 0}, {2, 3, 0}, {3, 1, 0}, {2, 0, 1}}}),
            (std::vector<int>{1, 2, 3}));
}

// cpu:0 makes x, which cpu:1 reads to make y, which cpu:0 reads in the same step.
Plan ping_pong() {
  Plan plan;
  plan.name = "ping pong";
  plan.devices = {{"cpu:0", {0, 256, 0}}, {"cpu:1", {0, 256, 0}}};
  const auto add_register = [&](const char* name, int task, int device) {
    PlanRegister reg;
    reg.name = name;
    reg.producer = TaskId(task);
    reg.device = DeviceId(device);
    reg.slots = {0};
    plan.registers.push_back(reg);
  };
  add_register("x", 0, 0);
  add_register("y", 1, 1);
  const auto add_task = [&](const char* name, int device, std::vector<PlanRead> inputs,
                            std::vector<RegisterId> outputs) {
    PlanTask task;
    task.name = name;
    task.device = DeviceId(device);
    task.stream = StreamId(device);
    task.inputs = std::move(inputs);
    task.outputs = std::move(outputs);
    task.predicted_s = 1;
    plan.tasks.push_back(task);
  };
  add_task("make", 0, {}, {RegisterId(0)});
  add_task("answer", 1, {{RegisterId(0), 1}}, {RegisterId(1)});
  add_task("read", 0, {{RegisterId(1), 1}}, {});
  plan.streams = {{"cpu:0 compute", DeviceId(0), false, {{1, {TaskId(0), TaskId(2)}}}},
                  {"cpu:1 compute", DeviceId(1), false, {{1, {TaskId(1)}}}}};
  return plan;
}

std::string error_of(const Plan& plan) {
  try {
    certify(plan, unroll(plan), 0);
  } catch (const PlanError& error) {
    return error.what();
  }
  return "none";
}

TEST(Certify, PredictsTheStepThatNoRunCanBeat) {
  const Certificate certificate = certify(ping_pong(), unroll(ping_pong()), 0);
  EXPECT_DOUBLE_EQ(certificate.step_s, 3);
  EXPECT_EQ(certificate.critical, "a cycle of 3 actors, most time in make on cpu:0, answer on cpu:1, read on cpu:0");
}

TEST(Certify, ASecondSlotLetsStepsOverlap) {
  Plan plan = ping_pong();
  plan.streams[0].segments[0].tasks.pop_back();  // `read` on a stream of its own
  plan.streams.push_back({"cpu:0 late", DeviceId(0), false, {{1, {TaskId(2)}}}});
  plan.tasks[2].stream = StreamId(2);
  EXPECT_DOUBLE_EQ(certify(plan, unroll(plan), 0).step_s, 2);  // a slot's writer and its reader take turns
  for (PlanRegister& reg : plan.registers) reg.slot_count = 2;
  EXPECT_DOUBLE_EQ(certify(plan, unroll(plan), 0).step_s, 1);
}

TEST(Certify, CoresThatDevicesShareBoundTheStepToo) {
  const Certificate certificate = certify(ping_pong(), unroll(ping_pong()), 1);
  EXPECT_DOUBLE_EQ(certificate.step_s, 3);
  EXPECT_EQ(certify(ping_pong(), unroll(ping_pong()), 2).critical.find("the work of"), std::string::npos);
}

TEST(Certify, RefusesAnOrderThatWaitsForItself) {
  Plan plan = ping_pong();
  std::swap(plan.streams[0].segments[0].tasks[0], plan.streams[0].segments[0].tasks[1]);
  EXPECT_EQ(
      error_of(plan),
      "plan 'ping pong' would hang: make on cpu:0 (firing 0) -> answer on cpu:1 (firing 0) -> read on cpu:0 (firing 0) "
      "-> back to the first wait for one another and hold no token");
}

bool read_by_others(const Plan& plan, const PlanRegister& reg) {
  return std::any_of(plan.tasks.begin(), plan.tasks.end(), [&](const PlanTask& task) {
    return &task != &plan.task(reg.producer) &&
           std::any_of(task.inputs.begin(), task.inputs.end(),
                       [&](const PlanRead& read) { return &plan.reg(read.reg) == &reg; });
  });
}

TEST(Certify, RefusesAPlanWithAMissingToken) {
  ModelBuilder model = mlp_model(4, 16, 32);
  model.megatron("tp", {"layers.0", "layers.2"}, {"layers.1", "layers.3"});
  Plan plan = compile(model.graph, choices_on({{"dp", 2}, {"tp", 2}}, 8), Profile()).plan;
  EXPECT_EQ(error_of(plan), "none");
  int controls = 0;
  int variables = 0;
  for (PlanRegister& reg : plan.registers) {
    if (reg.initial == 0 || !reg.producer.valid() || !read_by_others(plan, reg)) continue;
    reg.initial = 0;
    const std::string error = error_of(plan);
    reg.initial = 1;
    ++(reg.is_control() ? controls : variables);
    EXPECT_EQ(error.find("plan 'train' would hang: "), 0u) << reg.name;
    EXPECT_NE(error.find(plan.task(reg.producer).name + " on "), std::string::npos) << reg.name << ": " << error;
  }
  EXPECT_GT(controls, 0);
  EXPECT_GT(variables, 0);
}

// All three rounds are made before the first answer is read: together the slots must hold what is under way.
TEST(Certify, RefusesAPlanWithAMissingCredit) {
  Plan plan = ping_pong();
  plan.rounds = 3;
  for (PlanTask& task : plan.tasks) task.firings_per_step = 3;
  plan.streams[0].segments = {{3, {TaskId(0)}}, {3, {TaskId(2)}}};
  plan.streams[1].segments = {{3, {TaskId(1)}}};
  plan.registers[0].slot_count = 2;
  EXPECT_EQ(error_of(plan), "none");
  plan.registers[0].slot_count = 1;
  EXPECT_EQ(
      error_of(plan),
      "plan 'ping pong' would hang: make on cpu:0 (firing 2) -> read on cpu:0 (firing 0) -> answer on cpu:1 (firing 1) "
      "-> back to the first wait for one another and hold no token");
}

TEST(Certify, TrafficIsThatOfARingForLargeTensors) {
  ModelBuilder model = mlp_model(1, 16, 128);
  model.pin("", "dp", B);
  const std::vector<PlanTraffic> traffic =
      compile(model.graph, choices_on({{"dp", 4}}), Profile()).plan.promise.traffic;
  ASSERT_EQ(traffic.size(), 1u);
  const int64_t ring = 128 * 128 * 4;
  const int64_t small = (128 + 1) * 4;  // bias, loss: in one hop, from everyone to everyone
  EXPECT_EQ(traffic[0], (PlanTraffic{"all_reduce", "dp", 1, 2 * ring * 3 + 4 * small * 3, 2 * 4 * 3 + 2 * 4 * 3}));
}

// What is said of one device of each class is what is said of all of them.
TEST(Certify, OneDevicePerClassStandsForTheOthers) {
  Profile profile;
  profile.cores = 0;
  for (const std::vector<Axis>& axes :
       {std::vector<Axis>{{"dp", 4}, {"tp", 2}}, {{"dp", 2}, {"pp", 2}, {"tp", 2}}, {{"dp", 8}}}) {
    Choices choices = choices_on(axes, 16);
    if (choices.mesh.find_axis("pp") >= 0) {
      cut_pipeline(choices, {"tok", "pos", "blocks.0", "blocks.1", "ln", "head"}, Schedule::one_f_one_b);
    }
    ModelBuilder model =
        gpt_model({.vocab = 64, .layers = 2, .dim = 64, .heads = 4, .seq = 16, .rows = choices.data_parallel_size()});
    if (choices.mesh.find_axis("tp") >= 0) split_blocks(model, "tp");
    model.zero("dp", choices, true);
    const Compiled all = compile(model.graph, choices, profile);
    choices.one_per_class = true;
    const Compiled one = compile(model.graph, choices, profile);
    SCOPED_TRACE(choices.mesh.str());
    EXPECT_EQ(one.plan.streams.size() * static_cast<size_t>(choices.mesh.size()), all.plan.streams.size());
    EXPECT_NEAR(one.summary.cycle_s, all.summary.cycle_s, all.summary.cycle_s * 1e-6);
    EXPECT_EQ(one.summary.memory, all.summary.memory);
    EXPECT_EQ(one.plan.promise.traffic, all.plan.promise.traffic);
  }
}

}  // namespace
}  // namespace troupe
