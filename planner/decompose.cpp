#include "planner/decompose.h"

#include <algorithm>

#include "planner/rewrite.h"

namespace troupe {
namespace {

class Decompose final : public GraphRewrite {
 public:
  Decompose(const Graph& graph, const std::vector<const OpDef*>& ops) : GraphRewrite(graph), ops_(ops) {}

 private:
  // What nobody reads any more is dropped by `pieces`.
  std::vector<ValueId> outputs(size_t n, std::vector<ValueId> copied) override {
    const Node& old = old_graph().nodes()[n];
    if (std::find(ops_.begin(), ops_.end(), old.op) == ops_.end()) return copied;
    GradientBuilder builder = builder_of(copied);
    return old.op->decompose(builder);
  }

  const std::vector<const OpDef*>& ops_;
};

}  // namespace

std::vector<std::vector<const OpDef*>> decomposable_ops(const Graph& graph) {
  std::vector<std::vector<const OpDef*>> kinds;
  const auto with = [&](const OpDef* op) {
    return std::find_if(kinds.begin(), kinds.end(),
                        [&](const auto& kind) { return std::find(kind.begin(), kind.end(), op) != kind.end(); });
  };
  for (const Node& node : graph.nodes()) {
    if (node.op->decompose == nullptr || with(node.op) != kinds.end()) continue;
    const auto forward = node.origin.valid() ? with(graph.node(node.origin).op) : kinds.end();
    forward == kinds.end() ? kinds.push_back({node.op}) : forward->push_back(node.op);
  }
  return kinds;
}

Graph decompose(const Graph& graph, const std::vector<const OpDef*>& ops) { return Decompose(graph, ops).run(); }

}  // namespace troupe
