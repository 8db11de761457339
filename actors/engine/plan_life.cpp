#include "actors/engine/plan_life.h"

#include "runtime/base/check.h"

namespace troupe {

int64_t PlanLife::versions_after(RegisterId id, int64_t steps) const {
  const PlanRegister& reg = plan_->reg(id);
  if (!reg.producer.valid()) return reg.initial;
  return reg.initial + steps * (plan_->task(reg.producer).firings_per_step / reg.every);
}

size_t PlanLife::newest_slot(RegisterId id) const {
  const int64_t versions = versions_after(id, next_step - first_step);
  return versions == 0 ? 0 : static_cast<size_t>((versions - 1) % plan_->reg(id).slot_count);
}

size_t PlanLife::slot_of(const PlanPart& part) const {
  const PlanRegister& reg = plan_->reg(part.reg);
  if (part.piece < 0 || !reg.producer.valid() || next_step == first_step) return newest_slot(part.reg);
  const PlanTask& task = plan_->task(reg.producer);
  const int32_t firing = task.shards == 0 ? part.piece : part.piece - task.first_shard * task.pieces_per_shard;
  CHECK(firing >= 0 && firing < task.firings_per_step, reg.name, part.piece);
  const int64_t version = versions_after(part.reg, next_step - first_step - 1) + firing / reg.every;
  CHECK(versions_after(part.reg, next_step - first_step) - version <= reg.slot_count, reg.name, "overwritten");
  return static_cast<size_t>(version % reg.slot_count);
}

}  // namespace troupe
