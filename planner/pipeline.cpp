#include "planner/pipeline.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr std::pair<Schedule, const char*> kSchedules[] = {{Schedule::gpipe, "gpipe"},
                                                           {Schedule::one_f_one_b, "1f1b"},
                                                           {Schedule::interleaved, "interleaved"},
                                                           {Schedule::zero_bubble, "zero_bubble"}};

void append(std::vector<Turn>& turns, int count, Turn turn) {
  turns.insert(turns.end(), static_cast<size_t>(count), turn);
}

std::vector<Turn> gpipe(int chunk, int pieces) {
  std::vector<Turn> turns;
  append(turns, pieces, {Pass::forward, chunk});
  append(turns, pieces, {Pass::backward, chunk});
  return turns;
}

std::vector<Turn> one_f_one_b(int chunk, int stages, int pieces) {
  const int warm_up = std::min(stages - chunk - 1, pieces);
  std::vector<Turn> turns;
  append(turns, warm_up, {Pass::forward, chunk});
  for (int i = warm_up; i < pieces; ++i) {
    turns.push_back({Pass::forward, chunk});
    turns.push_back({Pass::backward, chunk});
  }
  append(turns, warm_up, {Pass::backward, chunk});
  return turns;
}

// A stage computes gradients of weights as many pieces late as there are stages before it: then the others, which it
// keeps waiting meanwhile, have theirs to compute. It holds no more pieces than under 1F1B.
std::vector<Turn> zero_bubble(int chunk, int stages, int pieces) {
  std::vector<Turn> turns;
  int late = 0;
  for (Turn turn : one_f_one_b(chunk, stages, pieces)) {
    turns.push_back(turn);
    if (turn.pass != Pass::backward) continue;
    if (late < std::min(chunk, pieces)) {
      ++late;
    } else {
      turns.push_back({Pass::weight, chunk});
    }
  }
  append(turns, late, {Pass::weight, chunk});
  return turns;
}

// Pieces go through in groups of as many as there are stages: a group through a stage's first chunk, then through its
// second, and so on; backward passes the other way round.
std::vector<Turn> interleaved(int stage, int stages, int chunks, int pieces) {
  const int own = chunks / stages;
  const int all = pieces * own;
  const auto turn = [&](int i, Pass pass) {
    const int round = i / stages % own;
    return Turn{pass, (pass == Pass::forward ? round : own - 1 - round) * stages + stage};
  };
  const int warm_up = std::min((stages - stage - 1) * 2 + (own - 1) * stages, all);
  std::vector<Turn> turns;
  for (int i = 0; i < all + warm_up; ++i) {
    if (i < all) turns.push_back(turn(i, Pass::forward));
    if (i >= warm_up) turns.push_back(turn(i - warm_up, Pass::backward));
  }
  return turns;
}

}  // namespace

Schedule schedule_named(std::string_view name) {
  for (const auto& [schedule, text] : kSchedules) {
    if (name == text) return schedule;
  }
  throw PlanError("there is no schedule '" + std::string(name) + "'; " +
                  join(kSchedules, ", ", [](const auto& known) { return "'" + std::string(known.second) + "'"; }) +
                  " are possible");
}

const char* name_of(Schedule schedule) {
  for (const auto& [known, text] : kSchedules) {
    if (known == schedule) return text;
  }
  return "";
}

const char* name_of(Pass pass) {
  switch (pass) {
    case Pass::forward:
      return "F";
    case Pass::backward:
      return "B";
    case Pass::weight:
      return "W";
  }
  return "";
}

std::vector<Turn> turns_of(const Pipeline& pipeline, int stage, int pieces) {
  const int stages = pipeline.stage_count();
  if (pieces < stages) {
    throw PlanError("a pipeline of " + std::to_string(stages) +
                    " stages needs as many pieces per step and device, but " + "there are " + std::to_string(pieces) +
                    "; more batch_shards or pieces_per_shard would do");
  }
  if (pipeline.schedule != Schedule::interleaved && pipeline.chunks != stages) {
    throw PlanError("the schedule '" + std::string(name_of(pipeline.schedule)) + "' has one chunk per stage, but the " +
                    "model is cut into " + std::to_string(pipeline.chunks) + " for " + std::to_string(stages) +
                    " stages; 'interleaved' has several");
  }
  switch (pipeline.schedule) {
    case Schedule::gpipe:
      return gpipe(stage, pieces);
    case Schedule::one_f_one_b:
      return one_f_one_b(stage, stages, pieces);
    case Schedule::zero_bubble:
      return zero_bubble(stage, stages, pieces);
    case Schedule::interleaved:
      break;
  }
  if (pipeline.chunks % stages != 0 || pieces % stages != 0) {
    throw PlanError("the schedule 'interleaved' needs chunks (" + std::to_string(pipeline.chunks) +
                    ") and pieces per " + "step and device (" + std::to_string(pieces) + ") in multiples of the " +
                    std::to_string(stages) + " stages");
  }
  return interleaved(stage, stages, pipeline.chunks, pieces);
}

int in_flight(const std::vector<Turn>& turns, Turn from, Turn to) {
  int begun = 0;
  int ended = 0;
  int most = 0;
  for (Turn turn : turns) {
    if (turn == from) most = std::max(most, ++begun - ended);
    if (turn == to) ++ended;
  }
  return most;
}

std::vector<Stretch> fold(const std::vector<Turn>& turns) {
  std::vector<Stretch> result;
  size_t i = 0;
  while (i < turns.size()) {
    // The period that covers most from here on; of equals the shortest.
    size_t best = 1;
    size_t best_repeat = 1;
    for (size_t period = 1; i + 2 * period <= turns.size(); ++period) {
      size_t end = i + period;
      while (end < turns.size() && turns[end] == turns[end - period]) ++end;
      const size_t repeat = (end - i) / period;
      if (repeat > 1 && repeat * period > best * best_repeat) {
        best = period;
        best_repeat = repeat;
      }
    }
    const auto first = turns.begin() + static_cast<ptrdiff_t>(i);
    result.push_back({static_cast<int>(best_repeat), {first, first + static_cast<ptrdiff_t>(best)}});
    i += best * best_repeat;
  }
  return result;
}

std::string str(const std::vector<Stretch>& stretches) {
  return join(stretches, " ", [](const Stretch& stretch) {
    const std::string turns =
        join(stretch.turns, " ", [](Turn turn) { return name_of(turn.pass) + std::to_string(turn.chunk); });
    if (stretch.repeat == 1) return turns;
    return std::to_string(stretch.repeat) + "x" + (stretch.turns.size() == 1 ? turns : "(" + turns + ")");
  });
}

}  // namespace troupe
