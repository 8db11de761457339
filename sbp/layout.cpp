#include "sbp/layout.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

std::string text_of(const std::vector<Sbp>& sbp) {
  return join(sbp, ",", [](const Sbp& s) { return s.str(); });
}

// The axes that split `dim`: first those that `order` names, as it names them, then the others in mesh order.
std::vector<int> ordered_axes(const std::vector<Sbp>& sbp, const std::vector<int>& order, int dim) {
  std::vector<int> axes;
  for (int axis : order) {
    if (sbp[static_cast<size_t>(axis)].is_split_on(dim)) axes.push_back(axis);
  }
  for (int axis = 0; axis < static_cast<int>(sbp.size()); ++axis) {
    const bool named = std::find(order.begin(), order.end(), axis) != order.end();
    if (!named && sbp[static_cast<size_t>(axis)].is_split_on(dim)) axes.push_back(axis);
  }
  return axes;
}

}  // namespace

Layout::Layout(Mesh mesh, std::vector<Sbp> sbp, std::vector<int> order) : mesh_(std::move(mesh)), sbp_(std::move(sbp)) {
  if (static_cast<int>(sbp_.size()) != mesh_.axis_count()) {
    throw PlanError("layout " + text_of(sbp_) + " has " + std::to_string(sbp_.size()) + " SBPs; " + mesh_.str() +
                    " needs one per axis, " + std::to_string(mesh_.axis_count()) + " in all");
  }
  for (const Sbp& s : sbp_) {
    if (s.is_split() && (s.dim < 0 || s.dim >= kMaxRank)) {
      throw PlanError("layout " + text_of(sbp_) + ": " + s.str() + " is not possible; a tensor has at most " +
                      std::to_string(kMaxRank) + " dims");
    }
  }
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] < 0 || order[i] >= mesh_.axis_count()) {
      throw PlanError("layout " + text_of(sbp_) + ": the order names axis " + std::to_string(order[i]) + "; " +
                      mesh_.str() + " has axes 0 to " + std::to_string(mesh_.axis_count() - 1));
    }
    if (std::find(order.begin(), order.begin() + static_cast<ptrdiff_t>(i), order[i]) !=
        order.begin() + static_cast<ptrdiff_t>(i)) {
      throw PlanError("layout " + text_of(sbp_) + ": the order names axis '" + mesh_.axis(order[i]).name + "' twice");
    }
  }
  for (int dim = 0; dim < kMaxRank && !order.empty(); ++dim) {
    const std::vector<int> axes = ordered_axes(sbp_, order, dim);
    if (!std::is_sorted(axes.begin(), axes.end())) order_.insert(order_.end(), axes.begin(), axes.end());
  }
}

Layout Layout::broadcast(const Mesh& mesh) {
  return Layout(mesh, std::vector<Sbp>(static_cast<size_t>(mesh.axis_count()), B));
}

Layout Layout::with(int axis, Sbp sbp) const {
  CHECK(axis >= 0 && axis < mesh_.axis_count(), axis, mesh_.str());
  if (this->sbp(axis) == sbp) return *this;
  std::vector<Sbp> changed = sbp_;
  changed[static_cast<size_t>(axis)] = sbp;
  std::vector<int> order;
  for (int dim = 0; dim < kMaxRank; ++dim) {
    for (int a : axes_on(dim)) {
      if (a != axis) order.push_back(a);
    }
  }
  order.push_back(axis);
  return Layout(mesh_, std::move(changed), std::move(order));
}

std::vector<int> Layout::axes_on(int dim) const { return ordered_axes(sbp_, order_, dim); }

bool Layout::has_partial() const {
  return std::any_of(sbp_.begin(), sbp_.end(), [](const Sbp& s) { return s.is_partial(); });
}

Box Layout::box(const Shape& shape, int position) const {
  CHECK(fits(shape.rank()), str(), shape.str());
  Box box = Box::whole(shape);
  // The major axis cuts the dim, the next one cuts the part that is left, and so on.
  const auto cut = [&](int axis) {
    const int dim = sbp(axis).dim;
    const int parts = mesh_.axis(axis).size;
    const Part part = part_of(box.extent[dim], parts, sbp(axis).part(mesh_.coordinate(position, axis), parts));
    box.offset[dim] += part.offset;
    box.extent[dim] = part.size;
  };
  // Dims are independent of each other, so any sequence that keeps the order within each dim does.
  for (int axis : order_) cut(axis);
  for (int axis = 0; axis < mesh_.axis_count(); ++axis) {
    if (sbp(axis).is_split() && std::find(order_.begin(), order_.end(), axis) == order_.end()) cut(axis);
  }
  return box;
}

bool Layout::fits(int rank) const {
  return std::all_of(sbp_.begin(), sbp_.end(), [&](const Sbp& s) { return !s.is_split() || s.dim < rank; });
}

bool Layout::is_first_copy(int position) const {
  for (int axis = 0; axis < mesh_.axis_count(); ++axis) {
    if (sbp(axis).is_broadcast() && mesh_.coordinate(position, axis) != 0) return false;
  }
  return true;
}

std::string Layout::str() const {
  std::string text = text_of(sbp_);
  for (size_t i = 0; i < order_.size(); ++i) {
    const bool same_dim = i > 0 && sbp(order_[i]).dim == sbp(order_[i - 1]).dim;
    text += (i == 0 ? " order " : same_dim ? ">" : ", ") + mesh_.axis(order_[i]).name;
  }
  return text;
}

}  // namespace troupe
