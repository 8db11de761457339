// Pins, checked and sorted by what they bind.
#pragma once

#include <map>
#include <optional>
#include <utility>

#include "planner/choices.h"
#include "planner/program.h"

namespace troupe {

// What is demanded of values along the axes of the mesh.
class Demands {
 public:
  // From the program's pins, the sources (batched ones are split along the data axes) and the variables that other
  // plans bound. Throws PlanError for an axis the mesh lacks, a dim the tensor lacks, P on a parameter, and two pins
  // that disagree.
  Demands(const Program& program, const Choices& choices);
  std::optional<Sbp> of(ValueId value, int axis) const;
  // The pin behind a demand, for errors; nullptr when the demand is not a user's.
  const Pin* pin_of(ValueId value, int axis) const;

 private:
  struct Demand {
    Sbp sbp;
    const Pin* pin;
  };
  void demand(const Program& program, ValueId value, int axis, Sbp sbp, const Pin* pin);
  std::map<std::pair<ValueId, int>, Demand> demands_;
};

// "S(0), S(1), B" for a tensor of this rank.
std::string possible_layouts(int rank, bool with_partial);

}  // namespace troupe
