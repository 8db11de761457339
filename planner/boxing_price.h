// What a boxing step is predicted to take on one device: deduce chooses by it, shard writes it into the tasks.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "runtime/base/profile.h"
#include "sbp/boxing.h"

namespace troupe {

// Whether an all-reduce is one task per member, that adds all of the tensor, rather than two: one that adds a slice and
// one that joins the slices of all.
bool one_hop(const BoxingStep& step, const Shape& shape, DType dtype);

// The links' time, the copying within the device, and the cost of the firings.
double boxing_seconds(const BoxingStep& step, const Shape& shape, DType dtype, const Topology& topology,
                      const Profile& profile);

// The price of taking a tensor from one SBP to another along one axis; remembers what it was asked. `group`: a mesh of
// that axis alone.
class BoxingPrices {
 public:
  BoxingPrices(const Mesh& group, const Topology& topology, const Profile& profile)
      : group_(group), topology_(topology), profile_(profile) {}

  double seconds(Sbp from, Sbp to, const Shape& shape, DType dtype);

 private:
  const Mesh group_;
  const Topology& topology_;
  const Profile& profile_;
  std::map<std::tuple<Sbp, Sbp, std::vector<int64_t>, DType>, double> known_;
};

}  // namespace troupe
