// For tests: real shards, one vector of numbers per device, and boxing executed on them by pulls.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "sbp/boxing.h"

namespace troupe {

struct Shards {
  Layout layout;
  Shape shape;
  std::vector<std::vector<double>> parts;  // by position, row-major within the device's box
};

inline double neutral_of(Reduction reduction) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return reduction == Reduction::sum ? 0 : reduction == Reduction::max ? -infinity : infinity;
}

inline double reduced(Reduction reduction, double a, double b) {
  return reduction == Reduction::sum ? a + b : reduction == Reduction::max ? std::max(a, b) : std::min(a, b);
}

// Calls fn(index) for every element of the box, in row-major order, with its logical index.
template <class Fn>
void for_each_index(const Box& box, Fn&& fn) {
  if (box.empty()) return;
  Dims index = box.offset;
  while (true) {
    fn(index);
    int dim = box.offset.rank() - 1;
    for (; dim >= 0; --dim) {
      if (++index[dim] < box.offset[dim] + box.extent[dim]) break;
      index[dim] = box.offset[dim];
    }
    if (dim < 0) return;
  }
}

// The place of a logical index in row-major order within the box.
inline size_t place_in(const Box& box, const Dims& index) {
  int64_t place = 0;
  for (int dim = 0; dim < index.rank(); ++dim) place = place * box.extent[dim] + index[dim] - box.offset[dim];
  return static_cast<size_t>(place);
}

// What the device at `position` holds of a value at an element: the value itself, cut along the partial axes
// one after the other, outermost first, into whole numbers that reduce to it. Devices that differ only on
// other axes hold the same.
inline double share_of(double value, const Layout& layout, int position, uint64_t element) {
  const Mesh& mesh = layout.mesh();
  uint64_t key = mix64(element);
  for (int axis = 0; axis < mesh.axis_count(); ++axis) {
    if (!layout.sbp(axis).is_partial()) continue;
    const auto size = static_cast<uint64_t>(mesh.axis(axis).size);
    const auto own = static_cast<uint64_t>(mesh.coordinate(position, axis));
    const auto small = [&](uint64_t i) { return static_cast<double>(mix64(key, i) % 9) - 4; };
    if (layout.sbp(axis).is_partial_sum()) {
      double others = 0;
      for (uint64_t i = 1; i < size; ++i) others += small(i);
      value = own == 0 ? value - others : small(own);
    } else if (own != key % size) {
      const double distance = 4 + small(own);
      value += layout.sbp(axis).reduction == Reduction::max ? -distance : distance;
    }
    key = mix64(key, own);
  }
  return value;
}

// Whole numbers, so that sums are exact in any order.
inline std::vector<double> logical_values(const Shape& shape) {
  std::vector<double> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(mix64(i, 77) % 1000) - 500;
  return values;
}

inline Shards scattered(const std::vector<double>& values, const Shape& shape, const Layout& layout) {
  Shards shards{layout, shape, {}};
  const Box whole = Box::whole(shape);
  for (int position = 0; position < layout.mesh().size(); ++position) {
    std::vector<double> part;
    for_each_index(layout.box(shape, position), [&](const Dims& index) {
      const size_t element = place_in(whole, index);
      part.push_back(share_of(values[element], layout, position, element));
    });
    shards.parts.push_back(std::move(part));
  }
  return shards;
}

// The value that the devices hold together at an element of the part of `position`: partial axes reduced,
// innermost first.
inline double value_at(const Shards& shards, int position, size_t place, int axis = 0) {
  const Mesh& mesh = shards.layout.mesh();
  while (axis < mesh.axis_count() && !shards.layout.sbp(axis).is_partial()) ++axis;
  if (axis == mesh.axis_count()) return shards.parts[static_cast<size_t>(position)][place];
  const Reduction reduction = shards.layout.sbp(axis).reduction;
  double value = neutral_of(reduction);
  for (int member : mesh.group(position, axis)) {
    value = reduced(reduction, value, value_at(shards, member, place, axis + 1));
  }
  return value;
}

// Empty when the shards represent the tensor: every part has its size, copies are equal, partial parts reduce
// to it.
inline std::string what_is_wrong(const Shards& shards, const std::vector<double>& values) {
  const Mesh& mesh = shards.layout.mesh();
  const Box whole = Box::whole(shards.shape);
  std::string wrong;
  for (int position = 0; position < mesh.size() && wrong.empty(); ++position) {
    const Box box = shards.layout.box(shards.shape, position);
    const std::vector<double>& part = shards.parts[static_cast<size_t>(position)];
    if (static_cast<int64_t>(part.size()) != box.elements()) {
      return "position " + std::to_string(position) + " holds " + std::to_string(part.size()) + " elements, not " +
             std::to_string(box.elements());
    }
    for (int axis = 0; axis < mesh.axis_count(); ++axis) {
      const int first = mesh.group(position, axis)[0];
      if (shards.layout.sbp(axis).is_broadcast() && shards.parts[static_cast<size_t>(first)] != part) {
        return "position " + std::to_string(position) + " is no copy of " + std::to_string(first);
      }
    }
    for_each_index(box, [&](const Dims& index) {
      const double expected = values[place_in(whole, index)];
      const double value = value_at(shards, position, place_in(box, index));
      if (value == expected || !wrong.empty()) return;
      wrong = "position " + std::to_string(position) + " at [" + index.str() + "]: " + std::to_string(value) +
              ", not " + std::to_string(expected);
    });
  }
  return wrong;
}

// The shards after a step, and what devices received from other devices on the way.
struct Executed {
  Shards shards;
  int64_t elements_received = 0;
  int64_t most_received = 0;
  int64_t messages = 0;
  std::string wrong;  // empty, or how a pull breaks its promises
};

// The fixed binary tree over a list: the left child takes the largest power of two below the count.
inline double tree_reduced(Reduction reduction, const double* values, size_t count) {
  if (count == 1) return values[0];
  size_t left = 1;
  while (2 * left < count) left *= 2;
  return reduced(reduction, tree_reduced(reduction, values, left),
                 tree_reduced(reduction, values + left, count - left));
}

inline Executed executed(const Shards& shards, const Layout& to, const Topology& topology) {
  const Layout& from = shards.layout;
  Executed result{{to, shards.shape, {}}, 0, 0, 0, ""};
  std::vector<double> held;
  for (int position = 0; position < to.mesh().size(); ++position) {
    const Pull pull = pull_of(from, to, shards.shape, position, topology);
    if (pull.out != to.box(shards.shape, position)) result.wrong = "the pull is of another box";
    std::vector<double> out(static_cast<size_t>(pull.out.elements()), neutral_of(pull.reduction));
    std::vector<bool> covered(out.size(), false);
    int64_t received = 0;
    for (const Pull::Region& region : pull.regions) {
      if (region.box.empty() || !pull.out.contains(region.box)) result.wrong = "a region is empty or outside";
      std::vector<Box> boxes;
      for (int source : region.sources) {
        boxes.push_back(from.box(shards.shape, source));
        if (!boxes.back().contains(region.box)) {
          result.wrong = "source " + std::to_string(source) + " does not hold " + region.box.str();
          return result;
        }
        if (from.mesh().device(source) == to.mesh().device(position)) continue;
        received += region.box.elements();
        ++result.messages;
      }
      for_each_index(region.box, [&](const Dims& index) {
        held.clear();
        for (size_t i = 0; i < boxes.size(); ++i) {
          held.push_back(shards.parts[static_cast<size_t>(region.sources[i])][place_in(boxes[i], index)]);
        }
        const size_t place = place_in(pull.out, index);
        if (covered[place]) result.wrong = "regions overlap";
        covered[place] = true;
        out[place] = tree_reduced(pull.reduction, held.data(), held.size());
      });
    }
    result.elements_received += received;
    result.most_received = std::max(result.most_received, received);
    result.shards.parts.push_back(std::move(out));
  }
  return result;
}

}  // namespace troupe
