// The stage `deduce`: a signature for every node, a layout for every value.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "planner/choices.h"
#include "planner/program.h"
#include "runtime/base/profile.h"

namespace troupe {

// What deduce decides, in SBPs per mesh axis. A value lies as its producer leaves it; where several nodes read it, or a
// pin speaks of it, it is also taken to one *common* layout first, from which the readers box on.
struct Deduced {
  std::vector<std::vector<Signature>> signatures;  // by node, by axis
  std::vector<std::vector<Sbp>> common;            // by value; empty: as produced
  Layout input_layout(const Choices& choices, const Program& program, NodeId node, int input) const;
  Layout output_layout(const Choices& choices, const Program& program, NodeId node, int output) const;
  Layout common_layout(const Choices& choices, const Program& program, ValueId value) const;
  // A line per node: "matmul 'h': dp S(0), B -> S(0); tp B, S(1) -> S(1)".
  std::string str(const Program& program, const Mesh& mesh) const;
};

// The order in which axes are decided. Data axes first, then the one that splits the sequence: ops in a form made for
// its parts are split no further.
std::vector<int> axis_order(const Choices& choices);

// The layout of a value with these SBPs on the devices of a chunk. What lives as long as a step (variables, gradients)
// is split by data axes within what other axes leave: a gather along a data axis then is one collective. What is made
// per piece is split by data axes first, so that other axes share out a device's own piece.
Layout layout_of(const Choices& choices, int chunk, Rate rate, std::vector<Sbp> sbp);

// Axis by axis (data axes first), minimises the time of boxing plus compute over all nodes together. Pins and layouts
// of bound variables are honoured; throws PlanError naming the pin when it cannot be.
Deduced deduce(const Program& program, const Choices& choices, const Profile& profile);

}  // namespace troupe
