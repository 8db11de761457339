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

// Who comes after whom in a step, by data, control edges and streams.
class After {
 public:
  explicit After(const Plan& plan) : next_(plan.tasks.size()) {
    for (const PlanStream& stream : plan.streams) {
      TaskId before;
      for (const PlanSegment& segment : stream.segments) {
        for (TaskId task : segment.tasks) {
          if (before.valid()) next_[before.index()].push_back(task);
          before = task;
        }
      }
    }
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      for (const PlanRead& read : plan.tasks[t].inputs) {
        const PlanRegister& reg = plan.reg(read.reg);
        if (reg.initial == 0 && reg.producer.valid()) next_[reg.producer.index()].emplace_back(static_cast<int64_t>(t));
      }
    }
  }
  bool comes_after(TaskId task, TaskId first) const {
    std::vector<bool> met(next_.size(), false);
    std::vector<TaskId> open = {first};
    while (!open.empty()) {
      const TaskId at = open.back();
      open.pop_back();
      if (at == task) return true;
      for (TaskId next : next_[at.index()]) {
        if (!met[next.index()]) open.push_back(next);
        met[next.index()] = true;
      }
    }
    return false;
  }

 private:
  std::vector<std::vector<TaskId>> next_;
};

// The first register whose bytes another task of its device writes, later in the step, without waiting for all readers on
// other devices. Counts the slices of sums that it has looked at.
std::string overwritten_while_pulled(const Plan& plan, int* slices) {
  const After after(plan);
  const auto overlap = [&](const PlanRegister& a, const PlanRegister& b) {
    if (a.is_control() || b.is_control() || a.device != b.device || a.arena != b.arena || b.bytes == 0) return false;
    return a.slots.front() < b.slots.front() + b.bytes && b.slots.front() < a.slots.front() + a.bytes;
  };
  for (size_t r = 0; r < plan.registers.size(); ++r) {
    const PlanRegister& reg = plan.registers[r];
    const RegisterId id(static_cast<int64_t>(r));
    if (reg.is_control() || reg.arena != ArenaKind::workspace || !reg.producer.valid() || reg.bytes == 0) continue;
    std::vector<TaskId> pullers;
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      const auto reads = [&](const PlanRead& read) { return read.reg == id; };
      const bool pulls = plan.tasks[t].device != reg.device &&
                         std::any_of(plan.tasks[t].inputs.begin(), plan.tasks[t].inputs.end(), reads);
      if (pulls) pullers.emplace_back(static_cast<int64_t>(t));
    }
    if (pullers.empty()) continue;
    *slices += reg.name.ends_with(".slice");
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      const TaskId task(static_cast<int64_t>(t));
      const PlanTask& writer = plan.tasks[t];
      if (writer.device != reg.device || task == reg.producer || !after.comes_after(task, reg.producer)) continue;
      const bool completes = reg.name == writer.name + ".slice";  // the whole around a slice
      const auto writes = [&](RegisterId output) { return overlap(plan.reg(output), reg); };
      if (completes || std::none_of(writer.outputs.begin(), writer.outputs.end(), writes)) continue;
      for (TaskId puller : pullers) {
        if (!after.comes_after(task, puller)) return reg.name + " by " + writer.name;
      }
    }
  }
  return "";
}

TEST(Memory, NoSlotIsOverwrittenWhileOtherDevicesPullFromIt) {
  int slices = 0;
  for (int size : {3, 4}) {
    ModelBuilder mlp = mlp_model(3, 12 * size, 70);
    mlp.pin("", "dp", B);
    GptShape shape{.vocab = 13, .layers = 2, .dim = 48, .heads = 12, .seq = 32, .rows = 4};
    ModelBuilder gpt = gpt_model(shape);
    split_blocks(gpt, "tp");
    EXPECT_EQ(overwritten_while_pulled(compile(mlp.graph, choices_on({{"dp", size}}, size), Profile()).plan, &slices),
              "");
    EXPECT_EQ(overwritten_while_pulled(compile(gpt.graph, choices_on({{"tp", size}}), Profile()).plan, &slices), "");
    // A sum that is soon read, and much that is made after it without the other devices.
    Graph graph = summed_product(203, 33, 33);
    const auto sum = [&](ValueId x, const std::string& path) {
      return graph.add("reduce_sum", {x}, {{"dims", std::vector<int64_t>{0, 1}}, {"keep", int64_t{0}}}, path).front();
    };
    ValueId total = sum(graph.add("exp", {ValueId(2)}, {}, "e").front(), "t");
    const ValueId c = graph.variable("c", DType::f32, {203, 33});
    for (const char* path : {"u", "v"}) {
      total = graph.add("add", {total, sum(graph.add("exp", {c}, {}, path).front(), path)}, {}, path).front();
    }
    graph.output("total", total);
    EXPECT_EQ(overwritten_while_pulled(compile(graph, choices_on({{"tp", size}}), Profile()).plan, &slices), "");
  }
  EXPECT_GT(slices, 40);
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
