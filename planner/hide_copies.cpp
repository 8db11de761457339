#include "planner/hide_copies.h"

#include <algorithm>
#include <limits>
#include <map>

#include "runtime/base/check.h"

namespace troupe {
namespace {

constexpr int64_t kShareOnItsWay = 8;  // of all that is kept, one in so many bytes is on its way
constexpr int64_t kLeastOnItsWay = 2;  // tensors: while one is read, the next is copied

// Places count the tasks that compute before them in the same turn.
struct Copy {
  NodeId node;
  double seconds = 0;
  int64_t bytes = 0;
  size_t bound = 0;  // to the host: where it can begin; back: where it has to be whole
  size_t place = 0;  // to the host: where it ends; back: where it begins
};

// What the devices of a stage do in one turn, in the order of time.
struct Lane {
  std::vector<NodeId> nodes;        // that compute
  std::vector<double> begin = {0};  // of each; then the end of the last
  std::vector<Copy> to_host;
  std::vector<Copy> back;
  int stage = 0;

  // From the last to the first, each as late as will do, with no more than `most` bytes between place and bound.
  void place_back(int64_t most) {
    double next = std::numeric_limits<double>::infinity();
    for (size_t k = back.size(); k-- > 0;) {
      Copy& copy = back[k];
      size_t least = 0;  // before that there would be more
      int64_t bytes = 0;
      for (size_t j = k + 1; j-- > 0;) {
        bytes += back[j].bytes;
        if (bytes <= most) continue;
        least = std::min(back[j].bound + 1, copy.bound);
        break;
      }
      next = std::min(begin[copy.bound], next) - copy.seconds;
      const auto end = begin.begin() + static_cast<ptrdiff_t>(copy.bound) + 1;
      const auto later = std::upper_bound(begin.begin(), end, next) - begin.begin();
      copy.place = std::max(least, static_cast<size_t>(std::max<ptrdiff_t>(later - 1, 0)));
      next = std::max(next, begin[copy.place]);
    }
  }

  // From the first to the last, each as soon as can be.
  void place_to_host(int64_t most) {
    double last = 0;
    for (size_t k = 0; k < to_host.size(); ++k) {
      Copy& copy = to_host[k];
      size_t greatest = nodes.size();
      int64_t bytes = 0;
      for (size_t j = k; j < to_host.size(); ++j) {
        bytes += to_host[j].bytes;
        if (bytes <= most) continue;
        greatest = std::max(to_host[j].bound, copy.bound + 1) - 1;
        break;
      }
      last = std::max(begin[copy.bound], last) + copy.seconds;
      const auto first = begin.begin() + static_cast<ptrdiff_t>(copy.bound);
      const auto done = static_cast<size_t>(std::lower_bound(first, begin.end(), last) - begin.begin());
      copy.place = std::min(done, greatest);
      last = std::min(last, begin[copy.place]);
    }
  }
};

class HideCopies {
 public:
  HideCopies(const Program& program, const TaskGraph& tasks) : program_(program), graph_(tasks) {}

  Program run() {
    for (const ClassTask& task : graph_.tasks) {
      if (task.segment == Segment::piece) add(task);
    }
    for (auto& [turn, lane] : lanes_) place(lane);
    return reordered();
  }

 private:
  int device_stage(const ClassTask& task) const { return task.stage % static_cast<int>(graph_.turns.size()); }

  void add(const ClassTask& task) {
    Lane& lane = lanes_[task.turn];
    const double seconds = *std::max_element(task.seconds.begin(), task.seconds.end());
    if (task.stream == StreamKind::compute) {
      lane.nodes.push_back(task.node);
      lane.begin.push_back(lane.begin.back() + seconds);
    }
    if (task.stream != StreamKind::copy) return;
    const ClassRegister& made = graph_.registers[static_cast<size_t>(task.outputs.front())];
    const int64_t bytes = *std::max_element(made.bytes.begin(), made.bytes.end());
    const bool back = task.stage == device_stage(task);
    (back ? lane.back : lane.to_host).push_back({task.node, seconds, bytes, lane.nodes.size(), 0});
    lane.stage = device_stage(task);
    if (back) return;
    Kept& kept = kept_[lane.stage];
    kept.bytes += bytes;
    kept.largest = std::max(kept.largest, bytes);
  }

  void place(Lane& lane) {
    const Kept& kept = kept_[lane.stage];
    const int64_t most = std::max(kept.bytes / kShareOnItsWay, kept.largest * kLeastOnItsWay);
    lane.place_back(most);
    lane.place_to_host(most);
    for (Copy& back : lane.back) {
      const NodeId away = program_.value(program_.node(back.node).inputs.front()).producer;
      const auto first =
          std::find_if(lane.to_host.begin(), lane.to_host.end(), [&](const Copy& copy) { return copy.node == away; });
      if (first == lane.to_host.end()) continue;
      back.place = std::max(back.place, first->bound);
      first->place = std::min(first->place, back.place);
    }
  }

  // Variables, then all tasks' nodes in the order of time.
  std::vector<NodeId> order() const {
    std::vector<NodeId> order;
    for (size_t n = 0; n < program_.nodes.size(); ++n) {
      if (program_.nodes[n].kind == NodeKind::variable) order.emplace_back(static_cast<int64_t>(n));
    }
    std::map<Turn, size_t> computed;
    std::vector<bool> added(program_.nodes.size(), false);
    const auto add_copies = [&](const Lane& lane, size_t place) {
      for (const std::vector<Copy>* copies : {&lane.to_host, &lane.back}) {
        for (const Copy& copy : *copies) {
          if (copy.place == place) order.push_back(copy.node);
        }
      }
    };
    for (const ClassTask& task : graph_.tasks) {
      if (task.stream == StreamKind::copy) continue;
      const bool counts = task.segment == Segment::piece && task.stream == StreamKind::compute;
      if (counts && computed[task.turn] == 0) add_copies(lanes_.at(task.turn), 0);
      if (!added[task.node.index()]) order.push_back(task.node);
      added[task.node.index()] = true;  // an all-reduce is two tasks
      if (counts) add_copies(lanes_.at(task.turn), ++computed[task.turn]);
    }
    return order;
  }

  Program reordered() const {
    Program result = program_;
    result.nodes.clear();
    std::vector<NodeId> moved(program_.nodes.size());
    for (NodeId node : order()) {
      moved[node.index()] = NodeId(static_cast<int64_t>(result.nodes.size()));
      result.nodes.push_back(program_.node(node));
    }
    CHECK(result.nodes.size() == program_.nodes.size(), result.nodes.size(), program_.nodes.size());
    for (ProgramValue& value : result.values) value.producer = moved[value.producer.index()];
    for (ProgramVariable& variable : result.variables) {
      if (variable.update.valid()) variable.update = moved[variable.update.index()];
    }
    return result;
  }

  // What the devices of a stage have their hosts keep, each of a piece.
  struct Kept {
    int64_t bytes = 0;
    int64_t largest = 0;
  };

  const Program& program_;
  const TaskGraph& graph_;
  std::map<Turn, Lane> lanes_;
  std::map<int, Kept> kept_;  // by stage
};

}  // namespace

Program hide_copies(const Program& program, const TaskGraph& tasks) { return HideCopies(program, tasks).run(); }

}  // namespace troupe
