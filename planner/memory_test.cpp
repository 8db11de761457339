#include "planner/memory.h"

#include <gtest/gtest.h>

#include <map>

#include "planner/compile.h"
#include "planner/test_models.h"
#include "runtime/base/align.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

// The workspaces of all devices, with the register that wrote each block last.
class ShadowMemory {
 public:
  explicit ShadowMemory(const Plan& plan) : plan_(plan) {
    for (const PlanDevice& device : plan.devices) {
      blocks_.emplace_back(static_cast<size_t>(device.arena_bytes[static_cast<int>(ArenaKind::workspace)] / kBlock),
                           -1);
    }
  }

  // Two steps of one device, in the order of its stream. Returns the first register whose bytes are not its own any
  // more when a task of this device reads them.
  std::string run(const PlanStream& stream) {
    for (int step = 0; step < 2; ++step) {
      for (const PlanSegment& segment : stream.segments) {
        for (int repeat = 0; repeat < segment.repeat; ++repeat) {
          for (TaskId task : segment.tasks) {
            const std::string wrong = fire(plan_.task(task), repeat == 0);
            if (!wrong.empty()) return wrong;
          }
        }
      }
    }
    return "";
  }

 private:
  static constexpr int64_t kBlock = 64;

  std::string fire(const PlanTask& task, bool first) {
    for (const PlanRead& read : task.inputs) {
      const PlanRegister& reg = plan_.reg(read.reg);
      if (in_workspace(reg) && reg.device == task.device && !holds(read.reg)) return reg.name + " before " + task.name;
    }
    write(task.device, task.scratch_offset, task.scratch_bytes, -1);
    for (RegisterId output : task.outputs) {
      const PlanRegister& reg = plan_.reg(output);
      if (!in_workspace(reg)) continue;
      if (reg.every > 1 && !first && !holds(output)) return reg.name + " while it accumulates";
      write(reg.device, reg.slots.front(), reg.bytes, static_cast<int>(output.value));
    }
    return "";
  }

  static bool in_workspace(const PlanRegister& reg) { return !reg.is_control() && reg.arena == ArenaKind::workspace; }

  void write(DeviceId device, int64_t offset, int64_t bytes, int reg) {
    for (int64_t b = offset / kBlock; b < (offset + bytes + kBlock - 1) / kBlock; ++b) {
      blocks_[device.index()].at(static_cast<size_t>(b)) = reg;
    }
  }

  bool holds(RegisterId id) const {
    const PlanRegister& reg = plan_.reg(id);
    for (int64_t b = reg.slots.front() / kBlock; b < (reg.slots.front() + reg.bytes + kBlock - 1) / kBlock; ++b) {
      if (blocks_[reg.device.index()].at(static_cast<size_t>(b)) != id.value) return false;
    }
    return true;
  }

  const Plan& plan_;
  std::vector<std::vector<int>> blocks_;  // by device
};

void expect_nothing_overwritten(const Graph& graph, const Choices& choices) {
  const Plan plan = compile(graph, choices, Profile()).plan;
  for (const PlanStream& stream : plan.streams) EXPECT_EQ(ShadowMemory(plan).run(stream), "") << stream.name;
}

TEST(Memory, NoSlotIsOverwrittenWhileItIsStillRead) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const int dp = static_cast<int>(random.between(1, 3));
    const int tp = static_cast<int>(random.between(1, 3));
    const int shards = static_cast<int>(random.between(dp, 8));
    ModelBuilder model =
        mlp_model(static_cast<int>(random.between(1, 5)), dp * random.between(1, 5), random.between(1, 40));
    if (random.chance(0.5)) model.pin("", "dp", B);
    expect_nothing_overwritten(model.graph,
                               choices_on({{"dp", dp}, {"tp", tp}}, shards, static_cast<int>(random.between(1, 2))));
  }
  GptShape shape{.vocab = 13, .layers = 2, .dim = 16, .heads = 4, .seq = 6, .rows = 4};
  for (int tp : {1, 2, 3}) expect_nothing_overwritten(gpt_model(shape).graph, choices_on({{"dp", 2}, {"tp", tp}}, 8));
}

int64_t offset_of(const Plan& plan, const std::string& name) {
  for (const PlanRegister& reg : plan.registers) {
    if (reg.name == name) return reg.slots.front();
  }
  ADD_FAILURE() << name;
  return -1;
}

TEST(Memory, AnOutputTakesOverAnInputThatNobodyReadsLater) {
  Graph graph;
  graph.set_role(Role::update);
  const ValueId x = graph.variable("x", DType::f32, {64});
  const ValueId a = graph.add("exp", {x}, {}, "a").front();
  const ValueId b = graph.add("exp", {a}, {}, "b").front();
  const ValueId c = graph.add("exp", {b}, {}, "c").front();
  graph.output("sum", graph.add("add", {b, c}, {}, "d").front());
  const Plan plan = compile(graph, choices_on({{"one", 1}}), Profile()).plan;
  EXPECT_EQ(offset_of(plan, "a.exp"), offset_of(plan, "b.exp"));
  EXPECT_NE(offset_of(plan, "b.exp"), offset_of(plan, "c.exp"));  // b is read again
  EXPECT_EQ(plan.devices.front().arena_bytes[static_cast<int>(ArenaKind::workspace)], 512);
  EXPECT_EQ(plan.promise.peak, std::vector<int64_t>{512});
}

TEST(Memory, ASliceOfASumLiesWhereItBelongsInTheWhole) {
  // 6,699 elements: slices differ, by whole cache lines.
  const Plan plan = compile(summed_product(203, 33, 33), choices_on({{"tp", 4}}), Profile()).plan;
  std::map<std::pair<std::string, int64_t>, PlanRegister> at;
  for (const PlanRegister& reg : plan.registers) at[{reg.name, reg.device.value}] = reg;
  int64_t end = 0;
  for (int64_t d = 0; d < 4; ++d) {
    const PlanRegister& slice = at.at({"y.matmul@1.slice", d});
    const PlanRegister& whole = at.at({"y.matmul@1", d});
    EXPECT_EQ(slice.slots.front(), whole.slots.front() + 4 * slice.offset[0]);
    EXPECT_EQ(slice.offset[0], end);
    EXPECT_EQ(slice.offset[0] % 16, 0);
    end += slice.shape[0];
  }
  EXPECT_EQ(end, 203 * 33);
  // The parts that are added, and the sum.
  EXPECT_LE(plan.devices.front().arena_bytes[static_cast<int>(ArenaKind::workspace)], 2 * aligned(4 * 203 * 33) + 1024);
}

TEST(Memory, TooLittleIsRefusedWithThePeakAndItsTensors) {
  Choices choices = choices_on({{"tp", 2}});
  choices.memory_bytes = 300 << 10;
  try {
    compile(mlp_model(2, 64, 256).graph, choices, Profile());
    FAIL() << "compiled";
  } catch (const PlanError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find("plan 'train' needs "), 0u) << text;
    EXPECT_NE(text.find(" on cpu:0 at its peak ("), std::string::npos) << text;
    EXPECT_NE(text.find("but the mesh has memory=300.0 KiB per device; the least that would do is memory=1349312; the "
                        "largest tensors at the peak: "),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("optimizer.m.layers.0.weight f32[128,256] 128.0 KiB"), std::string::npos) << text;
  }
  choices.memory_bytes = 8 << 20;
  EXPECT_NO_THROW(compile(mlp_model(2, 64, 256).graph, choices, Profile()));
}

TEST(Memory, PlansOfAnEpochAgreeOnWhereVariablesLie) {
  const Choices choices = choices_on({{"tp", 2}});
  const Compiled train = compile(mlp_model(2, 8, 16).graph, choices, Profile());
  Graph graph;
  graph.output("w", graph.add("exp", {graph.variable("layers.1.weight", DType::f32, {16, 16})}, {}, "e").front());
  graph.variable("more", DType::f32, {16});
  Choices later = choices;
  later.variables = train.variables;
  later.variables_end = train.variables_end;
  const Compiled evaluate = compile(graph, later, Profile());
  EXPECT_EQ(offset_of(evaluate.plan, "layers.1.weight"), offset_of(train.plan, "layers.1.weight"));
  EXPECT_GE(offset_of(evaluate.plan, "more"), train.variables_end.front());
}

}  // namespace
}  // namespace troupe
