#include "planner/place.h"

#include <algorithm>

namespace troupe {
namespace {

constexpr int kNowhere = -1;

class PlaceStage {
 public:
  PlaceStage(const Graph& graph, const Pipeline& pipeline)
      : graph_(graph), pipeline_(pipeline), chunks_(graph.nodes().size(), kNowhere) {}

  std::vector<int> run() {
    for (size_t n = 0; n < chunks_.size(); ++n) {
      const Node& node = graph_.nodes()[n];
      if (node.role == Role::forward) chunks_[n] = named(node.path);
    }
    for (size_t n = 0; n < chunks_.size(); ++n) {
      if (chunks_[n] == kNowhere) chunks_[n] = chunk_for(graph_.nodes()[n]);
    }
    place_by_readers();
    place_updates();
    for (const Node& node : graph_.nodes()) check(node);
    return chunks_;
  }

 private:
  // The chunk of the longest path that is this one or above it.
  int named(std::string path) const {
    while (true) {
      const auto it = pipeline_.chunk_of.find(path);
      if (it != pipeline_.chunk_of.end()) return it->second;
      const size_t dot = path.rfind('.');
      if (dot == std::string::npos) return kNowhere;
      path.resize(dot);
    }
  }

  int of(ValueId value) const { return chunks_[graph_.value(value).producer.index()]; }
  bool is_variable(ValueId value) const { return graph_.node(graph_.value(value).producer).op->name == "variable"; }

  int chunk_for(const Node& node) const {
    if (node.role == Role::backward && node.origin.valid()) return chunks_[node.origin.index()];
    for (const auto& [output, input] : node.op->updates) {
      if (static_cast<size_t>(input) < node.inputs.size() && of(node.inputs[static_cast<size_t>(input)]) != kNowhere) {
        return of(node.inputs[static_cast<size_t>(input)]);
      }
    }
    if (!node.op->updates.empty()) return kNowhere;
    int last = kNowhere;
    int last_variable = kNowhere;
    for (ValueId input : node.inputs) {
      int& chunk = is_variable(input) ? last_variable : last;
      chunk = std::max(chunk, of(input));
    }
    return last != kNowhere ? last : last_variable;
  }

  // Updates of variables that are nowhere yet wait for these, and variables that nothing else reads for the updates.
  void place_by_readers() {
    std::vector<int> first(chunks_.size(), kNowhere);
    for (size_t n = chunks_.size(); n-- > 0;) {
      const OpDef& op = *graph_.nodes()[n].op;
      if (chunks_[n] == kNowhere && !op.updates.empty()) continue;
      if (chunks_[n] == kNowhere) chunks_[n] = op.name == "variable" ? first[n] : std::max(first[n], 0);
      if (chunks_[n] == kNowhere) continue;
      for (ValueId input : graph_.nodes()[n].inputs) {
        int& earliest = first[graph_.value(input).producer.index()];
        earliest = earliest == kNowhere ? chunks_[n] : std::min(earliest, chunks_[n]);
      }
    }
  }

  void place_updates() {
    for (size_t n = 0; n < chunks_.size(); ++n) {
      const Node& node = graph_.nodes()[n];
      if (node.op->updates.empty()) continue;
      if (chunks_[n] == kNowhere) chunks_[n] = std::max(chunk_for(node), 0);
      for (ValueId input : node.inputs) {
        int& chunk = chunks_[graph_.value(input).producer.index()];
        if (chunk == kNowhere) chunk = chunks_[n];
      }
    }
    for (int& chunk : chunks_) chunk = std::max(chunk, 0);
  }

  void check(const Node& node) const {
    if (node.role != Role::forward) return;
    const int here = chunks_[graph_.value(node.outputs.front()).producer.index()];
    for (ValueId input : node.inputs) {
      if (is_variable(input) || of(input) <= here) continue;
      throw PlanError(node.op->name, node.path,
                      "is in chunk " + std::to_string(here) + " of the pipeline, but reads " +
                          graph_.value(input).name + " of chunk " + std::to_string(of(input)) +
                          "; chunks in the order in which the model runs its modules would do",
                      node.line);
    }
  }

  const Graph& graph_;
  const Pipeline& pipeline_;
  std::vector<int> chunks_;  // by node
};

}  // namespace

std::vector<int> place(const Graph& graph, const Pipeline& pipeline) {
  if (!pipeline.is_cut()) return std::vector<int>(graph.nodes().size(), 0);
  return PlaceStage(graph, pipeline).run();
}

}  // namespace troupe
