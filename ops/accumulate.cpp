#include "ops/accumulate.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "ops/cpu/pointwise.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

void append_program(int64_t begin, int64_t end, const std::vector<TreeNode>& nodes, std::vector<int>& program) {
  const auto it = std::lower_bound(nodes.begin(), nodes.end(), begin,
                                   [](const TreeNode& node, int64_t leaf) { return node.begin < leaf; });
  if (it != nodes.end() && *it == TreeNode{begin, end}) {
    program.push_back(static_cast<int>(it - nodes.begin()));
    return;
  }
  CHECK(end - begin >= 2, "a leaf is in no node", begin);
  const int64_t middle = left_end(begin, end);
  append_program(begin, middle, nodes, program);
  append_program(middle, end, nodes, program);
  program.push_back(-1);
}

}  // namespace

std::vector<TreeNode> final_nodes(int64_t first, int64_t count, int64_t total) {
  std::vector<TreeNode> nodes;
  const auto visit = [&](int64_t begin, int64_t end) { nodes.push_back({begin, end}); };
  if (count > 0) visit_nodes(0, total, first, first + count, visit);
  return nodes;
}

int64_t accumulator_depth(int64_t first, int64_t count, int64_t total) {
  int64_t depth = 0;
  for (int64_t leaves = 0; leaves < count; ++leaves) {
    depth = std::max(depth, final_node_count(first, leaves, total) + 1);  // and the leaf that is being added
  }
  return depth;
}

std::vector<int> tree_program(const std::vector<TreeNode>& nodes, int64_t total) {
  std::vector<int> program;
  if (total > 0) append_program(0, total, nodes, program);
  return program;
}

namespace define {
namespace {

template <class T>
void add_in_place(T* accumulator, const T* x, int64_t n) {
  if constexpr (std::is_floating_point_v<T>) {
    cpu::add_in_place(accumulator, x, n);
  } else {
    for (int64_t i = 0; i < n; ++i) accumulator[i] += x[i];
  }
}

std::vector<TensorType> infer_accumulate(const OpArgs& args) {
  expect_operands(args, 1);
  expect_number(args, 0, "x");
  return {args.inputs[0]};
}

// The output is a stack of accumulators, each of the output's shape, with the largest complete nodes in order from the
// bottom. How many there are follows from the round alone. A firing beyond the device's shards adds nothing.
void accumulate_cpu(const KernelArgs& args, Stream&) {
  const Attrs& attrs = *args.attrs;
  const int64_t pieces = attrs.integer("pieces_per_shard");
  const int64_t first = attrs.integer("first_shard");
  const int64_t total = attrs.integer("total_shards");
  const int64_t leaf = args.firing.round / pieces;
  const int64_t piece = args.firing.round % pieces;
  if (leaf >= attrs.integer("shards")) return;

  const int64_t below = final_node_count(first, leaf, total);
  int64_t merges = below + 1 - final_node_count(first, leaf + 1, total);
  const TensorView& x = args.inputs[0];
  const int64_t n = args.outputs[0].elements();
  with_number(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* stack = args.outputs[0].as<T>();
    int64_t top = below;
    if (pieces == 1 && merges > 0) {  // the leaf goes straight into its sibling
      add_in_place(stack + --top * n, x.as<T>(), n);
      --merges;
    } else if (piece == 0) {
      if (n > 0) std::memcpy(stack + top * n, x.as<T>(), static_cast<size_t>(n) * sizeof(T));
    } else {
      add_in_place(stack + top * n, x.as<T>(), n);
    }
    if (piece != pieces - 1) return;
    for (; merges > 0; --merges, --top) add_in_place(stack + (top - 1) * n, stack + top * n, n);
  });
}

}  // namespace

OpDef accumulate() {
  return {.name = "accumulate",
          .inputs = {"x"},
          .outputs = {"y"},
          .doc = "y = the sum of x over the pieces of a step, along one fixed tree.",
          .rule_of = [](const OpArgs& args) { return pointwise_rule(args, "additive"); },
          .infer = infer_accumulate,
          .cpu = accumulate_cpu};
}

}  // namespace define
}  // namespace troupe
