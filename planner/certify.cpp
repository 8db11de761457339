#include "planner/certify.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

// Floor division: how many steps forward (negative: back) the i-th of `n` lies.
int64_t steps_of(int64_t i, int64_t n) { return i >= 0 ? i / n : -((-i + n - 1) / n); }

class Unroller {
 public:
  explicit Unroller(const Plan& plan) : plan_(plan) {
    for (size_t t = 0; t < plan.tasks.size(); ++t) {
      first_.push_back(static_cast<int>(result_.vertices.size()));
      for (int firing = 0; firing < plan.tasks[t].firings_per_step; ++firing) {
        result_.vertices.push_back({TaskId(static_cast<int64_t>(t)), firing});
        result_.graph.seconds.push_back(plan.tasks[t].predicted_s);
      }
    }
  }

  Unrolled run() {
    for (const PlanStream& stream : plan_.streams) order(stream);
    for (size_t t = 0; t < plan_.tasks.size(); ++t) {
      for (const PlanRead& read : plan_.tasks[t].inputs) connect(TaskId(static_cast<int64_t>(t)), read);
    }
    return std::move(result_);
  }

 private:
  int vertex(TaskId task, int64_t firing) const { return first_[task.index()] + static_cast<int>(firing); }
  void edge(int from, int to, int64_t tokens) { result_.graph.edges.push_back({from, to, static_cast<int>(tokens)}); }

  // One firing after the other, and the next step's first after this step's last.
  void order(const PlanStream& stream) {
    std::vector<int> fired(plan_.tasks.size(), 0);
    int first = -1;
    int last = -1;
    for (const PlanSegment& segment : stream.segments) {
      for (int repeat = 0; repeat < segment.repeat; ++repeat) {
        for (TaskId task : segment.tasks) {
          const int here = vertex(task, fired[task.index()]++);
          if (last >= 0) edge(last, here, 0);
          if (first < 0) first = here;
          last = here;
        }
      }
    }
    if (first >= 0) edge(last, first, 1);
  }

  void connect(TaskId consumer, const PlanRead& read) {
    const PlanRegister& reg = plan_.reg(read.reg);
    if (!reg.producer.valid() || reg.producer == consumer) return;
    // Versions per step: what the producer completes and the consumer uses up.
    const int64_t n = plan_.task(reg.producer).firings_per_step / reg.every;
    CHECK(n > 0 && n == plan_.task(consumer).firings_per_step / read.every, reg.name, n);
    const auto wrap = [n](int64_t i) { return ((i % n) + n) % n; };
    for (int64_t j = 0; j < n; ++j) {
      // The consumer's j-th version of a step is the producer's (j - initial)-th.
      const int64_t made = j - reg.initial;
      edge(vertex(reg.producer, wrap(made) * reg.every + reg.every - 1), vertex(consumer, j * read.every),
           -steps_of(made, n));
      // The producer's j-th version of a step goes where the consumer's (j + initial - slots)-th was.
      const int64_t freed = j + reg.initial - reg.slot_count;
      edge(vertex(consumer, wrap(freed) * read.every + read.every - 1), vertex(reg.producer, j * reg.every),
           -steps_of(freed, n));
    }
  }

  const Plan& plan_;
  std::vector<int> first_;  // by task: its first vertex
  Unrolled result_;
};

std::string task_text(const Plan& plan, TaskId task) {
  return plan.task(task).name + " on " + plan.devices[plan.task(task).device.index()].name;
}

// The tasks that take most of the cycle's time.
std::string critical_text(const Plan& plan, const Unrolled& unrolled, const CycleRatio& ratio) {
  std::vector<double> seconds(plan.tasks.size(), 0);
  for (int v : ratio.cycle) {
    const Unrolled::Vertex& vertex = unrolled.vertices[static_cast<size_t>(v)];
    seconds[vertex.task.index()] += unrolled.graph.seconds[static_cast<size_t>(v)];
  }
  std::vector<size_t> tasks;
  for (size_t t = 0; t < seconds.size(); ++t) {
    if (seconds[t] > 0) tasks.push_back(t);
  }
  std::stable_sort(tasks.begin(), tasks.end(), [&](size_t a, size_t b) { return seconds[a] > seconds[b]; });
  const size_t count = tasks.size();
  if (tasks.size() > 3) tasks.resize(3);
  return "a cycle of " + std::to_string(count) + " actors, most time in " +
         join(tasks, ", ", [&](size_t t) { return task_text(plan, TaskId(static_cast<int64_t>(t))); });
}

}  // namespace

Unrolled unroll(const Plan& plan) { return Unroller(plan).run(); }

Certificate certify(const Plan& plan, const Unrolled& unrolled, int cores) {
  const std::vector<int> stuck = tokenless_cycle(unrolled.graph);
  if (!stuck.empty()) {
    throw PlanError("plan '" + plan.name + "' would hang: " +
                    join(stuck, " -> ",
                         [&](int v) {
                           const Unrolled::Vertex& vertex = unrolled.vertices[static_cast<size_t>(v)];
                           return task_text(plan, vertex.task) + " (firing " + std::to_string(vertex.firing) + ")";
                         }) +
                    " -> back to the first wait for one another and hold no token");
  }
  const CycleRatio ratio = max_cycle_ratio(unrolled.graph);
  std::vector<double> busy(plan.streams.size(), 0);
  for (const PlanTask& task : plan.tasks) busy[task.stream.index()] += task.predicted_s * task.firings_per_step;
  const double work = std::accumulate(busy.begin(), busy.end(), 0.0);
  Certificate result{ratio.seconds, ratio.cycle.empty() ? "nothing" : critical_text(plan, unrolled, ratio),
                     ratio.seconds, *std::max_element(busy.begin(), busy.end())};
  if (cores > 0 && work / cores > ratio.seconds) {
    result.step_s = work / cores;
    result.critical =
        "the work of " + std::to_string(plan.devices.size()) + " devices on " + std::to_string(cores) + " cores";
  }
  return result;
}

}  // namespace troupe
