#include "runtime/plan/print.h"

#include "runtime/base/text.h"

namespace troupe {
namespace {

std::string number(int64_t value) { return std::to_string(value); }

std::string quoted(const std::string& text) { return "'" + text + "'"; }

const char* name_of(ArenaKind arena) {
  switch (arena) {
    case ArenaKind::variables:
      return "variables";
    case ArenaKind::workspace:
      return "workspace";
    case ArenaKind::io:
      return "io";
  }
  return "?";
}

template <class Entries, class IdType>
std::string name_at(const Entries& entries, IdType id) {
  return id.valid() && id.index() < entries.size() ? entries[id.index()].name : "?";
}

std::string task_text(const Plan& plan, TaskId id) { return number(id.value) + " " + name_at(plan.tasks, id); }

std::string register_text(const Plan& plan, RegisterId id) {
  return name_at(plan.registers, id) + "#" + number(id.value);
}

bool is_control(const Plan& plan, RegisterId id) {
  return id.valid() && id.index() < plan.registers.size() && plan.registers[id.index()].is_control();
}

std::string device_text(const PlanDevice& device) {
  std::string text = device.name + ":";
  for (int i = 0; i < kArenaKinds; ++i) {
    text += std::string(i == 0 ? " " : ", ") + name_of(static_cast<ArenaKind>(i)) + " " + number(device.arena_bytes[i]);
  }
  return text;
}

std::string stream_text(const Plan& plan, const PlanStream& stream) {
  const std::string order = join(stream.segments, ", ", [&](const PlanSegment& segment) {
    return number(segment.repeat) + " x (" + join(segment.tasks, ", ", [&](TaskId id) { return task_text(plan, id); }) +
           ")";
  });
  return stream.name + ", device " + number(stream.device.value) + (stream.runs_ahead ? ", runs ahead" : "") + ": " +
         order;
}

std::string inputs_text(const Plan& plan, const PlanTask& task) {
  return join(task.inputs, ", ", [&](const PlanRead& read) {
    return (is_control(plan, read.reg) ? "after " : "") + register_text(plan, read.reg) +
           (read.every != 1 ? " every " + number(read.every) : "");
  });
}

std::string outputs_text(const Plan& plan, const PlanTask& task) {
  return join(task.outputs, ", ",
              [&](RegisterId id) { return (is_control(plan, id) ? "then " : "") + register_text(plan, id); });
}

std::string pieces_text(const PlanTask& task) {
  std::string text =
      "; shards " + number(task.first_shard) + ".." + number(int64_t{task.first_shard} + task.shards - 1);
  if (task.pieces_per_shard != 1) text += " of " + number(task.pieces_per_shard) + " pieces";
  return text;
}

std::string task_line(const Plan& plan, const PlanTask& task) {
  std::string text = task.name + ": ";
  if (!task.outputs.empty()) text += outputs_text(plan, task) + " = ";
  if (task.kind == TaskKind::source) text += "source ";
  text += task.kernel + "(" + inputs_text(plan, task) + ")";
  text += " on " + name_at(plan.devices, task.device) + " stream " + number(task.stream.value);
  if (task.firings_per_step != 1) text += "; " + number(task.firings_per_step) + " per step";
  if (task.shards != 0) text += pieces_text(task);
  if (!task.attrs.empty()) text += "; " + task.attrs.str();
  if (task.key != 0) text += "; key " + std::to_string(task.key);
  if (task.scratch_bytes != 0) {
    text += "; scratch " + number(task.scratch_bytes) + " bytes at " + number(task.scratch_offset);
  }
  if (task.predicted_s != 0) text += "; " + seconds_text(task.predicted_s);
  if (task.line.known()) text += " (" + task.line.str() + ")";
  return text;
}

std::string register_line(const Plan& plan, const PlanRegister& reg) {
  std::string text = reg.name + ": ";
  if (reg.is_control()) {
    text += "control, " + number(reg.slot_count) + (reg.slot_count == 1 ? " credit" : " credits");
  } else {
    text += type_text(reg.dtype, reg.shape) + " at [" + reg.offset.str() + "] of [" + reg.logical.str() + "], " +
            name_of(reg.arena) + " " + join(reg.slots, " ", number) + ", " + number(reg.bytes) + " bytes";
  }
  text += reg.producer.valid() ? "; by " + task_text(plan, reg.producer)
                               : "; never written, on " + name_at(plan.devices, reg.device);
  if (reg.every != 1) text += " every " + number(reg.every);
  if (reg.initial != 0) text += "; initial " + number(reg.initial);
  return text;
}

// A variable or an output: the same fields.
template <class Tensor>
std::string tensor_line(const Plan& plan, const Tensor& tensor) {
  return tensor.name + ": " + type_text(tensor.dtype, tensor.shape) + " = " +
         join(tensor.parts, ", ", [&](const PlanPart& part) {
           return register_text(plan, part.reg) + part.box.str() +
                  (part.piece >= 0 ? " of piece " + number(part.piece) : "");
         });
}

std::string traffic_line(const PlanTraffic& traffic) {
  return traffic.kind + " on " + traffic.axis + ": " + number(traffic.count) + " per step, " + number(traffic.bytes) +
         " bytes, " + number(traffic.messages) + " messages";
}

template <class Entries, class LineOf>
void print_list(std::string& text, const char* title, const Entries& entries, LineOf line_of) {
  text += std::string(title) + "\n";
  for (size_t i = 0; i < entries.size(); ++i) {
    text += "  " + std::to_string(i) + " " + line_of(entries[i]) + "\n";
  }
}

}  // namespace

std::string to_text(const Plan& plan) {
  std::string text = "plan " + quoted(plan.name) + ": epoch " + std::to_string(plan.epoch) + ", seed " +
                     std::to_string(plan.seed) + ", rounds " + number(plan.rounds) + "\n";
  print_list(text, "devices", plan.devices, device_text);
  print_list(text, "streams", plan.streams, [&](const auto& stream) { return stream_text(plan, stream); });
  print_list(text, "tasks", plan.tasks, [&](const auto& task) { return task_line(plan, task); });
  print_list(text, "registers", plan.registers, [&](const auto& reg) { return register_line(plan, reg); });
  text += "variables\n";
  for (const PlanVariable& variable : plan.variables) text += "  " + tensor_line(plan, variable) + "\n";
  text += "outputs\n";
  for (const PlanOutput& output : plan.outputs) text += "  " + tensor_line(plan, output) + "\n";
  text += "promise\n";
  for (const PlanTraffic& traffic : plan.promise.traffic) text += "  " + traffic_line(traffic) + "\n";
  if (plan.promise.step_s != 0 || !plan.promise.critical.empty()) {
    text += "  step " + seconds_text(plan.promise.step_s) + ": " + plan.promise.critical + "\n";
  }
  if (!plan.promise.peak.empty()) text += "  peak " + join(plan.promise.peak, ", ", number) + "\n";
  return text;
}

}  // namespace troupe
