// A layout: how a tensor lies on a mesh.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/base/box.h"
#include "runtime/base/shape.h"
#include "sbp/mesh.h"
#include "sbp/sbp.h"

namespace troupe {

// One SBP per axis of the mesh, and, where several axes split the same dim, their order from major to minor.
// A value type. The mesh is held by value; two layouts are equal when they place every element alike by
// construction: same mesh, same SBPs, same order on every shared dim. Where axes are partial by different
// reductions, the value is that of reducing the innermost axis first.
class Layout {
 public:
  Layout() = default;
  // `order` lists the axes from major to minor, for all axes or only for those that share a dim; axes not
  // named come in mesh order after those that are. Empty: mesh order. Throws PlanError when the number of
  // SBPs is not the number of axes or `order` names an axis twice or one that does not exist.
  Layout(Mesh mesh, std::vector<Sbp> sbp, std::vector<int> order = {});
  static Layout broadcast(const Mesh& mesh);

  const Mesh& mesh() const { return mesh_; }
  const std::vector<Sbp>& sbp() const { return sbp_; }
  const Sbp& sbp(int axis) const { return sbp_[static_cast<size_t>(axis)]; }
  Layout with(int axis, Sbp sbp) const;  // the axis becomes the minor-most one on a dim it newly splits
  // The axes that split `dim`, major to minor.
  std::vector<int> axes_on(int dim) const;
  bool has_partial() const;

  // What the device at `position` of the mesh holds, in logical coordinates; all of it on a partial axis.
  Box box(const Shape& shape, int position) const;
  Shape local_shape(const Shape& shape, int position) const { return box(shape, position).extent; }
  // True when every split dim exists in a tensor of this rank.
  bool fits(int rank) const;
  // True for the devices that hold a "first" copy: coordinate 0 on every broadcast axis.
  bool is_first_copy(int position) const;

  // "S(0),B" in mesh order; with an order that is not the mesh's: "S(0),S(0) order tp>dp".
  std::string str() const;
  bool operator==(const Layout&) const = default;

 private:
  Mesh mesh_;
  std::vector<Sbp> sbp_;
  // Normalised: only where it differs from mesh order for axes that share a dim, else empty.
  std::vector<int> order_;
};

}  // namespace troupe
