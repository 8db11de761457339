// What convolutions and pools share: windows that move over the last two dims of x[n,c,h,w].
#pragma once

#include <array>
#include <string>

#include "ops/op.h"

namespace troupe {

// [0] is along h, [1] along w.
using Pair = std::array<int64_t, 2>;

// An attribute of two integers.
Pair pair_attr(const Attrs& attrs, const char* name);

// How windows of `kernel` taps, `dilation` apart, move in steps of `stride` over a tensor with `padding` around it.
struct Windows {
  Pair kernel, stride, padding, dilation;

  // The attributes stride, padding and dilation (1 where there is none). Throws PlanError for what cannot be.
  static Windows of(const Attrs& attrs, Pair kernel);
  // How many windows fit. Throws PlanError, with the operand's text, when none does.
  Pair count(Pair size, const std::string& operand) const;
  // A window is one element, and there are as many of them: along such a dim nothing is coupled.
  bool is_pointwise(size_t dim) const;
};

// h and w of an operand [n,c,h,w].
Pair size_of_plane(const Shape& shape);
// [n,c,h,w], or PlanError.
void expect_planes(const OpArgs& args, int operand, const char* name);

// The names of h and w in a rule: the same before and after windows that are pointwise, else dims that cannot be split.
struct PlaneNames {
  std::string before, after, notes;  // "h w", "p q", ", !h, !w, !p, !q"
  explicit PlaneNames(const Windows& windows);
};

}  // namespace troupe
