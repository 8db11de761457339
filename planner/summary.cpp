#include "planner/summary.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/align.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

std::string padded(std::string text, size_t width) {
  if (text.size() < width) text.resize(width, ' ');
  return text;
}

std::string traffic_table(const std::vector<PlanTraffic>& traffic) {
  if (traffic.empty()) return "  no collectives\n";
  std::string text = "  " + padded("collective", 16) + padded("axis", 8) + padded("per step", 10) + "bytes per step\n";
  for (const PlanTraffic& row : traffic) {
    text += "  " + padded(row.kind, 16) + padded(row.axis, 8) + padded(std::to_string(row.count), 10) +
            bytes_text(row.bytes) + "\n";
  }
  return text;
}

std::string links_text(const std::array<int64_t, kLinkKinds>& bytes) {
  std::vector<std::string> texts;
  for (int kind = 0; kind < kLinkKinds; ++kind) {
    const int64_t over = bytes[static_cast<size_t>(kind)];
    if (over > 0) texts.push_back(std::string(name_of(static_cast<LinkKind>(kind))) + " " + bytes_text(over));
  }
  return texts.empty() ? "" : "  links: " + join(texts, ", ", [](const std::string& text) { return text; }) + "\n";
}

// Devices that are alike share one line.
std::string memory_table(const std::vector<MemoryByKind>& memory, const std::vector<PlanDevice>& devices) {
  std::string text = "  " + padded("devices", 24) + padded("parameters", 13) + padded("optimizer", 13) +
                     padded("activations", 13) + padded("gradients", 13) + padded("data", 13) + "peak\n";
  for (size_t d = 0; d < memory.size(); ++d) {
    const MemoryByKind& row = memory[d];
    const auto first = std::find(memory.begin(), memory.end(), row);
    if (first != memory.begin() + static_cast<ptrdiff_t>(d)) continue;
    const auto alike = std::count(first, memory.end(), row);
    text += "  " + padded(devices[d].name + (alike > 1 ? " and " + std::to_string(alike - 1) + " more" : ""), 24);
    for (int64_t bytes : {row.parameters, row.optimizer, row.activations, row.gradients, row.io}) {
      text += padded(bytes_text(bytes), 13);
    }
    text += bytes_text(row.total()) + "\n";
  }
  return text;
}

std::string pipeline_text(const Choices& choices) {
  const Pipeline& pipeline = choices.pipeline;
  if (!pipeline.is_cut()) return "";
  std::string text = " in each of " + std::to_string(pipeline.stage_count()) + " stages (" + name_of(pipeline.schedule);
  if (pipeline.chunks > pipeline.stage_count()) text += ", " + std::to_string(pipeline.chunks) + " chunks";
  return text + ")";
}

// Accumulators and what the update makes of them, at the time when the workspace is fullest.
int64_t gradient_bytes(const TaskGraph& graph, size_t c) {
  int64_t bytes = 0;
  for (const ClassRegister& reg : graph.registers) {
    if (reg.accumulates) bytes += aligned(reg.bytes[c]);
  }
  return bytes;
}

}  // namespace

MemoryByKind& MemoryByKind::operator+=(const MemoryByKind& other) {
  parameters += other.parameters;
  optimizer += other.optimizer;
  activations += other.activations;
  gradients += other.gradients;
  io += other.io;
  return *this;
}

Summary summarize(const Plan& plan, const Certificate& certificate, const TaskGraph& graph, const Program& program,
                  const MemoryPlan& memory, const std::array<int64_t, kLinkKinds>& link_bytes, const Choices& choices) {
  Summary summary;
  summary.link_bytes = link_bytes;
  summary.memory.resize(plan.devices.size());
  for (int position = 0; position < choices.positions(); ++position) {
    const size_t c = static_cast<size_t>(graph.class_of[static_cast<size_t>(position)]);
    MemoryByKind kinds;
    for (const ProgramVariable& variable : program.variables) {
      const int reg = graph.register_of[variable.value.index()];
      (variable.trained ? kinds.parameters : kinds.optimizer) +=
          aligned(graph.registers[static_cast<size_t>(reg)].bytes[c]);
    }
    const std::vector<int64_t>& arenas = graph.arena_bytes[c];
    kinds.io = arenas[static_cast<size_t>(ArenaKind::io)];
    kinds.gradients = std::min(gradient_bytes(graph, c), arenas[static_cast<size_t>(ArenaKind::workspace)]);
    kinds.activations = arenas[static_cast<size_t>(ArenaKind::workspace)] - kinds.gradients;
    summary.memory[choices.device_at(position).index()] += kinds;
  }
  summary.peak_tensors = peak_tensors(graph, program, memory,
                                      graph.class_of[static_cast<size_t>(memory_need(graph, choices, false).position)]);
  std::string& text = summary.text;
  text = "plan '" + plan.name + "': " + std::to_string(choices.device_count()) + " devices" +
         (choices.hosts.empty() ? "" : " and their hosts") + ", " + choices.mesh.str() + pipeline_text(choices) + "; " +
         std::to_string(choices.batch_shards) + " batch shards in " + std::to_string(plan.rounds) + " rounds; " +
         std::to_string(plan.tasks.size()) + " actors\n";
  text += traffic_table(plan.promise.traffic);
  text += links_text(link_bytes);
  text += memory_table(summary.memory, plan.devices);
  summary.bubble = certificate.bubble();
  summary.cycle_s = certificate.cycle_s;
  if (choices.pipeline.is_cut()) {
    summary.send_slots = choices.pipeline.send_slots;
    text += "  bubble " + std::to_string(std::lround(100 * summary.bubble)) + " %, " +
            std::to_string(summary.send_slots) + " slots between stages\n";
    for (int stage = 0; stage < choices.pipeline.stage_count(); ++stage) {
      text += "  stage " + std::to_string(stage) + ": " + str(fold(graph.turns[static_cast<size_t>(stage)])) + "\n";
    }
  }
  text += "  predicted step time " + seconds_text(plan.promise.step_s) + ", bound by " + plan.promise.critical + "\n";
  return summary;
}

}  // namespace troupe
