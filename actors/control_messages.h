// How the messages of control.h cross the wire: what CAF has to know of each.
#pragma once

#include <bit>
#include <caf/actor_system_config.hpp>
#include <caf/meta/load_callback.hpp>
#include <caf/meta/type_name.hpp>

#include "actors/engine/control.h"

namespace troupe {

template <class Inspector, class Tag>
auto inspect(Inspector& f, Id<Tag>& x) {
  return f(caf::meta::type_name("Id"), x.value);
}
template <class Inspector>
auto inspect(Inspector& f, Fault& x) {
  return f(caf::meta::type_name("Fault"), x.what, x.device, x.task, x.peer, x.deadline);
}
template <class Inspector>
auto inspect(Inspector& f, ArenaFile& x) {
  return f(caf::meta::type_name("ArenaFile"), x.process, x.file, x.bytes);
}
template <class Inspector>
auto inspect(Inspector& f, Memory::Block& x) {
  return f(caf::meta::type_name("Block"), x.device, x.kind, x.index, x.file);
}
template <class Inspector>
auto inspect(Inspector& f, WorkerShare& x) {
  return f(caf::meta::type_name("WorkerShare"), x.devices, x.executors);
}
template <class Inspector>
auto inspect(Inspector& f, Join& x) {
  return f(caf::meta::type_name("Join"), x.version, x.token, x.host, x.process, x.share, x.memory, x.rank);
}
template <class Inspector>
auto inspect(Inspector& f, LinkAddress& x) {
  return f(caf::meta::type_name("LinkAddress"), x.request, x.address);
}
template <class Inspector>
auto inspect(Inspector& f, Answer& x) {
  return f(caf::meta::type_name("Answer"), x.request, x.outcome, x.fault);
}
template <class Inspector>
auto inspect(Inspector& f, Reached& x) {
  return f(caf::meta::type_name("Reached"), x.epoch, x.step);
}
template <class Inspector>
auto inspect(Inspector& f, Lack& x) {
  return f(caf::meta::type_name("Lack"), x.from, x.reg, x.version, x.room);
}
template <class Inspector>
auto inspect(Inspector& f, Standing& x) {
  return f(caf::meta::type_name("Standing"), x.stream, x.state, x.runs_ahead, x.task, x.step, x.done, x.lacks);
}
template <class Inspector>
auto inspect(Inspector& f, Standings& x) {
  return f(caf::meta::type_name("Standings"), x.handle, x.epoch, x.streams);
}
template <class Inspector>
auto inspect(Inspector& f, StallPart& x) {
  return f(caf::meta::type_name("StallPart"), x.request, x.where);
}
template <class Inspector>
auto inspect(Inspector& f, TaskObservation& x) {
  return f(caf::meta::type_name("TaskObservation"), x.firings, x.busy_s);
}
template <class Inspector>
auto inspect(Inspector& f, TracedFiring& x) {
  return f(caf::meta::type_name("TracedFiring"), x.task, x.step, x.round, x.begin_s, x.end_s, x.waited_for,
           x.waited_reg, x.wait_begin_s, x.wait_end_s, x.live_most, x.live_after);
}
template <class Inspector>
auto inspect(Inspector& f, NonFinite& x) {
  auto bits = std::bit_cast<uint64_t>(x.value);  // as a number CAF makes something finite of it
  const auto loaded = [&]() -> caf::error {
    x.value = std::bit_cast<double>(bits);
    return caf::none;
  };
  return f(caf::meta::type_name("NonFinite"), x.born, x.step, x.round, x.shard, x.piece, x.position, x.task, x.reg,
           x.element, bits, x.input, caf::meta::load_callback(loaded));
}
template <class Inspector>
auto inspect(Inspector& f, ObservedPart& x) {
  Observations& seen = x.seen;
  std::vector<NonFinite> nonfinite;
  if (seen.nonfinite) nonfinite.push_back(*seen.nonfinite);
  const auto loaded = [&]() -> caf::error {
    seen.nonfinite = nonfinite.empty() ? std::nullopt : std::optional(nonfinite.front());
    return caf::none;
  };
  return f(caf::meta::type_name("ObservedPart"), x.request, seen.tasks, seen.messages, seen.crossing, seen.peak_bytes,
           seen.peak_workspace, seen.trace, nonfinite, caf::meta::load_callback(loaded));
}
template <class Inspector>
auto inspect(Inspector& f, TimeIs& x) {
  return f(caf::meta::type_name("TimeIs"), x.request, x.now);
}
template <class Inspector>
auto inspect(Inspector& f, Beat& x) {
  return f(caf::meta::type_name("Beat"), x.firings, x.read, x.missing_s);
}
template <class Inspector>
auto inspect(Inspector& f, Welcome& x) {
  return f(caf::meta::type_name("Welcome"), x.index, x.beat_s, x.workers, x.doorbells, x.names, x.near, x.key,
           x.checksums);
}
template <class Inspector>
auto inspect(Inspector& f, Connect& x) {
  return f(caf::meta::type_name("Connect"), x.addresses);
}
template <class Inspector>
auto inspect(Inspector& f, Fence& x) {
  return f(caf::meta::type_name("Fence"), x.number);
}
template <class Inspector>
auto inspect(Inspector& f, Refused& x) {
  return f(caf::meta::type_name("Refused"), x.why);
}
template <class Inspector>
auto inspect(Inspector& f, LoadPlan& x) {
  return f(caf::meta::type_name("LoadPlan"), x.handle, x.plan, x.blocks, x.lanes);
}
template <class Inspector>
auto inspect(Inspector& f, UnloadPlan& x) {
  return f(caf::meta::type_name("UnloadPlan"), x.handle);
}
template <class Inspector>
auto inspect(Inspector& f, TokenRows& x) {
  return f(caf::meta::type_name("TokenRows"), x.paths, x.type, x.first, x.tokens, x.seq, x.batch, x.seed);
}
template <class Inspector>
auto inspect(Inspector& f, RowChoice& x) {
  return f(caf::meta::type_name("RowChoice"), x.rows, x.batch, x.seed, x.shuffled);
}
template <class Inspector>
auto inspect(Inspector& f, ArrayRows& x) {
  return f(caf::meta::type_name("ArrayRows"), x.paths, x.dtype, x.row_shape, x.choice);
}
template <class Inspector>
auto inspect(Inspector& f, SourceSpec& x) {
  return f(caf::meta::type_name("SourceSpec"), x.name, x.feed, x.array, x.rows, x.array_rows);
}
template <class Inspector>
auto inspect(Inspector& f, SetSources& x) {
  return f(caf::meta::type_name("SetSources"), x.handle, x.sources);
}
template <class Inspector>
auto inspect(Inspector& f, HandOver::Array& x) {
  return f(caf::meta::type_name("Array"), x.name, x.dtype, x.shape, x.offset);
}
template <class Inspector>
auto inspect(Inspector& f, HandOver& x) {
  return f(caf::meta::type_name("HandOver"), x.feed, x.step, x.oldest, x.memory, x.arrays);
}
template <class Inspector>
auto inspect(Inspector& f, DropFeed& x) {
  return f(caf::meta::type_name("DropFeed"), x.feed);
}
template <class Inspector>
auto inspect(Inspector& f, Restart& x) {
  return f(caf::meta::type_name("Restart"), x.handle, x.epoch, x.first_step);
}
template <class Inspector>
auto inspect(Inspector& f, Go& x) {
  return f(caf::meta::type_name("Go"), x.handle, x.until);
}
template <class Inspector>
auto inspect(Inspector& f, Hold&) {
  return f(caf::meta::type_name("Hold"));
}
template <class Inspector>
auto inspect(Inspector& f, Resume&) {
  return f(caf::meta::type_name("Resume"));
}
template <class Inspector>
auto inspect(Inspector& f, Stop&) {
  return f(caf::meta::type_name("Stop"));
}
template <class Inspector>
auto inspect(Inspector& f, Observe& x) {
  return f(caf::meta::type_name("Observe"), x.counts, x.times, x.live_bytes, x.finite, x.trace_from, x.trace_steps);
}
template <class Inspector>
auto inspect(Inspector& f, SetObserved& x) {
  return f(caf::meta::type_name("SetObserved"), x.handle, x.what);
}
template <class Inspector>
auto inspect(Inspector& f, GetObserved& x) {
  return f(caf::meta::type_name("GetObserved"), x.handle);
}
template <class Inspector>
auto inspect(Inspector& f, GetTime&) {
  return f(caf::meta::type_name("GetTime"));
}
template <class Inspector>
auto inspect(Inspector& f, GetStall&) {
  return f(caf::meta::type_name("GetStall"));
}
template <class Inspector>
auto inspect(Inspector& f, Leave&) {
  return f(caf::meta::type_name("Leave"));
}

}  // namespace troupe
