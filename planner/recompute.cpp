#include "planner/recompute.h"

#include <algorithm>
#include <map>

#include "planner/rewrite.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr int kKept = -1;

class Recompute final : public GraphRewrite {
 public:
  Recompute(const Graph& graph, const std::vector<std::string>& modules)
      : GraphRewrite(graph),
        modules_(modules),
        module_of_(graph.nodes().size(), kKept),
        leaves_(graph.values().size()) {
    for (size_t n = 0; n < module_of_.size(); ++n) module_of_[n] = find_module(graph.nodes()[n]);
    for (size_t m = 0; m < modules.size(); ++m) {
      if (std::find(module_of_.begin(), module_of_.end(), static_cast<int>(m)) == module_of_.end()) {
        throw PlanError("recompute: nothing in the model's forward pass stands below '" + modules[m] + "'");
      }
    }
    for (size_t n = 0; n < module_of_.size(); ++n) {
      if (graph.nodes()[n].role == Role::backward) continue;
      for (ValueId input : graph.nodes()[n].inputs) {
        if (module_of(input) != module_of_[n]) leaves_[input.index()] = true;
      }
    }
    for (const OutputValue& output : graph.outputs()) leaves_[output.value.index()] = true;
  }

 private:
  int find_module(const Node& node) const {
    if (node.role != Role::forward || node.op->name == "variable" || node.op->name == "source") return kKept;
    const auto it = std::find_if(modules_.begin(), modules_.end(),
                                 [&](const std::string& module) { return is_below(node.path, module); });
    return it == modules_.end() ? kKept : static_cast<int>(it - modules_.begin());
  }
  int module_of(ValueId old) const { return module_of_[old_graph().value(old).producer.index()]; }

  ValueId input(size_t n, ValueId old) override {
    const Node& reader = old_graph().nodes()[n];
    if (reader.role != Role::backward || !reader.origin.valid()) return value(old);
    const int module = module_of(old);
    if (module == kKept || module != module_of_[reader.origin.index()] || leaves_[old.index()]) return value(old);
    return again(old);
  }

  // The value as it is made a second time.
  ValueId again(ValueId old) {
    const auto known = again_.find(old);
    if (known != again_.end()) return known->second;
    const Value& of = old_graph().value(old);
    const Node& made = old_graph().node(of.producer);
    std::vector<ValueId> inputs;
    for (ValueId in : made.inputs) {
      const bool inside = module_of(in) == module_of(old) && !leaves_[in.index()];
      inputs.push_back(inside ? again(in) : value(in));
    }
    Attrs attrs = made.attrs;
    if (made.op->random && !attrs.has("key")) attrs.set("key", static_cast<int64_t>(hash_path(made.path)));
    result().set_role(Role::backward);
    result().set_origin(node(of.producer));
    const std::vector<ValueId> outputs =
        result().add(made.op->name, inputs, attrs, scope_of(made) + ".again", made.line);
    for (size_t o = 0; o < outputs.size(); ++o) again_[made.outputs[o]] = outputs[o];
    return again_.at(old);
  }

  std::vector<ValueId> also_pinned(ValueId old) const override {
    const auto known = again_.find(old);
    return known == again_.end() ? std::vector<ValueId>{} : std::vector<ValueId>{known->second};
  }

  const std::vector<std::string>& modules_;
  std::vector<int> module_of_;        // by node
  std::vector<bool> leaves_;          // by value: read outside of its module's forward pass
  std::map<ValueId, ValueId> again_;  // by value of the old graph
};

}  // namespace

bool is_below(const std::string& path, const std::string& module) {
  return path.starts_with(module) && path.size() > module.size() && path[module.size()] == '.';
}

Graph recompute(const Graph& graph, const std::vector<std::string>& modules) {
  return modules.empty() ? graph : Recompute(graph, modules).run();
}

}  // namespace troupe
