#include "planner/pulls.h"

#include <algorithm>
#include <bit>

#include "ops/accumulate.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

class PullStage {
 public:
  PullStage(const TaskGraph& graph, const Program& program, const Choices& choices, const ClassTask& task, int position)
      : program_(program),
        choices_(choices),
        task_(task),
        position_(position),
        local_(choices.in_stage(position)),
        input_(graph.registers[static_cast<size_t>(task.inputs.front())]),
        step_(*program.node(task.node).boxing),
        shape_(program.value(input_.value).type.shape) {}

  DevicePull run() {
    switch (task_.operands) {
      case Operands::sliced:
        return slice();
      case Operands::joined:
        return join();
      default:
        return regions();
    }
  }

 private:
  int input_of(int source) {
    const auto found = std::find(pull_.sources.begin(), pull_.sources.end(), source);
    if (found != pull_.sources.end()) return static_cast<int>(found - pull_.sources.begin());
    pull_.sources.push_back(source);
    return static_cast<int>(pull_.sources.size()) - 1;
  }

  // Lists the sources of a region: a tensor of each, or, of an accumulator, each tree node it ended up with, and the
  // program that adds them along the one tree over all batch shards.
  void add_sources(PullRegion& region, std::vector<int> sources, const auto& offset_in) {
    std::vector<TreeNode> nodes;
    // Where one device has all batch shards, its accumulator ends with the whole tree; what is added then are the parts
    // along other axes.
    const bool in_nodes = input_.accumulates && choices_.data_parallel_size() > 1;
    if (in_nodes) {
      std::sort(sources.begin(), sources.end(),
                [&](int a, int b) { return data_rank(choices_, a) < data_rank(choices_, b); });
    }
    int64_t first = 0;
    for (int source : sources) {
      if (!in_nodes) {
        nodes.push_back({static_cast<int64_t>(nodes.size()), static_cast<int64_t>(nodes.size()) + 1});
        region.sources.push_back({input_of(source), 0, offset_in(source)});
        continue;
      }
      const ShardRange range =
          shards_of(choices_.batch_shards, choices_.data_parallel_size(), data_rank(choices_, source));
      const int64_t elements = step_.from.local_shape(shape_, choices_.in_stage(source)).elements();
      if (source == sources.front()) first = range.first;
      int64_t held = 0;
      for (const TreeNode& node : final_nodes(range.first, range.count, choices_.batch_shards)) {
        nodes.push_back({node.begin - first, node.end - first});
        region.sources.push_back({input_of(source), elements * held++, offset_in(source)});
      }
    }
    // All leaves, or those of one node of the tree.
    int64_t total = 0;
    for (const TreeNode& node : nodes) total += node.end - node.begin;
    CHECK(!in_nodes || total == choices_.batch_shards ||
              (std::has_single_bit(static_cast<uint64_t>(total)) && first % total == 0),
          task_.name, first, total);
    region.program = tree_program(nodes, total);
  }

  DevicePull regions() {
    const Pull pull = pull_of(step_.from, step_.to, shape_, local_, choices_.topology);
    int64_t covered = 0;
    for (const Pull::Region& from : pull.regions) {
      PullRegion region{minus(from.box.offset, pull.out.offset), from.box.extent, {}, {}};
      std::vector<int> sources = from.sources;
      for (int& source : sources) source += input_.stage * choices_.mesh.size();
      add_sources(region, std::move(sources), [&](int source) {
        return minus(from.box.offset, step_.from.box(shape_, choices_.in_stage(source)).offset);
      });
      covered += from.box.elements();
      pull_.regions.push_back(std::move(region));
    }
    pull_.filled = covered < pull.out.elements();
    pull_.reduction = pull.reduction;
    return std::move(pull_);
  }

  DevicePull slice() {
    const Group group = group_of(choices_, position_, step_.axis);
    const Part part = member_part(group, group.rank);
    PullRegion region{{0}, {part.size}, {}, {}};
    add_sources(region, group.positions, [&](int) { return Dims{part.offset}; });
    pull_.regions.push_back(std::move(region));
    pull_.flat = true;
    pull_.reduction = step_.from.sbp(step_.axis).reduction;
    return std::move(pull_);
  }

  DevicePull join() {
    const Group group = group_of(choices_, position_, step_.axis);
    for (size_t member = 0; member < group.positions.size(); ++member) {
      const Part part = member_part(group, static_cast<int>(member));
      pull_.regions.push_back({{part.offset}, {part.size}, {{input_of(group.positions[member]), 0, {0}}}, {0}});
    }
    pull_.flat = true;
    return std::move(pull_);
  }

  Part member_part(const Group& group, int rank) const {
    const int64_t elements = step_.from.local_shape(shape_, local_).elements();
    const DType dtype = program_.value(input_.value).type.dtype;
    return slice_of(elements, dtype, static_cast<int64_t>(group.positions.size()), rank);
  }

  static Dims minus(const Dims& a, const Dims& b) {
    Dims result = a;
    for (int d = 0; d < a.rank(); ++d) result[d] -= b[d];
    return result;
  }

  const Program& program_;
  const Choices& choices_;
  const ClassTask& task_;
  int position_;
  int local_;  // in its stage
  const ClassRegister& input_;
  const BoxingStep& step_;
  const Shape& shape_;
  DevicePull pull_;
};

}  // namespace

DevicePull device_pull(const TaskGraph& graph, const Program& program, const Choices& choices, const ClassTask& task,
                       int position) {
  return PullStage(graph, program, choices, task, position).run();
}

}  // namespace troupe
