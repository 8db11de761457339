// Boxing: the steps that take a tensor from one layout to another, decided here and nowhere else.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/box.h"
#include "runtime/base/dtype.h"
#include "runtime/base/profile.h"
#include "sbp/layout.h"

namespace troupe {

enum class BoxingKind : uint8_t {
  slice,           // B -> S, S -> finer S: each device keeps a part of what it has
  zero_fill,       // B -> P, S -> P: the rest is filled with the neutral element of the reduction
  all_reduce,      // P -> B
  reduce_scatter,  // P -> S
  all_gather,      // S -> B
  all_to_all,      // S(i) -> S(j)
  permute,         // S(i) -> S(i) in another order of parts: each device gets its part from one other
  exchange,        // else: each device pulls the slices it needs (and adds them for P), on any meshes
};
const char* name_of(BoxingKind kind);

// The order in which a partial sum is added. `tree`: the fixed binary tree over the members in order of their
// coordinate (the left child takes the largest power of two below the count). `any`: the library's choice.
enum class SumOrder : uint8_t { tree, any };

struct BoxingStep {
  BoxingKind kind;
  int axis;  // the axis of the collective in from's mesh; -1 for exchange
  Layout from;
  Layout to;
  bool operator==(const BoxingStep&) const = default;
  // "reduce_scatter(axis=tp, dim=0): P,B -> S(0),B"
  std::string str() const;
};

// Every pair has an answer: any SBPs, any orders, uneven and empty parts, the same mesh or any other. An
// empty list when every device holds the right part already (also: only axes of size 1 differ, or another
// mesh places the same parts on the same devices). An axis that alone differs and is minor-most on its dims
// takes its one collective. Else the cheapest composition under the topology is taken, an exchange only when
// it is strictly cheaper than collectives alone; ties go to the fewest steps, then to the smallest text.
// Kinds of partial convert through B. Several axes that are added: the outermost first (a tree along each),
// under SumOrder::any in the cheapest sequence. Throws PlanError only when a layout does not fit the shape or
// the topology lacks a device.
std::vector<BoxingStep> boxing(const Layout& from, const Layout& to, const Shape& shape, DType dtype,
                               const Topology& topology, SumOrder order = SumOrder::tree);

// Bytes over all devices and bytes of one device are different types.
struct TotalBytes {
  int64_t value = 0;
  auto operator<=>(const TotalBytes&) const = default;
};
struct DeviceBytes {
  int64_t value = 0;
  auto operator<=>(const DeviceBytes&) const = default;
};

// What a step costs. Bytes are those that devices receive from other devices; an all-reduce counts 2T(p-1)/p
// however it is executed. Totals are exact, also for uneven parts, with two exceptions: in a group that
// several kinds of link connect, uneven parts are shared out among the kinds by the number of pairs; and an
// exchange to more than 64 devices is counted on 64 of them, evenly spaced.
struct BoxingCost {
  std::array<TotalBytes, kLinkKinds> bytes{};  // per link kind, over all devices
  std::array<int64_t, kLinkKinds> messages{};  // per link kind, over all devices
  DeviceBytes most_received{};                 // by one device
  double seconds = 0;                          // under the topology
  TotalBytes total() const;
};
BoxingCost cost_of(const BoxingStep& step, const Shape& shape, DType dtype, const Topology& topology);
BoxingCost cost_of(const std::vector<BoxingStep>& steps, const Shape& shape, DType dtype, const Topology& topology);

// How one device assembles its part of `to` from the parts of `from` that other devices hold: the same for
// every kind of step, and the whole of what executes one over memory that all can read.
struct Pull {
  struct Region {
    // In logical coordinates, inside the device's box of `to`.
    Box box;
    // Positions in from's mesh; each holds all of `box`. More than one: to be reduced, along the fixed tree
    // over this list (the outermost partial axis varies fastest).
    std::vector<int> sources;
    bool operator==(const Region&) const = default;
  };
  Box out;                      // the device's box of `to`
  std::vector<Region> regions;  // disjoint; what they do not cover is filled with the neutral element
  Reduction reduction = Reduction::sum;
  bool operator==(const Pull&) const = default;
};

// Each piece is pulled once, from one holder: itself if it can, else the nearest by topology, else by an even
// spread. `position` is in to's mesh. An axis that is partial alike in both (with the same axes) keeps its
// coordinates apart. Newly partial: from B the device with coordinate 0 of the axis keeps the value (all do
// for max and min); from S each keeps its part. Partial axes of `from` with different reductions cannot be
// reduced in one pull; boxing() reduces them in steps.
Pull pull_of(const Layout& from, const Layout& to, const Shape& shape, int position, const Topology& topology);

}  // namespace troupe
