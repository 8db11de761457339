// Cycles of a marked graph: which of them hold no token, and which has the greatest time per token.
#pragma once

#include <cstdint>
#include <vector>

namespace troupe {

// An event graph: vertex `to` cannot happen for the k-th time before `from` has ended for the (k - tokens)-th time. A
// vertex takes `seconds[v]`.
struct TimedGraph {
  struct Edge {
    int from = 0;
    int to = 0;
    int tokens = 0;
  };
  std::vector<double> seconds;
  std::vector<Edge> edges;
};

// The vertices of a cycle without tokens, in order from the lowest; empty when every cycle holds at least one.
std::vector<int> tokenless_cycle(const TimedGraph& graph);

// The maximum over all cycles of time / tokens, and a cycle that has it. {0, {}} for a graph without cycles. Raises the
// ratio from cycle to cycle until no cycle is above it (Lawler 1976), each found by longest paths in the order of the
// edges without tokens. Every cycle must hold a token.
struct CycleRatio {
  double seconds = 0;
  std::vector<int> cycle;
};
CycleRatio max_cycle_ratio(const TimedGraph& graph);

}  // namespace troupe
