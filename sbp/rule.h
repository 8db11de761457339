// Rules: what an op says once, in einsum form, about every way of splitting it.
//
//   "m k, k n -> m n; linear"
//
// Each operand lists the names of its dims. A name in an output and some inputs can be split: S there, and
// every input without the name must be whole (B). A name that no output has is summed over: splitting it
// gives a partial output. An output that lacks a name which another output and an input have is partial too.
// A name that only outputs have is cut from whole inputs: `. -> n` gives B -> S(0); outputs without it stay
// B.
//
// Notes after ';', separated by commas:
//   linear        linear in each operand by itself: P in one operand with B in all others gives P
//   additive      linear in all operands together (add, concat): P in all operands gives P
//   increasing    an increasing function of its (single) operand: P(max) and P(min) pass
//   movement      only moves elements: P, P(max), P(min) pass (implies additive)
//   max | min     names that an output lacks are reduced by max (min), not summed; P(max) (P(min)) of a
//                 single operand passes
//   !name         the dim of that name cannot be split (softmax over it, a slice of it)
//   linear(i)     linear in operand i alone while the others are whole (div: "linear(0)")
//   additive(i j), movement(i j), increasing(i)
//                 the same of these operands while the others are whole (where: "additive(1 2)")
//   added(i)      operand i is added to what the others give (a bias): it is partial where the output is
// "1" stands for a dim of size one that broadcasts and is never split. A scalar operand is "." (no dims).
// An operand written as "*" can only be whole (B), whatever the others are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sbp/signature.h"

namespace troupe {

struct Rule {
  struct Operand {
    std::vector<std::string> dims;
    bool whole_only = false;  // "*"
    bool operator==(const Operand&) const = default;
  };
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
  std::vector<std::string> notes;
  bool operator==(const Rule&) const = default;
};

// Throws PlanError that shows the text and the place when it does not parse.
Rule parse_rule(std::string_view text);

// All signatures along one axis, all-B first, each once, in a fixed order.
std::vector<Signature> signatures_of(const Rule& rule);

}  // namespace troupe
