// What is known about a plan before its first step.
//
// A plan is a synchronous dataflow graph: unrolled over one step it is a marked graph (every place has one producer and
// one consumer), and what follows from that is proved here on all edges at once: data, credits, control, stream order.
#pragma once

#include <string>
#include <vector>

#include "planner/cycle_ratio.h"
#include "runtime/plan/plan.h"

namespace troupe {

// The firings of one step and what each waits for. Vertex v is the firing `firing` of task `task` in a step.
struct Unrolled {
  struct Vertex {
    TaskId task;
    int firing = 0;
  };
  std::vector<Vertex> vertices;
  TimedGraph graph;  // an edge's tokens: how many steps back the firing lies that is waited for
};
Unrolled unroll(const Plan& plan);

struct Certificate {
  double step_s = 0;     // no run of this plan takes less time per step, under its predictions
  std::string critical;  // what sets it: a cycle, by the tasks that take longest on it, or the cores
  double cycle_s = 0;    // the maximum cycle ratio: step_s where every device runs by itself
  double busiest_s = 0;  // the work of the busiest stream per step
  // The part of a step in which even the busiest stream waits.
  double bubble() const { return cycle_s > busiest_s ? 1 - busiest_s / cycle_s : 0; }
};

// Throws PlanError that names a cycle without tokens: such a plan would hang.
// `cores`: executors that run at the same time; devices that share them cannot beat the sum of their work.
Certificate certify(const Plan& plan, const Unrolled& unrolled, int cores);

}  // namespace troupe
