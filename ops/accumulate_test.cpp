#include "ops/accumulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "ops/cpu/reduce_tree.h"
#include "ops/interpret.h"
#include "runtime/base/box.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr int64_t kElements = 5;

// Gradients of all pieces, of magnitudes that make another order of the sum another result.
std::vector<HostTensor> gradients(int64_t count, DType dtype) {
  Random random(static_cast<uint64_t>(count));
  std::vector<HostTensor> result;
  for (int64_t i = 0; i < count; ++i) {
    std::vector<double> numbers;
    for (int64_t e = 0; e < kElements; ++e) {
      numbers.push_back((random.uniform() - 0.5) * static_cast<double>(1 << random.below(12)));
    }
    result.emplace_back(TensorType{dtype, {kElements}});
    result.back().set_numbers(numbers);
  }
  return result;
}

HostTensor sum(const HostTensor& a, const HostTensor& b) {
  const HostTensor both[] = {a, b};
  return run_op(*find_op("add"), {}, both)[0];
}

// The definition: pieces of a shard in order, shards along the tree.
HostTensor tree_sum(const std::vector<HostTensor>& pieces, int64_t per_shard, int64_t begin, int64_t end) {
  if (end - begin > 1) {
    const int64_t middle = left_end(begin, end);
    return sum(tree_sum(pieces, per_shard, begin, middle), tree_sum(pieces, per_shard, middle, end));
  }
  HostTensor total = pieces[static_cast<size_t>(begin * per_shard)];
  for (int64_t i = 1; i < per_shard; ++i) total = sum(total, pieces[static_cast<size_t>(begin * per_shard + i)]);
  return total;
}

// What a device's accumulate holds after a step: one tensor per final node, in a buffer of accumulator_depth tensors.
std::vector<HostTensor> accumulated(const std::vector<HostTensor>& pieces, int64_t per_shard, int64_t first,
                                    int64_t count, int64_t total, int64_t firings) {
  const Attrs attrs = {
      {"pieces_per_shard", per_shard}, {"shards", count}, {"first_shard", first}, {"total_shards", total}};
  const DType dtype = pieces[0].type().dtype;
  const int64_t depth = accumulator_depth(first, count, total);
  HostTensor buffer({dtype, {depth, kElements}});
  TensorView output = buffer.view();
  output.shape = output.logical = {kElements};
  output.offset = {0};
  for (int64_t round = 0; round < firings; ++round) {
    const TensorView input = pieces[static_cast<size_t>(first * per_shard + round)].view();
    run_kernel(*find_op("accumulate"), attrs, {&input, 1}, {&output, 1},
               {.firing = {.round = static_cast<int32_t>(round)}});
  }
  std::vector<HostTensor> nodes;
  for (int64_t i = 0; i < final_node_count(first, count, total); ++i) {
    nodes.emplace_back(TensorType{dtype, {kElements}});
    for (int64_t e = 0; e < kElements; ++e) {
      if (dtype == DType::f32) {
        nodes.back().as<float>()[static_cast<size_t>(e)] = buffer.as<float>()[static_cast<size_t>(i * kElements + e)];
      } else {
        nodes.back().as<double>()[static_cast<size_t>(e)] = buffer.as<double>()[static_cast<size_t>(i * kElements + e)];
      }
    }
  }
  return nodes;
}

HostTensor run_program(const std::vector<HostTensor>& nodes, const std::vector<int>& program) {
  HostTensor out({DType::f32, {kElements}});
  std::vector<const float*> inputs;
  for (const HostTensor& node : nodes) inputs.push_back(node.as<float>().data());
  cpu::sum_tree<float>(out.as<float>().data(), inputs.data(), static_cast<int64_t>(inputs.size()), program.data(),
                       static_cast<int64_t>(program.size()), 0, kElements);
  return out;
}

// Calls visit(counts) for some ways to deal `total` shards to `devices` in runs: balanced ones, and random ones.
void for_splits(int64_t total, int64_t devices, const std::function<void(const std::vector<int64_t>&)>& visit) {
  std::vector<int64_t> balanced;
  for (int64_t i = 0; i < devices; ++i) balanced.push_back(part_of(total, devices, i).size);
  visit(balanced);
  Random random(static_cast<uint64_t>(total * 100 + devices));
  for (int trial = 0; trial < 3; ++trial) {
    std::vector<int64_t> cuts = {0, total};
    for (int64_t i = 1; i < devices; ++i) cuts.push_back(random.between(0, total));
    std::sort(cuts.begin(), cuts.end());
    std::vector<int64_t> counts;
    for (size_t i = 1; i < cuts.size(); ++i) counts.push_back(cuts[i] - cuts[i - 1]);
    visit(counts);
  }
}

TEST(Accumulate, GivesTheBitsOfTheTreeOnAnyNumberOfDevices) {
  for (int64_t total = 1; total <= 16; ++total) {
    for (int64_t per_shard : {1, 3}) {
      const std::vector<HostTensor> pieces = gradients(total * per_shard, DType::f32);
      const HostTensor right = tree_sum(pieces, per_shard, 0, total);
      for (int64_t devices = 1; devices <= 8; ++devices) {
        for_splits(total, devices, [&](const std::vector<int64_t>& counts) {
          std::vector<TreeNode> nodes;
          std::vector<HostTensor> sums;
          int64_t first = 0;
          for (int64_t count : counts) {
            const std::vector<TreeNode> own = final_nodes(first, count, total);
            nodes.insert(nodes.end(), own.begin(), own.end());
            for (HostTensor& node : accumulated(pieces, per_shard, first, count, total, count * per_shard)) {
              sums.push_back(std::move(node));
            }
            first += count;
          }
          ASSERT_EQ(nodes.size(), sums.size());
          for (size_t i = 0; i < nodes.size(); ++i) {
            EXPECT_EQ(sums[i], tree_sum(pieces, per_shard, nodes[i].begin, nodes[i].end)) << total << " " << devices;
          }
          EXPECT_EQ(run_program(sums, tree_program(nodes, total)), right) << total << " shards, " << devices;
        });
      }
    }
  }
}

TEST(Accumulate, AnotherOrderGivesOtherBits) {
  // The test above would prove nothing if it did not matter.
  const std::vector<HostTensor> pieces = gradients(7, DType::f32);
  HostTensor in_order = pieces[0];
  for (size_t i = 1; i < pieces.size(); ++i) in_order = sum(in_order, pieces[i]);
  EXPECT_NE(in_order, tree_sum(pieces, 1, 0, 7));
}

TEST(Accumulate, FiringsBeyondTheDevicesShardsAddNothing) {
  const std::vector<HostTensor> pieces = gradients(4, DType::f64);
  EXPECT_EQ(accumulated(pieces, 1, 0, 3, 4, 4), accumulated(pieces, 1, 0, 3, 4, 3));
}

TEST(Accumulate, NodesAreTheLargestThatADeviceHas) {
  EXPECT_EQ(final_nodes(0, 3, 6), (std::vector<TreeNode>{{0, 2}, {2, 3}}));
  EXPECT_EQ(final_nodes(3, 3, 6), (std::vector<TreeNode>{{3, 4}, {4, 6}}));
  EXPECT_EQ(final_nodes(0, 6, 6), (std::vector<TreeNode>{{0, 6}}));
  EXPECT_EQ(final_nodes(4, 4, 8), (std::vector<TreeNode>{{4, 8}}));
  EXPECT_TRUE(final_nodes(2, 0, 8).empty());
}

TEST(Accumulate, AProgramAddsNodesAlongTheTree) {
  EXPECT_EQ(tree_program({{0, 2}, {2, 3}, {3, 4}, {4, 6}}, 6), (std::vector<int>{0, 1, 2, -1, -1, 3, -1}));
  EXPECT_EQ(tree_program({{0, 8}}, 8), (std::vector<int>{0}));
}

TEST(Accumulate, AlignedRunsNeedOnePlusLog2Accumulators) {
  for (int64_t run : {1, 2, 4, 8, 16}) {
    for (int64_t first = 0; first < 32; first += run) {
      int64_t log2 = 0;
      while ((int64_t{2} << log2) <= run) ++log2;
      EXPECT_EQ(accumulator_depth(first, run, 32), 1 + log2) << first << " " << run;
    }
  }
}

TEST(Accumulate, OtherRunsNeedAtMostOnePlusTwiceLog2Accumulators) {
  for (int64_t total = 1; total <= 40; ++total) {
    for (int64_t first = 0; first < total; ++first) {
      for (int64_t count = 1; first + count <= total; ++count) {
        int64_t log2 = 0;
        while ((int64_t{2} << log2) <= count) ++log2;
        EXPECT_LE(accumulator_depth(first, count, total), 1 + 2 * log2) << first << "+" << count << " of " << total;
      }
    }
  }
}

}  // namespace
}  // namespace troupe
