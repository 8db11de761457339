#include "planner/boxing_price.h"

#include <algorithm>

namespace troupe {
namespace {

// Two hops move 2T(p-1)/p bytes to each member instead of T(p-1). Two members move the same either way, and one hop is
// one wait less; of a small tensor the wait is all that counts.
constexpr int64_t kOneHopBytes = 16 << 10;

}  // namespace

bool one_hop(const BoxingStep& step, const Shape& shape, DType dtype) {
  return step.from.mesh().axis(step.axis).size == 2 ||
         step.to.local_shape(shape, 0).elements() * size_of(dtype) <= kOneHopBytes;
}

double boxing_seconds(const BoxingStep& step, const Shape& shape, DType dtype, const Topology& topology,
                      const Profile& profile) {
  const int64_t in = step.from.local_shape(shape, 0).elements() * size_of(dtype);
  const int64_t out = step.to.local_shape(shape, 0).elements() * size_of(dtype);
  const bool two_hops = step.kind == BoxingKind::all_reduce && !one_hop(step, shape, dtype);
  // Every byte of the output is written, and at most so much read from the device's own part.
  const double copied = static_cast<double>(out + std::min(in, out)) / profile.memory_bytes_per_s;
  return cost_of(step, shape, dtype, topology).seconds + copied + profile.firing_s * (two_hops ? 2 : 1);
}

double BoxingPrices::seconds(Sbp from, Sbp to, const Shape& shape, DType dtype) {
  if (from == to) return 0;
  const auto key = std::tuple(from, to, shape.vector(), dtype);
  const auto it = known_.find(key);
  if (it != known_.end()) return it->second;
  double price = 0;
  for (const BoxingStep& step : boxing(Layout(group_, {from}), Layout(group_, {to}), shape, dtype, topology_)) {
    price += boxing_seconds(step, shape, dtype, topology_, profile_);
  }
  known_.emplace(key, price);
  return price;
}

}  // namespace troupe
