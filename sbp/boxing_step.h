// One boxing step along one axis: which collective takes an SBP to another, and where an axis may act alone.
#pragma once

#include <optional>

#include "sbp/axis_links.h"
#include "sbp/boxing.h"

namespace troupe {

// The step that changes the SBP of `axis` alone, within the groups of that axis. None when the axis is not
// the minor-most one on the dim that it splits, when nothing changes, or between two kinds of partial (these
// go through B).
std::optional<BoxingStep> step_on_axis(const Layout& from, int axis, Sbp to);

// The same tensors on the same devices, with B on every axis of size 1: there all SBPs mean the same.
Layout without_trivial_axes(const Layout& layout);

// True when the axes have the same names and sizes; the devices may differ.
bool same_axes(const Mesh& a, const Mesh& b);

// True when every device holds the same part under both layouts, so that nothing is to be done.
bool same_parts(const Layout& a, const Layout& b, const Shape& shape);

// cost_of for many steps: the links of each axis are looked up once.
BoxingCost cost_of(const BoxingStep& step, const Shape& shape, DType dtype, AxisLinksCache& links);

// Which axes an exchange reduces and how it leaves others partial.
struct PartialAxes {
  std::vector<int> carried;           // partial alike in both (with the same axes): each coordinate by itself
  std::vector<int> reduced;           // partial in `from` only, in mesh order
  std::vector<int> made;              // partial in `to` only, in mesh order
  std::vector<Reduction> reduced_by;  // the distinct reductions of `reduced`
  std::vector<Reduction> made_by;     // the distinct reductions of `made`
};
PartialAxes partial_axes(const Layout& from, const Layout& to);

// True when one pull per device takes `from` to `to`: a pull reduces by one reduction, and an axis that stays
// partial by another one must not lie inside those that are reduced. Otherwise the innermost axes are reduced
// by themselves.
bool can_pull(const Layout& from, const Layout& to);

}  // namespace troupe
