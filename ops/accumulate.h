// The canonical sum of a gradient over the pieces of a step (DESIGN: "canonical reduction"): pieces of a batch shard in
// order, shards along one fixed binary tree whose left child takes the largest power of two below the count. Every
// device sums what it has of the tree; the devices' nodes are then added along the rest of it.
//
//   shards 0..5 of 6 on two devices:        device 0: shards 0,1,2 -> nodes [0,2) [2,3)
//            [0,6)                          device 1: shards 3,4,5 -> nodes [3,4) [4,6)
//       [0,4)     [4,6)                     program over the four nodes: 0 1 2 + + 3 +
//    [0,2) [2,4)  4   5
//    0  1  2  3
//
// All functions are pure.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace troupe {

// A node of the tree over `total` leaves: the sum of the leaves [begin, end).
struct TreeNode {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const TreeNode&) const = default;
};

// Where the left child of [begin, end) ends; end - begin >= 2.
inline int64_t left_end(int64_t begin, int64_t end) {
  return begin + static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(end - begin - 1)));
}

// Calls visit(begin, end) for the largest nodes within [first, last) below the node [begin, end), in order.
template <class Visit>
void visit_nodes(int64_t begin, int64_t end, int64_t first, int64_t last, Visit& visit) {
  if (last <= begin || end <= first) return;
  if (first <= begin && end <= last) return visit(begin, end);
  const int64_t middle = left_end(begin, end);
  visit_nodes(begin, middle, first, last, visit);
  visit_nodes(middle, end, first, last, visit);
}

// The largest nodes of the tree over `total` leaves that lie within [first, first + count), in order: what a device
// with these leaves can add up by itself.
std::vector<TreeNode> final_nodes(int64_t first, int64_t count, int64_t total);
// Their number, without allocating.
inline int64_t final_node_count(int64_t first, int64_t count, int64_t total) {
  int64_t nodes = 0;
  const auto visit = [&](int64_t, int64_t) { ++nodes; };
  if (count > 0) visit_nodes(0, total, first, first + count, visit);
  return nodes;
}

// How many accumulators a device with these leaves needs when it adds leaf by leaf.
int64_t accumulator_depth(int64_t first, int64_t count, int64_t total);

// Adds nodes that together are all leaves, in order, along the tree: a postfix program in which an int >= 0 pushes that
// node and -1 adds the two on top (see cpu::sum_tree).
std::vector<int> tree_program(const std::vector<TreeNode>& nodes, int64_t total);

}  // namespace troupe
