#include "planner/cycle_ratio.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/check.h"

namespace troupe {
namespace {

size_t at(int v) { return static_cast<size_t>(v); }

// The vertices in an order in which edges without tokens point forward; shorter than the graph when there is none.
std::vector<int> tokenless_order(const TimedGraph& graph) {
  std::vector<std::vector<int>> next(graph.seconds.size());
  std::vector<int> waits_for(graph.seconds.size(), 0);
  for (const TimedGraph::Edge& edge : graph.edges) {
    if (edge.tokens > 0) continue;
    next[at(edge.from)].push_back(edge.to);
    ++waits_for[at(edge.to)];
  }
  std::vector<int> order;
  for (size_t v = 0; v < waits_for.size(); ++v) {
    if (waits_for[v] == 0) order.push_back(static_cast<int>(v));
  }
  for (size_t done = 0; done < order.size(); ++done) {
    for (int to : next[at(order[done])]) {
      if (--waits_for[at(to)] == 0) order.push_back(to);
    }
  }
  return order;
}

// Longest paths, pass after pass, until nothing changes or the last edges taken close a cycle: a cycle whose time is
// more than `ratio` per token.
class LongestPaths {
 public:
  LongestPaths(const TimedGraph& graph, const std::vector<int>& order) : graph_(graph), order_(order) {
    into_.resize(graph.seconds.size());
    for (const TimedGraph::Edge& edge : graph.edges) into_[at(edge.to)].push_back(&edge);
    // Differences of rounding are no improvements.
    tolerance_ = 1e-12 * std::accumulate(graph.seconds.begin(), graph.seconds.end(), 1e-12);
  }

  // The edges of such a cycle, in order; empty when there is none.
  std::vector<const TimedGraph::Edge*> cycle_above(double ratio) {
    best_.assign(graph_.seconds.size(), 0);
    taken_.assign(graph_.seconds.size(), nullptr);
    while (pass(ratio)) {
      std::vector<const TimedGraph::Edge*> cycle = closed();
      if (!cycle.empty()) return cycle;
    }
    return {};
  }

 private:
  bool pass(double ratio) {
    bool changed = false;
    for (int v : order_) {
      for (const TimedGraph::Edge* edge : into_[at(v)]) {
        const double length = best_[at(edge->from)] + graph_.seconds[at(edge->from)] - ratio * edge->tokens;
        if (length <= best_[at(v)] + tolerance_) continue;
        best_[at(v)] = length;
        taken_[at(v)] = edge;
        changed = true;
      }
    }
    return changed;
  }

  // A cycle among the edges last taken, if there is one.
  std::vector<const TimedGraph::Edge*> closed() const {
    std::vector<int> seen(graph_.seconds.size(), -1);
    for (int start : order_) {
      int v = start;
      while (seen[at(v)] < 0 && taken_[at(v)] != nullptr) {
        seen[at(v)] = start;
        v = taken_[at(v)]->from;
      }
      if (taken_[at(v)] == nullptr || seen[at(v)] != start) {
        seen[at(v)] = std::max(seen[at(v)], 0);
        continue;
      }
      std::vector<const TimedGraph::Edge*> cycle;
      const int first = v;
      do {
        cycle.push_back(taken_[at(v)]);
        v = taken_[at(v)]->from;
      } while (v != first);
      std::reverse(cycle.begin(), cycle.end());
      return cycle;
    }
    return {};
  }

  const TimedGraph& graph_;
  const std::vector<int>& order_;
  std::vector<std::vector<const TimedGraph::Edge*>> into_;
  std::vector<double> best_;
  std::vector<const TimedGraph::Edge*> taken_;
  double tolerance_ = 0;
};

}  // namespace

std::vector<int> tokenless_cycle(const TimedGraph& graph) {
  const std::vector<int> order = tokenless_order(graph);
  if (order.size() == graph.seconds.size()) return {};
  // Of the vertices left over, each has a predecessor that is left over too: walk back until one repeats.
  std::vector<bool> left(graph.seconds.size(), true);
  for (int v : order) left[at(v)] = false;
  std::vector<int> before(graph.seconds.size(), -1);
  for (const TimedGraph::Edge& edge : graph.edges) {
    if (edge.tokens == 0 && left[at(edge.from)] && left[at(edge.to)]) before[at(edge.to)] = edge.from;
  }
  int v = static_cast<int>(std::find(left.begin(), left.end(), true) - left.begin());
  std::vector<int> seen(graph.seconds.size(), 0);
  while (seen[at(v)]++ == 0) v = before[at(v)];
  std::vector<int> cycle;
  const int first = v;
  do {
    cycle.push_back(v);
    v = before[at(v)];
  } while (v != first);
  std::reverse(cycle.begin(), cycle.end());
  std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
  return cycle;
}

CycleRatio max_cycle_ratio(const TimedGraph& graph) {
  const std::vector<int> order = tokenless_order(graph);
  CHECK(order.size() == graph.seconds.size(), "a cycle without tokens");
  LongestPaths paths(graph, order);
  CycleRatio result;
  while (true) {
    const std::vector<const TimedGraph::Edge*> cycle = paths.cycle_above(result.seconds);
    if (cycle.empty()) return result;
    double seconds = 0;
    int tokens = 0;
    std::vector<int> vertices;
    for (const TimedGraph::Edge* edge : cycle) {
      vertices.push_back(edge->from);
      seconds += graph.seconds[at(edge->from)];
      tokens += edge->tokens;
    }
    CHECK(tokens > 0 && seconds / tokens > result.seconds, seconds, tokens, result.seconds);
    result = {seconds / tokens, std::move(vertices)};
  }
}

}  // namespace troupe
