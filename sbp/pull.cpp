#include <algorithm>
#include <optional>

#include "runtime/base/check.h"
#include "sbp/boxing_step.h"

namespace troupe {
namespace {

// A stretch of one dim that one part of `from` covers, and where the devices that hold it are: the sum of
// coordinate times stride over the axes that cut the dim.
struct Stretch {
  int64_t offset;
  int64_t size;
  int position;
};

// Works out one device's pull. The devices of `from` that hold a given element are told apart by the axes
// that do not split: a carried axis and one that stays apart have the device's own coordinate, a reduced axis
// has every coordinate, on any other axis one holder is chosen.
class Puller {
 public:
  Puller(const Layout& from, const Layout& to, const Shape& shape, int position, const Topology& topology)
      : from_(from), to_(to), shape_(shape), position_(position), topology_(topology), axes_(partial_axes(from, to)) {
    CHECK(can_pull(from, to), from.str(), to.str());
    CHECK(position >= 0 && position < to.mesh().size(), position, to.mesh().str());
    own_ = from.mesh().position_of(to.mesh().device(position));
  }

  Pull pull() {
    Pull pull;
    pull.out = to_.box(shape_, position_);
    if (!axes_.reduced_by.empty()) {
      pull.reduction = axes_.reduced_by[0];
    } else if (!axes_.made_by.empty()) {
      pull.reduction = axes_.made_by[0];
    }
    if (pull.out.empty()) return pull;
    if (!keeps_a_value()) {
      pull.reduction = Reduction::sum;
      return pull;
    }
    sort_axes();
    std::vector<std::vector<Stretch>> stretches;
    for (int dim = 0; dim < shape_.rank(); ++dim) {
      stretches.push_back(stretches_of(dim, pull.out));
      if (stretches.back().empty()) return pull;
    }
    Box box = pull.out;
    add_regions(stretches, 0, fixed_, box, pull.regions);
    return pull;
  }

 private:
  // Each device keeps its part of a newly partial tensor and fills the rest, when `from` is split on the
  // axis. That needs one reduction throughout, because a pull fills with the neutral element of the one by
  // which it reduces.
  bool stays_apart(int axis) const {
    return same_axes(from_.mesh(), to_.mesh()) && from_.sbp(axis).is_split() && axes_.made_by.size() == 1 &&
           (axes_.reduced_by.empty() || axes_.reduced_by == axes_.made_by);
  }

  // False on the devices that hold nothing but zeros of a newly made partial sum.
  bool keeps_a_value() const {
    return std::all_of(axes_.made.begin(), axes_.made.end(), [&](int axis) {
      return !to_.sbp(axis).is_partial_sum() || stays_apart(axis) || to_.mesh().coordinate(position_, axis) == 0;
    });
  }

  void sort_axes() {
    const auto contains = [](const std::vector<int>& axes, int axis) {
      return std::find(axes.begin(), axes.end(), axis) != axes.end();
    };
    const Mesh& mesh = from_.mesh();
    for (int axis = 0; axis < mesh.axis_count(); ++axis) {
      const int own_offset =
          same_axes(mesh, to_.mesh()) ? to_.mesh().coordinate(position_, axis) * mesh.stride(axis) : 0;
      if (contains(axes_.carried, axis)) {
        fixed_ += own_offset;
      } else if (contains(axes_.reduced, axis)) {
        continue;
      } else if (from_.sbp(axis).is_split()) {
        if (contains(axes_.made, axis) && stays_apart(axis)) apart_.push_back(axis);
      } else if (mesh.axis(axis).size > 1) {
        free_.push_back(axis);
      }
    }
  }

  // The parts of `dim` that meet the device's own box, by device.
  std::vector<Stretch> stretches_of(int dim, const Box& out) const {
    const int64_t low = out.offset[dim];
    const int64_t high = low + out.extent[dim];
    std::vector<Stretch> stretches = {{0, shape_[dim], 0}};
    for (int axis : from_.axes_on(dim)) {
      const int size = from_.mesh().axis(axis).size;
      const int stride = from_.mesh().stride(axis);
      const bool apart = std::find(apart_.begin(), apart_.end(), axis) != apart_.end();
      const int own = apart ? to_.mesh().coordinate(position_, axis) : -1;
      std::vector<Stretch> parts;
      for (const Stretch& whole : stretches) {
        for (int i = 0; i < size; ++i) {
          if (apart && i != own) continue;
          const Part part = part_of(whole.size, size, from_.sbp(axis).part(i, size));
          const int64_t offset = whole.offset + part.offset;
          if (part.size == 0 || offset >= high || offset + part.size <= low) continue;
          parts.push_back({offset, part.size, whole.position + i * stride});
        }
      }
      stretches = std::move(parts);
    }
    for (Stretch& stretch : stretches) {
      const int64_t end = std::min(stretch.offset + stretch.size, high);
      stretch.offset = std::max(stretch.offset, low);
      stretch.size = end - stretch.offset;
    }
    return stretches;
  }

  void add_regions(const std::vector<std::vector<Stretch>>& stretches, int dim, int position, Box& box,
                   std::vector<Pull::Region>& regions) {
    if (dim == shape_.rank()) {
      regions.push_back({box, sources_at(position)});
      return;
    }
    for (const Stretch& stretch : stretches[static_cast<size_t>(dim)]) {
      box.offset[dim] = stretch.offset;
      box.extent[dim] = stretch.size;
      add_regions(stretches, dim + 1, position + stretch.position, box, regions);
    }
  }

  // One holder for every combination of coordinates on the reduced axes, the outermost axis fastest: the tree
  // over the list then adds along the outermost axis first (whole, when its size is a power of two).
  std::vector<int> sources_at(int position) const {
    std::vector<int> positions = {position};
    for (auto axis = axes_.reduced.rbegin(); axis != axes_.reduced.rend(); ++axis) {
      positions = spread_along(positions, *axis);
    }
    for (int& p : positions) p = holder_at(p);
    return positions;
  }

  // Every position combined with every coordinate on the axis, which varies fastest.
  std::vector<int> spread_along(const std::vector<int>& positions, int axis) const {
    std::vector<int> all;
    for (int position : positions) {
      for (int i = 0; i < from_.mesh().axis(axis).size; ++i) all.push_back(position + i * from_.mesh().stride(axis));
    }
    return all;
  }

  // Of the devices that differ from `position` only on the free axes: itself, else the nearest, in turn.
  int holder_at(int position) const {
    if (free_.empty()) return position;
    if (own_ >= 0) {
      int own_part = own_;
      for (int axis : free_) own_part -= from_.mesh().coordinate(own_, axis) * from_.mesh().stride(axis);
      if (own_part == position) return own_;
    }
    std::vector<int> candidates = {position};
    for (int axis : free_) candidates = spread_along(candidates, axis);
    const DeviceId device = to_.mesh().device(position_);
    LinkKind nearest = LinkKind::between_hosts;
    for (int candidate : candidates) {
      nearest = std::min(nearest, topology_.between(from_.mesh().device(candidate), device));
    }
    std::erase_if(candidates,
                  [&](int candidate) { return topology_.between(from_.mesh().device(candidate), device) != nearest; });
    return candidates[static_cast<size_t>(turn()) % candidates.size()];
  }

  // Numbers the devices of `to` so that those with the same part are consecutive: taking turns by this number
  // spreads both the copies of one part and the parts over the holders.
  int turn() const {
    const Mesh& mesh = to_.mesh();
    int part = 0, copy = 0, copies = 1;
    for (int axis = 0; axis < mesh.axis_count(); ++axis) {
      const int size = mesh.axis(axis).size;
      int& index = to_.sbp(axis).is_split() ? part : copy;
      index = index * size + mesh.coordinate(position_, axis);
      if (!to_.sbp(axis).is_split()) copies *= size;
    }
    return part * copies + copy;
  }

  const Layout& from_;
  const Layout& to_;
  const Shape& shape_;
  const int position_;
  const Topology& topology_;
  const PartialAxes axes_;
  int own_ = -1;            // the device's position in from's mesh
  int fixed_ = 0;           // what the carried axes contribute to a holder's position
  std::vector<int> apart_;  // split in `from`, newly partial in `to`: each device keeps its own part
  std::vector<int> free_;   // any coordinate holds the same
};

}  // namespace

Pull pull_of(const Layout& from, const Layout& to, const Shape& shape, int position, const Topology& topology) {
  return Puller(from, to, shape, position, topology).pull();
}

}  // namespace troupe
