#include "actors/engine/standing.h"

#include "actors/engine/loaded_plan.h"

namespace troupe {
namespace {

std::vector<Lack> lacks_of(const TaskActor& actor) {
  std::vector<Lack> lacks;
  const Credits& credits = actor.credits();
  for (size_t i = 0; i < credits.inputs().size() && lacks.size() < kMostLacks; ++i) {
    if (!credits.lacks_input(static_cast<int32_t>(i))) continue;
    const Route& route = actor.producers()[i];
    lacks.push_back({TaskId(route.task), RegisterId(route.reg), credits.inputs()[i].version, false});
  }
  for (size_t r = 0; r < credits.readers().size() && lacks.size() < kMostLacks; ++r) {
    if (!credits.lacks_reader(static_cast<int32_t>(r))) continue;
    const Route& route = actor.readers()[r];
    lacks.push_back({TaskId(route.task), RegisterId(route.reg), credits.readers()[r].freed, true});
  }
  return lacks;
}

// By what there is, not by what the stream last waited for: it may not have been looked at since.
Standing::State state_of(const StreamLoop& stream, int64_t limit) {
  if (stream.wait == StreamLoop::Wait::limit && stream.step >= limit) return Standing::State::limit;
  if (!stream.head().can_fire()) return Standing::State::head;
  return stream.head().source_is_ready(stream.step) ? Standing::State::turn : Standing::State::source;
}

}  // namespace

std::vector<Standing> standings(const LoadedPlan& plan, const std::vector<std::optional<TaskId>>& busy) {
  std::vector<Standing> all;
  for (size_t e = 0; e < busy.size(); ++e) {
    if (busy[e] && !busy[e]->valid()) continue;
    for (const auto& stream : plan.share(plan.own().first + static_cast<int>(e)).streams) {
      Standing standing;
      standing.stream = stream->id;
      standing.runs_ahead = stream->runs_ahead;
      if (busy[e]) {
        standing.state = Standing::State::kernel;
        standing.task = *busy[e];
      } else {
        standing.state = state_of(*stream, plan.limit.load());
        standing.task = stream->head().id();
        standing.step = stream->step;
        standing.done = stream->done();
        if (standing.state == Standing::State::head) standing.lacks = lacks_of(stream->head());
      }
      all.push_back(std::move(standing));
    }
  }
  return all;
}

}  // namespace troupe
