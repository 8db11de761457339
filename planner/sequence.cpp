#include "planner/sequence.h"

#include "planner/rewrite.h"

namespace troupe {
namespace {

class SplitSequence final : public GraphRewrite {
 public:
  SplitSequence(const Graph& graph, const Choices& choices, int axis)
      : GraphRewrite(graph), choices_(choices), split_{choices.mesh.axis(axis).size, choices.sequence_ring} {}

 private:
  std::vector<ValueId> outputs(size_t n, std::vector<ValueId> copied) override {
    const Node& old = old_graph().nodes()[n];
    if (old.op->split_sequence == nullptr) return copied;
    GradientBuilder builder = builder_of(copied);
    split_.made.clear();
    const std::vector<ValueId> built = old.op->split_sequence(builder, split_);
    for (const auto& [value, sbp] : split_.made) {
      result().pin({value, choices_.sequence_axis, sbp, old.line, "the split of the sequence", true});
    }
    return built;
  }

  const Choices& choices_;
  SequenceSplit split_;
};

}  // namespace

Graph split_sequence(const Graph& graph, const Choices& choices) {
  const int axis = choices.mesh.find_axis(choices.sequence_axis);
  if (axis < 0 || choices.mesh.axis(axis).size == 1) return graph;
  return SplitSequence(graph, choices, axis).run();
}

}  // namespace troupe
