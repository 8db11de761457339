#include "planner/compile.h"

#include <algorithm>

#include "planner/box.h"
#include "planner/certify.h"
#include "planner/copy_sources.h"
#include "planner/decompose.h"
#include "planner/deduce.h"
#include "planner/emit.h"
#include "planner/hide_copies.h"
#include "planner/live_slots.h"
#include "planner/memory.h"
#include "planner/offload.h"
#include "planner/peak.h"
#include "planner/pieces.h"
#include "planner/place.h"
#include "planner/precision.h"
#include "planner/recompute.h"
#include "planner/sequence.h"
#include "planner/shard.h"
#include "planner/summary.h"
#include "planner/traffic.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

void check(const Choices& choices) {
  std::vector<bool> used(choices.devices.size(), false);
  for (int position = 0; position < choices.positions(); ++position) {
    const DeviceId device = choices.device_at(position);
    CHECK(device.index() < used.size(), position, device.value, used.size());
    used[device.index()] = true;
  }
  CHECK(choices.mesh.size() > 0 && std::count(used.begin(), used.end(), false) == 0, choices.positions(), used.size());
  for (int stage = 0; stage < choices.stages(); ++stage) {
    const Mesh& mesh = choices.stage_mesh(stage);
    CHECK(mesh.axes() == choices.mesh.axes() && choices.stage_of(mesh) == stage, stage, mesh.str());
  }
  const int ranks = choices.data_parallel_size();
  if (choices.batch_shards < ranks) {
    throw PlanError("batch_shards=" + std::to_string(choices.batch_shards) + " is less than the " +
                    std::to_string(ranks) + " devices of the data axes; a multiple of " + std::to_string(ranks) +
                    " keeps all of them busy");
  }
  if (choices.pieces_per_shard < 1 || choices.source_slots < 1) {
    throw PlanError("pieces_per_shard and source_slots must be at least 1");
  }
}

// A graph as tasks, and the time that its slowest device computes for a step.
struct Walked {
  Program fired;
  Deduced deduced;
  Program boxed;
  TaskGraph tasks;
  double seconds = 0;
};

Walked walk(const Graph& graph, const Choices& choices, const Profile& profile) {
  Walked result;
  result.fired = pieces(graph, place(graph, choices.pipeline));
  result.deduced = deduce(result.fired, choices, profile);
  result.boxed = offload(copy_sources(box(result.fired, result.deduced, choices), choices), choices);
  result.tasks = shard(result.boxed, choices, profile);
  if (!choices.offload.empty()) {
    result.boxed = hide_copies(result.boxed, result.tasks);
    result.tasks = shard(result.boxed, choices, profile);
  }
  for (int c = 0; c < result.tasks.classes(); ++c) {
    double seconds = 0;
    for (const ClassTask& task : result.tasks.tasks) {
      if (task.stream == StreamKind::copy) continue;
      seconds += task.seconds[static_cast<size_t>(c)] * (task.segment == Segment::piece ? choices.rounds() : 1);
    }
    result.seconds = std::max(result.seconds, seconds);
  }
  return result;
}

// Without a split inside samples no op needs to be taken apart.
bool splits_samples(const Choices& choices) { return choices.mesh.size() > choices.data_parallel_size(); }

// Takes ops apart, one kind after another, where that makes the step shorter.
Walked walk_cheapest(Graph& graph, const Choices& choices, const Profile& profile) {
  Walked best = walk(graph, choices, profile);
  if (!splits_samples(choices)) return best;
  for (const std::vector<const OpDef*>& ops : decomposable_ops(graph)) {
    Graph candidate = decompose(graph, ops);
    Walked walked = walk(candidate, choices, profile);
    if (walked.seconds >= best.seconds) continue;
    best = std::move(walked);
    graph = std::move(candidate);
  }
  return best;
}

// With the slots of `tasks` that it needs. Where these do not fit, only their memory is planned.
struct Emitted {
  MemoryPlan memory;
  bool fits = false;
  Plan plan;
  Certificate certificate;
};

Emitted emit_certified(TaskGraph& tasks, const Program& boxed, const Choices& choices, const Profile& profile) {
  for (;;) {
    Emitted result;
    result.memory = plan_memory(tasks, boxed, choices);
    result.fits = fits_memory(tasks, choices);
    if (!result.fits) return result;
    result.plan = emit(tasks, boxed, result.memory, choices);
    const Unrolled unrolled = unroll(result.plan);
    if (choices.pipeline.is_cut() && add_live_slots(tasks, choices, result.plan, unrolled)) continue;
    result.certificate = certify(result.plan, unrolled, profile.cores);
    return result;
  }
}

// Gives registers between stages one slot more as long as that makes the step shorter and there is memory for it.
Emitted emit_pipeline(Walked& walked, Choices& choices, const Profile& profile) {
  choices.pipeline.send_slots = 1;
  Emitted best = emit_certified(walked.tasks, walked.boxed, choices, profile);
  while (best.fits && choices.pipeline.send_slots < choices.rounds()) {
    Choices more = choices;
    ++more.pipeline.send_slots;
    TaskGraph tasks = shard(walked.boxed, more, profile);
    Emitted emitted = emit_certified(tasks, walked.boxed, more, profile);
    if (!emitted.fits || emitted.certificate.cycle_s >= best.certificate.cycle_s * (1 - 1e-9)) break;
    best = std::move(emitted);
    walked.tasks = std::move(tasks);
    choices = std::move(more);
  }
  return best;
}

}  // namespace

Compiled compile(const Graph& graph, const Choices& given, const Profile& profile) {
  Choices choices = given;
  if (choices.topology.places.empty()) choices.topology = Topology::one_host(static_cast<int>(choices.devices.size()));
  if (!choices.offload.empty()) choices.add_hosts();
  check(choices);

  Compiled result;
  result.stages["write"] = graph.str();
  Graph rewritten = recompute(graph, choices.recompute);
  rewritten = split_sequence(rewritten, choices);
  if (is_low(choices.precision)) rewritten = in_precision(rewritten, choices.precision);
  Walked walked = walk_cheapest(rewritten, choices, profile);
  const Program& boxed = walked.boxed;
  const TaskGraph& tasks = walked.tasks;
  result.stages["rewrite"] = rewritten.str();
  result.stages["pieces"] = walked.fired.str();
  result.stages["deduce"] = walked.deduced.str(walked.fired, choices.mesh);
  result.stages["box"] = boxed.str();
  const bool find_slots = choices.pipeline.is_cut() && choices.pipeline.send_slots == 0;
  Emitted emitted =
      find_slots ? emit_pipeline(walked, choices, profile) : emit_certified(walked.tasks, boxed, choices, profile);
  if (!emitted.fits) refuse_memory(tasks, boxed, choices, emitted.memory);
  result.stages["shard"] = tasks.str();
  result.plan = std::move(emitted.plan);
  const Certificate& certificate = emitted.certificate;
  Traffic traffic = traffic_of(tasks, boxed, choices);
  result.plan.promise = {std::move(traffic.rows), certificate.step_s, certificate.critical, peak_bytes(result.plan)};
  result.summary = summarize(result.plan, certificate, tasks, boxed, emitted.memory, traffic.link_bytes, choices);

  result.variables = choices.variables;
  result.variables_end = choices.variables_end;
  result.variables_end.resize(choices.devices.size(), 0);
  for (const PlanDevice& device : result.plan.devices) {
    int64_t& end = result.variables_end[static_cast<size_t>(&device - result.plan.devices.data())];
    end = std::max(end, device.arena_bytes[static_cast<size_t>(ArenaKind::variables)]);
  }
  for (const ProgramVariable& variable : boxed.variables) {
    const ClassRegister& reg = tasks.registers[static_cast<size_t>(tasks.register_of[variable.value.index()])];
    result.variables[variable.name] = {*boxed.value(variable.value).layout, reg.variable_offsets};
  }
  return result;
}

}  // namespace troupe
