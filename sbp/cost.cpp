// What steps cost. Collectives have closed forms: the parts of a dim partition it, so the elements that all
// devices of a layout hold together are those of the tensor times the sizes of the axes that do not split,
// however uneven the parts are. No cost looks at pairs of devices; an exchange is counted from its pulls.

#include <algorithm>
#include <map>

#include "sbp/axis_links.h"
#include "sbp/boxing_step.h"

namespace troupe {
namespace {

// Above this many devices an exchange is counted on this many of them, evenly spaced, and scaled up.
constexpr int kCountedDevices = 64;

// How many parts of each size a dim has.
using PartSizes = std::map<int64_t, int64_t>;

PartSizes part_sizes(const Layout& layout, const Shape& shape, int dim, int without_axis = -1) {
  PartSizes sizes = {{shape[dim], 1}};
  for (int axis : layout.axes_on(dim)) {
    if (axis == without_axis) continue;
    const int64_t n = layout.mesh().axis(axis).size;
    PartSizes cut;
    for (const auto& [size, count] : sizes) {
      if (size % n > 0) cut[size / n + 1] += count * (size % n);
      cut[size / n] += count * (n - size % n);
    }
    sizes = std::move(cut);
  }
  return sizes;
}

int64_t largest(const PartSizes& sizes) { return sizes.rbegin()->first; }

// The number of copies: the sizes of all axes that do not split.
int64_t copies(const Layout& layout) {
  int64_t product = 1;
  for (int axis = 0; axis < layout.mesh().axis_count(); ++axis) {
    if (!layout.sbp(axis).is_split()) product *= layout.mesh().axis(axis).size;
  }
  return product;
}

// The elements of the largest box, the dims `skip_a` and `skip_b` left out.
int64_t largest_box(const Layout& layout, const Shape& shape, int skip_a = -1, int skip_b = -1) {
  int64_t elements = 1;
  for (int dim = 0; dim < shape.rank(); ++dim) {
    if (dim != skip_a && dim != skip_b) elements *= largest(part_sizes(layout, shape, dim));
  }
  return elements;
}

// Elements received over all devices, and the most by one.
struct Received {
  int64_t total = 0;
  int64_t most = 0;
};

Received all_reduce(const BoxingStep& step, const Shape& shape, int64_t p) {
  // Scattered and gathered: a device receives its part from each other, then the parts of all others.
  const int64_t box = largest_box(step.from, shape);
  return {2 * (p - 1) * shape.elements() * (copies(step.from) / p), (p - 2) * ((box + p - 1) / p) + box};
}

Received reduce_scatter(const BoxingStep& step, const Shape& shape, int64_t p) {
  return {(p - 1) * shape.elements() * copies(step.to), (p - 1) * largest_box(step.to, shape)};
}

Received all_gather(const BoxingStep& step, const Shape& shape, int64_t p) {
  const int dim = step.from.sbp(step.axis).dim;
  int64_t most = 0;
  for (const auto& [size, count] : part_sizes(step.to, shape, dim)) most = std::max(most, size - size / p);
  return {(p - 1) * shape.elements() * copies(step.from), most * largest_box(step.to, shape, dim)};
}

Received all_to_all(const BoxingStep& step, const Shape& shape, int64_t p) {
  const int i = step.from.sbp(step.axis).dim;
  const int j = step.to.sbp(step.axis).dim;
  const PartSizes major_i = part_sizes(step.from, shape, i, step.axis);
  const PartSizes major_j = part_sizes(step.to, shape, j, step.axis);
  const int64_t rest = largest_box(step.from, shape, i, j);
  int64_t kept = 0;  // over the parts of dims i and j
  int64_t most = 0;
  for (int c = 0; c < static_cast<int>(p); ++c) {
    const int part_i = step.from.sbp(step.axis).part(c, static_cast<int>(p));
    const int part_j = step.to.sbp(step.axis).part(c, static_cast<int>(p));
    int64_t parts_i = 0, parts_j = 0;
    for (const auto& [size, count] : major_i) parts_i += count * part_of(size, p, part_i).size;
    for (const auto& [size, count] : major_j) parts_j += count * part_of(size, p, part_j).size;
    kept += parts_i * parts_j;
    for (const auto& [size_i, count_i] : major_i) {
      for (const auto& [size_j, count_j] : major_j) {
        const int64_t lacking = size_i - part_of(size_i, p, part_i).size;
        most = std::max(most, part_of(size_j, p, part_j).size * lacking * rest);
      }
    }
  }
  int64_t other_dims = 1;
  for (int dim = 0; dim < shape.rank(); ++dim) {
    if (dim != i && dim != j) other_dims *= shape[dim];
  }
  return {copies(step.from) * (shape.elements() - kept * other_dims), most};
}

// Every member of a group receives from every other, `messages` times. Where links of several kinds meet in a
// group and parts are uneven, bytes are shared out by the number of pairs; their sum is exact.
BoxingCost cost_in_groups(const Received& received, int64_t messages, const AxisLinks& links, int64_t p,
                          int64_t element_size, const Topology& topology) {
  BoxingCost cost;
  cost.most_received.value = received.most * element_size;
  int64_t pairs = 0;
  for (int64_t n : links.pairs) pairs += n;
  int64_t left = received.total * element_size;
  int64_t pairs_left = pairs;
  for (size_t kind = 0; kind < links.pairs.size(); ++kind) {
    if (links.pairs[kind] == 0) continue;
    const bool all = links.pairs[kind] == pairs_left;
    const int64_t share =
        all ? left : left / pairs_left * links.pairs[kind] + left % pairs_left * links.pairs[kind] / pairs_left;
    cost.bytes[kind].value = share;
    cost.messages[kind] = messages * links.pairs[kind];
    left -= share;
    pairs_left -= links.pairs[kind];
  }
  const double bytes_per_peer = static_cast<double>(cost.most_received.value) / static_cast<double>(p - 1);
  for (const Peers& peers : links.profiles) {
    double seconds = 0;
    for (size_t kind = 0; kind < peers.size(); ++kind) {
      const Link& link = topology.links[kind];
      if (peers[kind] == 0) continue;
      seconds += static_cast<double>(peers[kind]) *
                 (bytes_per_peer / link.bytes_per_s + static_cast<double>(messages) * link.latency_s);
    }
    cost.seconds = std::max(cost.seconds, seconds);
  }
  return cost;
}

// Counted from the pulls; a device that serves many is as slow as one that receives as much.
BoxingCost cost_of_exchange(const BoxingStep& step, const Shape& shape, int64_t element_size,
                            const Topology& topology) {
  BoxingCost cost;
  const int devices = step.to.mesh().size();
  const int counted = std::min(devices, kCountedDevices);
  std::vector<double> sending(static_cast<size_t>(step.from.mesh().size()));
  for (int n = 0; n < counted; ++n) {
    const int position = static_cast<int>(static_cast<int64_t>(n) * devices / counted);
    const DeviceId device = step.to.mesh().device(position);
    const Pull pull = pull_of(step.from, step.to, shape, position, topology);
    int64_t bytes = 0;
    double receiving = 0;
    for (const Pull::Region& region : pull.regions) {
      const int64_t size = region.box.elements() * element_size;
      for (int source : region.sources) {
        const DeviceId peer = step.from.mesh().device(source);
        if (peer == device) continue;
        const auto kind = static_cast<size_t>(topology.between(peer, device));
        const double seconds =
            static_cast<double>(size) / topology.links[kind].bytes_per_s + topology.links[kind].latency_s;
        bytes += size;
        cost.bytes[kind].value += size;
        ++cost.messages[kind];
        receiving += seconds;
        sending[static_cast<size_t>(source)] += seconds;
      }
    }
    cost.most_received.value = std::max(cost.most_received.value, bytes);
    cost.seconds = std::max(cost.seconds, receiving);
  }
  if (counted < devices) {
    for (TotalBytes& bytes : cost.bytes) bytes.value = bytes.value * devices / counted;
    for (int64_t& messages : cost.messages) messages = messages * devices / counted;
    return cost;
  }
  for (double seconds : sending) cost.seconds = std::max(cost.seconds, seconds);
  return cost;
}

}  // namespace

TotalBytes BoxingCost::total() const {
  TotalBytes sum;
  for (const TotalBytes& b : bytes) sum.value += b.value;
  return sum;
}

BoxingCost cost_of(const BoxingStep& step, const Shape& shape, DType dtype, AxisLinksCache& links) {
  if (step.kind == BoxingKind::slice || step.kind == BoxingKind::zero_fill) return {};
  if (step.kind == BoxingKind::exchange || step.kind == BoxingKind::permute)
    return cost_of_exchange(step, shape, size_of(dtype), links.topology());
  const int64_t p = step.from.mesh().axis(step.axis).size;
  if (p == 1) return {};
  const auto in_groups = [&](const Received& received, int64_t messages) {
    return cost_in_groups(received, messages, links.of(step.from.mesh(), step.axis), p, size_of(dtype),
                          links.topology());
  };
  if (step.kind == BoxingKind::all_reduce) return in_groups(all_reduce(step, shape, p), 2);
  if (step.kind == BoxingKind::reduce_scatter) return in_groups(reduce_scatter(step, shape, p), 1);
  if (step.kind == BoxingKind::all_gather) return in_groups(all_gather(step, shape, p), 1);
  return in_groups(all_to_all(step, shape, p), 1);
}

BoxingCost cost_of(const BoxingStep& step, const Shape& shape, DType dtype, const Topology& topology) {
  AxisLinksCache links(topology);
  return cost_of(step, shape, dtype, links);
}

BoxingCost cost_of(const std::vector<BoxingStep>& steps, const Shape& shape, DType dtype, const Topology& topology) {
  BoxingCost sum;
  AxisLinksCache links(topology);
  for (const BoxingStep& step : steps) {
    const BoxingCost cost = cost_of(step, shape, dtype, links);
    for (size_t kind = 0; kind < sum.bytes.size(); ++kind) {
      sum.bytes[kind].value += cost.bytes[kind].value;
      sum.messages[kind] += cost.messages[kind];
    }
    sum.most_received.value += cost.most_received.value;
    sum.seconds += cost.seconds;
  }
  return sum;
}

}  // namespace troupe
