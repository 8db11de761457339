#include <cmath>
#include <set>

#include "runtime/base/text.h"
#include "runtime/plan/flaw.h"

namespace troupe::plan_checks {
namespace {

// The slot of a part that belongs to one piece: the piece is one of the producer's, and the step does not
// write the slot again.
template <class Where>
void check_piece(const Plan& plan, const Where& where, const PlanPart& part) {
  const PlanRegister& reg = plan.reg(part.reg);
  const auto place = place_in("register", plan.registers, part.reg.index());
  require(part.piece >= -1, where, [&] { return "a part is of piece " + number(part.piece); });
  if (part.piece < 0 || !reg.producer.valid()) return;
  const PlanTask& task = plan.task(reg.producer);
  const int64_t first = task.shards == 0 ? 0 : int64_t{task.first_shard} * task.pieces_per_shard;
  const int64_t pieces = task.shards == 0 ? task.firings_per_step : int64_t{task.shards} * task.pieces_per_shard;
  require(part.piece >= first && part.piece < first + pieces, where, [&] {
    return "a part is of piece " + number(part.piece) + " of the step's batch; " + place() + " holds pieces " +
           number(first) + " to " + number(first + pieces - 1);
  });
  const int64_t version = (part.piece - first) / reg.every;
  const int64_t versions = task.firings_per_step / reg.every;
  require(versions - version <= reg.slot_count, where, [&] {
    return "piece " + number(part.piece) + " is overwritten within the step: " + place() + " has " +
           number(reg.slot_count) + " slots for " + number(versions) + " versions";
  });
}

// What variables and outputs have in common.
template <class Tensors, class CheckPart>
void check_list(const Plan& plan, const char* kind, const Tensors& tensors, const CheckPart& check_part) {
  std::set<std::string> names;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto& tensor = tensors[i];
    const auto where = place_in(kind, tensors, i);
    require_enum(tensor.dtype, kLastDType, where, "dtype");
    require(names.insert(tensor.name).second, where, [&] { return "another has the same name"; });
    require(bytes_of(tensor.dtype, tensor.shape).has_value(), where,
            [&] { return "its shape [" + tensor.shape.str() + "] is not possible"; });
    for (const PlanPart& part : tensor.parts) {
      require_id(part.reg, plan.registers, where, "register");
      const PlanRegister& reg = plan.reg(part.reg);
      const auto place = place_in("register", plan.registers, part.reg.index());
      require(!reg.is_control(), where, [&] { return place() + " is a control edge"; });
      require(reg.dtype == tensor.dtype, where, [&] {
        return "it is " + std::string(name_of(tensor.dtype)) + ", " + place() + " is " +
               std::string(name_of(reg.dtype));
      });
      require(box_within(part.box.offset, part.box.extent, tensor.shape), where, [&] {
        return "its part " + box_text(part.box.offset, part.box.extent) + " is not inside [" + tensor.shape.str() + "]";
      });
      require(part.box.extent == reg.shape, where, [&] {
        return "its part has shape [" + part.box.extent.str() + "], " + place() + " has [" + reg.shape.str() + "]";
      });
      check_piece(plan, where, part);
      check_part(where, tensor, part);
    }
  }
}

template <class Where>
void check_variable_part(const Plan& plan, const Where& where, const PlanVariable& variable, const PlanPart& part) {
  const PlanRegister& reg = plan.reg(part.reg);
  const auto place = place_in("register", plan.registers, part.reg.index());
  require(reg.arena == ArenaKind::variables, where, [&] { return place() + " is not in the variables' arena"; });
  require(reg.initial >= 1, where, [&] { return place() + " starts empty"; });
  require(reg.logical == variable.shape && reg.offset == part.box.offset, where, [&] {
    return "its part " + box_text(part.box.offset, part.box.extent) + " of [" + variable.shape.str() + "] is " +
           box_text(reg.offset, reg.shape) + " of [" + reg.logical.str() + "] in " + place();
  });
}

// The parts hold the output once. Counting elements finds what is missing or doubled, except in equal
// amounts.
void check_output_is_whole(const Plan& plan, size_t i) {
  const PlanOutput& output = plan.outputs[i];
  const int64_t whole = output.shape.elements();
  int64_t held = 0;
  for (const PlanPart& part : output.parts) {
    const int64_t elements = part.box.elements();  // at most `whole`: the box is inside
    held = elements > whole - held ? -1 : held + elements;
    require(held >= 0, place_in("output", plan.outputs, i), [] { return "its parts hold some of it twice"; });
  }
  require(held == whole, place_in("output", plan.outputs, i),
          [&] { return "its parts hold " + number(held) + " of " + number(whole) + " elements"; });
}

}  // namespace

void check_tensors(const Plan& plan) {
  check_list(plan, "variable", plan.variables, [&](const auto& where, const auto& variable, const PlanPart& part) {
    check_variable_part(plan, where, variable, part);
  });
  check_list(plan, "output", plan.outputs, [](const auto&, const auto&, const PlanPart&) {});
  for (size_t i = 0; i < plan.outputs.size(); ++i) check_output_is_whole(plan, i);
}

void check_promise(const Plan& plan) {
  const PlanPromise& promise = plan.promise;
  const auto where = [] { return std::string("promise"); };
  require(std::isfinite(promise.step_s) && promise.step_s >= 0, where,
          [&] { return "the step takes " + number_text(promise.step_s) + " s"; });
  require(promise.peak.empty() || promise.peak.size() == plan.devices.size(), where, [&] {
    return "peaks of " + std::to_string(promise.peak.size()) + " devices; there are " +
           std::to_string(plan.devices.size());
  });
  require(std::all_of(promise.peak.begin(), promise.peak.end(), [](int64_t bytes) { return bytes >= 0; }), where,
          [] { return "a peak is negative"; });
  for (const PlanTraffic& traffic : promise.traffic) {
    require(traffic.count >= 0 && traffic.bytes >= 0 && traffic.messages >= 0, where,
            [&] { return "the traffic of " + traffic.kind + " is negative"; });
  }
}

}  // namespace troupe::plan_checks
