#include "actors/engine/wait_graph.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace troupe {

WaitGraph::WaitGraph(const PlanLife& life, const std::vector<Standing>& standings,
                     std::function<int(DeviceId)> process_of, std::optional<int> suspect)
    : life_(life), process_of_(std::move(process_of)), suspect_(suspect) {
  int processes = 0;
  for (size_t d = 0; d < plan().devices.size(); ++d) {
    processes = std::max(processes, 1 + process_of_(DeviceId(static_cast<int64_t>(d))));
  }
  nodes_.resize(plan().streams.size() + static_cast<size_t>(processes));
  for (const Standing& standing : standings) nodes_[standing.stream.index()].standing = &standing;
  for (Node& node : nodes_) point(node);
  for (size_t n = 0; n < nodes_.size(); ++n) follow(static_cast<int>(n));
}

// The stream of a task, or its process where it is not known how the stream stands.
int WaitGraph::node_of(TaskId task) const {
  const PlanTask& of = plan().task(task);
  if (nodes_[of.stream.index()].standing != nullptr) return of.stream.value;
  return static_cast<int>(plan().streams.size()) + process_of_(of.device);
}

// How often a task of the stream has fired in this life: its order says so.
int64_t WaitGraph::firings(TaskId task, const Standing& standing) const {
  int64_t per_step = 0;
  int64_t in_step = 0;
  int64_t left = standing.done;
  for (const PlanSegment& segment : plan().streams[standing.stream.index()].segments) {
    const auto size = static_cast<int64_t>(segment.tasks.size());
    if (size == 0) continue;
    const auto count = [&](int64_t first_few) {
      return std::count(segment.tasks.begin(), segment.tasks.begin() + first_few, task);
    };
    const int64_t whole = std::min<int64_t>(segment.repeat, left / size);
    per_step += segment.repeat * count(size);
    in_step += whole * count(size);
    left -= whole * size;
    if (whole == segment.repeat) continue;
    in_step += count(left);
    left = 0;
  }
  return (standing.step - life_.first_step) * per_step + in_step;
}

// Whether the other one has given what is lacked, so that a message of it has been sent.
bool WaitGraph::sent(const Lack& lack) const {
  const PlanTask& from = plan().task(lack.from);
  const Standing* standing = nodes_[from.stream.index()].standing;
  if (standing == nullptr || standing->state == Standing::State::kernel) return false;
  const int64_t fired = firings(lack.from, *standing);
  const PlanRegister& reg = plan().reg(lack.reg);
  if (!lack.room) return reg.initial + fired / reg.every > lack.version;
  int32_t every = 1;  // of a task that reads it in several ways, the slowest
  for (const PlanRead& read : from.inputs) {
    if (read.reg == lack.reg) every = std::max(every, read.every);
  }
  return fired / every > lack.version;
}

// Where the node's chain goes on, or why it ends here.
void WaitGraph::point(Node& node) const {
  if (node.standing == nullptr) {
    node.end = WaitEnd::process;
    return;
  }
  const Standing& at = *node.standing;
  switch (at.state) {
    case Standing::State::limit:
      node.end = WaitEnd::limit;
      return;
    case Standing::State::source:
      node.end = WaitEnd::source;
      return;
    case Standing::State::turn:
      node.end = WaitEnd::turn;
      return;
    case Standing::State::kernel:
      if (plan().task(at.task).stream == at.stream) {
        node.end = WaitEnd::kernel;
      } else {
        node.next = node_of(at.task);
      }
      return;
    case Standing::State::head:
      break;
  }
  const auto lost = std::find_if(at.lacks.begin(), at.lacks.end(), [&](const Lack& lack) { return sent(lack); });
  node.lack = lost == at.lacks.end() ? &at.lacks.front() : &*lost;
  if (lost != at.lacks.end()) {
    node.end = WaitEnd::link;
  } else {
    node.next = node_of(node.lack->from);
  }
}

// Finds the end of this node's chain, and so of all on the way.
void WaitGraph::follow(int from) {
  std::vector<int> path;
  int at = from;
  for (;;) {
    Node& node = nodes_[static_cast<size_t>(at)];
    if (node.last >= 0) break;
    if (std::exchange(node.met, true)) {
      const auto met = std::find(path.begin(), path.end(), at);
      const int first = *std::min_element(met, path.end());
      nodes_[static_cast<size_t>(first)].end = WaitEnd::cycle;
      for (auto it = met; it != path.end(); ++it) nodes_[static_cast<size_t>(*it)].last = first;
      path.erase(met, path.end());
      break;
    }
    if (node.end != WaitEnd::nothing) {
      node.last = at;
      break;
    }
    path.push_back(at);
    at = node.next;
  }
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    Node& node = nodes_[static_cast<size_t>(*it)];
    const Node& next = nodes_[static_cast<size_t>(node.next)];
    node.last = next.last;
    node.depth = next.depth + (node.lack != nullptr ? 1 : 0);
    node.room = next.depth > 0 ? next.room : node.lack != nullptr && node.lack->room;
  }
}

WaitGraph::Wait WaitGraph::wait_of(const Node& node) const {
  Wait wait{node.standing->task, node.standing->step};
  if (node.lack == nullptr) return wait;
  wait.lack = *node.lack;
  const Standing* other = nodes_[plan().task(wait.lack.from).stream.index()].standing;
  if (other != nullptr) wait.behind = other->task;
  return wait;
}

WaitGraph::Verdict WaitGraph::verdict() const {
  struct Chain {
    int64_t streams = 0;
    const Node* longest = nullptr;
  };
  std::vector<Chain> chains(nodes_.size());  // by end
  for (const Node& node : nodes_) {
    if (!node.counts()) continue;
    Chain& chain = chains[static_cast<size_t>(node.last)];
    ++chain.streams;
    const auto tells = [](const Node& of) { return std::tuple(of.depth > 0, !of.room, of.depth); };
    if (chain.longest == nullptr || tells(node) > tells(*chain.longest)) chain.longest = &node;
  }
  int found = -1;
  const auto weight = [&](int n) {
    return std::tuple(chains[static_cast<size_t>(n)].streams, -static_cast<int>(nodes_[static_cast<size_t>(n)].end));
  };
  for (int n = 0; n < static_cast<int>(nodes_.size()); ++n) {
    if (chains[static_cast<size_t>(n)].streams == 0) continue;
    if (suspect_ && n != static_cast<int>(plan().streams.size()) + *suspect_) continue;
    if (found < 0 || weight(n) > weight(found)) found = n;
  }
  Verdict verdict;
  if (found < 0) return verdict;
  const Node& end = nodes_[static_cast<size_t>(found)];
  const Chain& chain = chains[static_cast<size_t>(found)];
  verdict.end = end.end;
  verdict.waiting = chain.streams - (end.counts() && end.end != WaitEnd::link ? 1 : 0);
  if (end.end == WaitEnd::cycle) {
    for (int n = found; verdict.waits.empty() || n != found; n = nodes_[static_cast<size_t>(n)].next) {
      verdict.waits.push_back(wait_of(nodes_[static_cast<size_t>(n)]));
    }
    return verdict;
  }
  for (const Node* node = chain.longest; node != &end; node = &nodes_[static_cast<size_t>(node->next)]) {
    if (node->lack != nullptr) verdict.waits.push_back(wait_of(*node));
  }
  if (end.end == WaitEnd::process) {
    verdict.waits.push_back({verdict.waits.back().lack.from, 0});
  } else {
    verdict.waits.push_back(wait_of(end));
  }
  std::reverse(verdict.waits.begin(), verdict.waits.end());
  return verdict;
}

}  // namespace troupe
