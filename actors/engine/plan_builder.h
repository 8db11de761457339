// Plans by hand, for tests, simulations and benchmarks: memory is dealt out one slot after another.
#pragma once

#include <string>
#include <vector>

#include "runtime/plan/plan.h"

namespace troupe {

class PlanBuilder {
 public:
  struct Register {
    std::string name;
    int64_t elements = 1;
    DType dtype = DType::i64;
    ArenaKind arena = ArenaKind::workspace;
    int32_t slots = 1;
    int32_t every = 1;
    int32_t initial = 0;
    bool control = false;
  };

  explicit PlanBuilder(std::string name = "test", int32_t rounds = 1);

  DeviceId device(const std::string& name);
  StreamId stream(DeviceId device, const std::string& name, bool runs_ahead = false);
  // A compute task that fires `firings` times per step (default: as often as there are rounds).
  TaskId task(StreamId stream, const std::string& name, const std::string& kernel, int32_t firings = -1);
  TaskId source(StreamId stream, const std::string& name, const std::string& source);
  // A register that the task writes. Place and bytes are settled by `finish`.
  RegisterId output(TaskId producer, const Register& reg);
  // One that no task writes.
  RegisterId constant(DeviceId device, const Register& reg);
  void read(TaskId reader, RegisterId reg, int32_t every = 1);
  // One slot each: b lies so many bytes behind the beginning of a.
  void share_bytes(RegisterId a, RegisterId b, int64_t offset = 0);
  void segment(StreamId stream, int32_t repeat, std::vector<TaskId> tasks);
  void variable(const std::string& name, RegisterId reg);
  void fetched(const std::string& name, RegisterId reg);

  PlanTask& at(TaskId task) { return plan_.tasks[task.index()]; }
  PlanRegister& at(RegisterId reg) { return plan_.registers[reg.index()]; }
  const Plan& draft() const { return plan_; }
  // Every stream without segments gets one per rate: tasks of the piece rate, `rounds` times, then the others.
  Plan finish();

 private:
  RegisterId add(DeviceId device, TaskId producer, const Register& reg);

  Plan plan_;
  struct Within {
    RegisterId whole;
    RegisterId part;
    int64_t offset;
  };
  std::vector<Within> shared_;
};

}  // namespace troupe
