// Reading a plan. The format is described in plan.capnp.
//
// Bytes that are not a plan of this version, or are damaged, are a FaultError that names the file, what was
// found and what was expected. What is read is well-formed, not yet sensible: validate.h checks that.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/plan/plan.h"

namespace troupe {

// `origin` stands for the bytes in errors: "plan file 'x'", "plan from driver".
Plan read_plan(std::span<const std::byte> bytes, const std::string& origin = "plan");
Plan read_plan_file(const std::string& path);

// What a task is, without its lists. The texts point into the mapped plan.
struct PlanTaskHead {
  std::string_view name;
  TaskKind kind = TaskKind::compute;
  std::string_view kernel;
  DeviceId device;
  StreamId stream;
  int32_t firings_per_step = 1;
  double predicted_s = 0;
};

// A plan in a file, mapped: one entry can be looked at without reading the others. Moved only. All reads are
// thread-safe and each stands alone. An id outside the plan is a bug of the caller. The file must not be cut
// short while it is mapped; write_plan never does that.
class MappedPlan {
 public:
  explicit MappedPlan(const std::string& path);
  ~MappedPlan();
  MappedPlan(MappedPlan&&) noexcept;
  MappedPlan& operator=(MappedPlan&&) noexcept;

  std::string_view name() const;
  uint64_t epoch() const;
  uint64_t seed() const;
  int32_t rounds() const;
  int64_t device_count() const;
  int64_t stream_count() const;
  int64_t register_count() const;
  int64_t task_count() const;

  PlanDevice device(DeviceId id) const;
  PlanStream stream(StreamId id) const;
  PlanRegister reg(RegisterId id) const;
  PlanTask task(TaskId id) const;
  PlanTaskHead task_head(TaskId id) const;
  // A copy of everything.
  Plan plan() const;

 private:
  struct Mapping;
  std::unique_ptr<const Mapping> mapping_;
};

}  // namespace troupe
