#include "planner/next_versions.h"

#include <functional>
#include <queue>

#include "runtime/base/check.h"

namespace troupe {
namespace {

bool changes(const Variable& variable) { return variable.next.valid() && variable.next != variable.value; }

// Whether the op is one that writes this variable's next version over the old one.
bool can_overwrite(const Graph& graph, const Variable& variable) {
  const Value& next = graph.value(variable.next);
  const Node& node = graph.node(next.producer);
  for (const auto& [output, input] : node.op->updates) {
    const auto operand = static_cast<size_t>(input);
    if (output == next.output && operand < node.inputs.size() && node.inputs[operand] == variable.value) return true;
  }
  return false;
}

// By node: whether it depends on node `from`, which does not count itself.
std::vector<bool> descendants(const Graph& graph, NodeId from) {
  std::vector<bool> depends(graph.nodes().size(), false);
  for (size_t n = from.index() + 1; n < depends.size(); ++n) {
    for (ValueId input : graph.nodes()[n].inputs) {
      const NodeId producer = graph.value(input).producer;
      if (producer == from || depends[producer.index()]) depends[n] = true;
    }
  }
  return depends;
}

}  // namespace

NextVersions::NextVersions(const Graph& graph, const std::vector<bool>& needed) {
  find_in_place(graph, needed);
  while (!find_order(graph, needed)) {
  }
}

void NextVersions::find_in_place(const Graph& graph, const std::vector<bool>& needed) {
  std::vector<int> reads(graph.values().size(), 0);
  std::vector<int> next_of(graph.values().size(), 0);  // of how many variables
  std::vector<std::vector<size_t>> readers(graph.values().size());
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    if (!needed[n]) continue;
    for (ValueId input : graph.nodes()[n].inputs) {
      ++reads[input.index()];
      readers[input.index()].push_back(n);
    }
  }
  for (const OutputValue& output : graph.outputs()) ++reads[output.value.index()];
  for (const Variable& variable : graph.variables()) {
    if (changes(variable)) ++next_of[variable.next.index()];
  }
  for (const Variable& variable : graph.variables()) {
    in_place_.push_back(changes(variable) && can_overwrite(graph, variable) && reads[variable.next.index()] == 0 &&
                        next_of[variable.next.index()] == 1);
    if (!in_place_.back()) continue;
    const NodeId update = graph.value(variable.next).producer;
    int dependents = 0;
    for (ValueId output : graph.node(update).outputs) dependents += reads[output.index()];
    if (dependents == 0) continue;
    const std::vector<bool> depends = descendants(graph, update);
    for (size_t reader : readers[variable.value.index()]) {
      if (depends[reader]) in_place_.back() = false;
    }
  }
}

// Of all that is ready, what stands first in the graph comes next. False when updates wait for one another, each as a
// reader of what the other overwrites: then one of them no longer overwrites.
bool NextVersions::find_order(const Graph& graph, const std::vector<bool>& needed) {
  std::vector<Item> items;
  std::vector<std::vector<size_t>> before;  // by item: those that wait for it
  std::vector<int> waits;
  const auto add = [&](Item::Kind kind, size_t index) {
    items.push_back({kind, index});
    before.emplace_back();
    waits.push_back(0);
    return items.size() - 1;
  };
  const auto wait = [&](size_t item, size_t on) {
    before[on].push_back(item);
    ++waits[item];
  };
  std::vector<std::vector<size_t>> readers(graph.values().size());  // items
  const auto reads = [&](size_t item, ValueId value) {
    wait(item, graph.value(value).producer.index());
    readers[value.index()].push_back(item);
  };
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    add(Item::node, n);
    if (!needed[n]) continue;
    for (ValueId input : graph.nodes()[n].inputs) reads(n, input);
  }
  for (size_t o = 0; o < graph.outputs().size(); ++o) reads(add(Item::fetch, o), graph.outputs()[o].value);
  std::vector<size_t> writer(graph.variables().size(), 0);
  for (size_t v = 0; v < graph.variables().size(); ++v) {
    const Variable& variable = graph.variables()[v];
    if (!changes(variable)) continue;
    const NodeId producer = graph.value(variable.next).producer;
    if (in_place_[v]) {
      writer[v] = producer.index();
    } else if (graph.node(producer).op->name == "variable") {
      const size_t held = add(Item::hold, v);
      reads(held, variable.next);
      wait(writer[v] = add(Item::assign, v), held);
    } else {
      reads(writer[v] = add(Item::assign, v), variable.next);
    }
  }
  for (size_t v = 0; v < graph.variables().size(); ++v) {
    if (!changes(graph.variables()[v])) continue;
    for (size_t reader : readers[graph.variables()[v].value.index()]) {
      if (reader != writer[v]) wait(writer[v], reader);
    }
  }
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < items.size(); ++i) {
    if (waits[i] == 0) ready.push(i);
  }
  order_.clear();
  while (!ready.empty()) {
    const size_t i = ready.top();
    ready.pop();
    if (items[i].kind != Item::node || needed[items[i].index]) order_.push_back(items[i]);
    for (size_t next : before[i]) {
      if (--waits[next] == 0) ready.push(next);
    }
  }
  for (size_t v = 0; v < in_place_.size(); ++v) {
    if (!in_place_[v] || waits[writer[v]] == 0) continue;
    in_place_[v] = false;
    return false;
  }
  return true;
}

}  // namespace troupe
