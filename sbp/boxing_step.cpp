#include "sbp/boxing_step.h"

#include <algorithm>

namespace troupe {
namespace {

std::optional<BoxingKind> kind_of(Sbp from, Sbp to) {
  if (from == to) return std::nullopt;
  if (from.is_broadcast()) return to.is_split() ? BoxingKind::slice : BoxingKind::zero_fill;
  if (from.is_split()) {
    if (to.is_broadcast()) return BoxingKind::all_gather;
    if (!to.is_split()) return BoxingKind::zero_fill;
    return from.dim == to.dim ? BoxingKind::permute : BoxingKind::all_to_all;
  }
  if (to.is_partial()) return std::nullopt;
  return to.is_broadcast() ? BoxingKind::all_reduce : BoxingKind::reduce_scatter;
}

void add_once(std::vector<Reduction>& reductions, Reduction reduction) {
  if (std::find(reductions.begin(), reductions.end(), reduction) == reductions.end()) reductions.push_back(reduction);
}

}  // namespace

const char* name_of(BoxingKind kind) {
  switch (kind) {
    case BoxingKind::slice:
      return "slice";
    case BoxingKind::zero_fill:
      return "zero_fill";
    case BoxingKind::all_reduce:
      return "all_reduce";
    case BoxingKind::reduce_scatter:
      return "reduce_scatter";
    case BoxingKind::all_gather:
      return "all_gather";
    case BoxingKind::all_to_all:
      return "all_to_all";
    case BoxingKind::permute:
      return "permute";
    case BoxingKind::exchange:
      return "exchange";
  }
  return "";
}

std::string BoxingStep::str() const {
  std::string text = name_of(kind);
  if (kind == BoxingKind::exchange) {
    const bool same_mesh = from.mesh() == to.mesh();
    const std::string source = same_mesh ? "" : from.mesh().str() + " ";
    const std::string target = same_mesh ? "" : to.mesh().str() + " ";
    return text + ": " + source + from.str() + " -> " + target + to.str();
  }
  text += "(axis=" + from.mesh().axis(axis).name;
  const Sbp source = from.sbp(axis);
  const Sbp target = to.sbp(axis);
  if (kind == BoxingKind::all_to_all) {
    text += ", dim=" + std::to_string(source.dim) + ">" + std::to_string(target.dim);
  } else if (target.is_split() || source.is_split()) {
    text += ", dim=" + std::to_string(target.is_split() ? target.dim : source.dim);
  }
  return text + "): " + from.str() + " -> " + to.str();
}

std::optional<BoxingStep> step_on_axis(const Layout& from, int axis, Sbp to) {
  const Sbp source = from.sbp(axis);
  const std::optional<BoxingKind> kind = kind_of(source, to);
  if (!kind) return std::nullopt;
  if (source.is_split() && from.axes_on(source.dim).back() != axis) return std::nullopt;
  return BoxingStep{*kind, axis, from, from.with(axis, to)};
}

Layout without_trivial_axes(const Layout& layout) {
  const Mesh& mesh = layout.mesh();
  std::vector<Sbp> sbp = layout.sbp();
  std::vector<int> order;
  bool changed = false;
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    if (mesh.axis(axis).size > 1 || layout.sbp(axis).is_broadcast()) continue;
    sbp[static_cast<size_t>(axis)] = B;
    changed = true;
  }
  if (!changed) return layout;
  for (int dim = 0; dim < kMaxRank; ++dim) {
    for (int axis : layout.axes_on(dim)) {
      if (mesh.axis(axis).size > 1) order.push_back(axis);
    }
  }
  return Layout(mesh, std::move(sbp), std::move(order));
}

bool same_axes(const Mesh& a, const Mesh& b) { return a.axes() == b.axes(); }

bool same_parts(const Layout& a, const Layout& b, const Shape& shape) {
  if (a.mesh() == b.mesh()) return without_trivial_axes(a) == without_trivial_axes(b);
  const Layout x = without_trivial_axes(a);
  const Layout y = without_trivial_axes(b);
  if (x.has_partial() || y.has_partial() || x.mesh().size() != y.mesh().size()) return false;
  for (int position = 0; position < x.mesh().size(); ++position) {
    const int other = y.mesh().position_of(x.mesh().device(position));
    if (other < 0 || x.box(shape, position) != y.box(shape, other)) return false;
  }
  return true;
}

PartialAxes partial_axes(const Layout& from, const Layout& to) {
  const bool comparable = same_axes(from.mesh(), to.mesh());
  const auto is_carried = [&](int axis) { return comparable && from.sbp(axis) == to.sbp(axis); };
  PartialAxes axes;
  for (int axis = 0; axis < from.mesh().axis_count(); ++axis) {
    if (!from.sbp(axis).is_partial() || from.mesh().axis(axis).size == 1) continue;
    if (is_carried(axis)) {
      axes.carried.push_back(axis);
    } else {
      axes.reduced.push_back(axis);
      add_once(axes.reduced_by, from.sbp(axis).reduction);
    }
  }
  for (int axis = 0; axis < to.mesh().axis_count(); ++axis) {
    if (!to.sbp(axis).is_partial() || to.mesh().axis(axis).size == 1 || is_carried(axis)) continue;
    axes.made.push_back(axis);
    add_once(axes.made_by, to.sbp(axis).reduction);
  }
  return axes;
}

bool can_pull(const Layout& from, const Layout& to) {
  const PartialAxes axes = partial_axes(from, to);
  if (axes.reduced.empty()) return true;
  return axes.reduced_by.size() == 1 && std::none_of(axes.carried.begin(), axes.carried.end(), [&](int axis) {
           return axis > axes.reduced[0] && from.sbp(axis).reduction != axes.reduced_by[0];
         });
}

}  // namespace troupe
