// Pipelines: a model cut into chunks, each on the devices of a stage, and the order in which a stage works on them.
//
// A pipeline is nothing but an order per stream plus slots: the forward pass of a chunk for one piece is one turn, its
// backward pass another. What a stage may hold at a time, and how long it waits, follows from its turns.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sbp/mesh.h"

namespace troupe {

enum class Schedule : uint8_t {
  gpipe,        // all forward passes, then all backward passes (Huang et al. 2019)
  one_f_one_b,  // after a warm-up one of each in turn: no stage holds more pieces than there are stages after it
                // (Narayanan et al. 2021)
  interleaved,  // the same with several chunks per stage: a bubble as many times shorter (ibid.)
  zero_bubble,  // backward passes cut in two: the gradients that other stages wait for first, those of weights when
                // there is nothing else to do (Qi et al. 2023, ZB-H1)
};
// "gpipe", "1f1b", "interleaved", "zero_bubble"; throws PlanError, with these names, for another text.
Schedule schedule_named(std::string_view name);
const char* name_of(Schedule schedule);

enum class Pass : uint8_t { forward, backward, weight };
const char* name_of(Pass pass);

// One pass over one chunk, for the next piece in order.
struct Turn {
  Pass pass = Pass::forward;
  int chunk = 0;
  auto operator<=>(const Turn&) const = default;
};

struct Pipeline {
  std::vector<Mesh> stages;             // of equal axes; devices may be of several stages; empty: no pipeline
  int chunks = 1;                       // chunk c lies on stage c % stages
  std::map<std::string, int> chunk_of;  // by the path of a module or variable; all below it go along
  Schedule schedule = Schedule::one_f_one_b;
  // How many slots a register has that another stage reads, at least: some get more where these would let the plan hang.
  // 0: the fewest that let the plan run as fast as it can.
  int send_slots = 0;

  bool is_cut() const { return stages.size() > 1; }
  int stage_count() const { return stages.empty() ? 1 : static_cast<int>(stages.size()); }
  int stage_of(int chunk) const { return chunk % stage_count(); }
};

// A stage's turns in a step of so many pieces. Throws PlanError, with what would be possible, for a number of pieces
// that the schedule cannot do.
std::vector<Turn> turns_of(const Pipeline& pipeline, int stage, int pieces);

// The most pieces for which `from` has begun and `to` has not ended at any time of these turns: the slots that what
// passes from the one to the other needs.
int in_flight(const std::vector<Turn>& turns, Turn from, Turn to);

// Turns with what repeats said once.
struct Stretch {
  int repeat = 1;
  std::vector<Turn> turns;
  bool operator==(const Stretch&) const = default;
};
std::vector<Stretch> fold(const std::vector<Turn>& turns);
// "F0 F0 3x(F0 B0) B0 B0".
std::string str(const std::vector<Stretch>& stretches);

}  // namespace troupe
