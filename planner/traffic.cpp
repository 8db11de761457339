#include "planner/traffic.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "planner/pulls.h"

namespace troupe {
namespace {

bool is_collective(BoxingKind kind) { return kind != BoxingKind::slice && kind != BoxingKind::zero_fill; }

bool gathers_variable(const Program& program, const ProgramNode& boxing) {
  const ProgramNode* node = &boxing;
  while (node->kind == NodeKind::boxing) node = &program.node(program.value(node->inputs.front()).producer);
  return node->kind == NodeKind::variable;
}

// Of a class, so many devices are looked at, evenly spaced, where one of each class would do but for exchanges.
constexpr size_t kCountedDevices = 64;

class TrafficCount {
 public:
  TrafficCount(const TaskGraph& graph, const Program& program, const Choices& choices)
      : graph_(graph), program_(program), choices_(choices) {}

  Traffic run() {
    for (const ClassTask& task : graph_.tasks) {
      if (task.operands == Operands::own || !is_collective(boxing_of(task).kind)) continue;
      for (const std::vector<int>& alike : graph_.positions) {
        if (choices_.stage_at(alike.front()) == task.stage) add_received(task, alike);
      }
    }
    add_counts();
    for (auto& [key, row] : rows_) traffic_.rows.push_back(std::move(row));
    return std::move(traffic_);
  }

 private:
  const ProgramNode& node(const ClassTask& task) const { return program_.node(task.node); }
  const BoxingStep& boxing_of(const ClassTask& task) const { return *node(task).boxing; }
  std::string axis_of(const BoxingStep& step) const {
    const auto is_host = [&](const Layout& layout) { return choices_.is_host(choices_.stage_of(layout.mesh())); };
    if (is_host(step.from) || is_host(step.to)) return "host";
    return step.axis < 0 ? "-" : choices_.mesh.axis(step.axis).name;
  }

  // Devices of a class receive the same, but in an exchange, where it depends on what they have already.
  void add_received(const ClassTask& task, const std::vector<int>& alike) {
    const size_t enough = boxing_of(task).kind == BoxingKind::exchange ? kCountedDevices : 1;
    const size_t counted = choices_.one_per_class ? std::min(alike.size(), enough) : alike.size();
    for (size_t n = 0; n < counted; ++n) {
      const size_t begin = n * alike.size() / counted;
      const size_t end = (n + 1) * alike.size() / counted;
      add_received(task, alike[begin], static_cast<int64_t>(end - begin));
    }
  }

  // What one device receives, times the number of those it stands for.
  void add_received(const ClassTask& task, int position, int64_t devices) {
    const int64_t times = firings(task, position) * devices;
    const int64_t element = size_of(program_.value(node(task).outputs.front()).type.dtype);
    const DevicePull pull = device_pull(graph_, program_, choices_, task, position);
    std::vector<int64_t> bytes(pull.sources.size(), 0);
    for (const PullRegion& region : pull.regions) {
      int64_t size = element;
      for (int64_t n : region.extent) size *= n;
      for (const PullRegion::Source& source : region.sources) bytes[static_cast<size_t>(source.input)] += size;
    }
    for (size_t i = 0; i < bytes.size(); ++i) {
      const DeviceId source = choices_.device_at(pull.sources[i]);
      if (source == choices_.device_at(position) || bytes[i] == 0) continue;
      const std::string kind = name_of(boxing_of(task).kind);
      const std::string axis = axis_of(boxing_of(task));
      PlanTraffic& row = rows_.try_emplace({kind, axis}, PlanTraffic{kind, axis, 0, 0, 0}).first->second;
      row.bytes += bytes[i] * times;
      row.messages += times;
      const LinkKind link = choices_.topology.between(source, choices_.device_at(position));
      traffic_.link_bytes[static_cast<size_t>(link)] += bytes[i] * times;
    }
  }

  // Of those that run the kernel: a device without a piece in a round passes tokens on.
  int64_t firings(const ClassTask& task, int position) const {
    if (task.segment != Segment::piece) return 1;
    const bool of_all_pieces = program_.value(node(task).outputs.front()).of_all_pieces;
    if (node(task).rate == Rate::step) return 1;
    if (of_all_pieces) return choices_.rounds();
    const int rank = data_rank(choices_, position);
    return static_cast<int64_t>(shards_of(choices_.batch_shards, choices_.data_parallel_size(), rank).count) *
           choices_.pieces_per_shard;
  }

  void add_counts() {
    std::set<std::tuple<std::string, std::string, Role>> merged;
    for (const ProgramNode& here : program_.nodes) {
      if (here.kind != NodeKind::boxing) continue;
      const std::string kind = name_of(here.boxing->kind);
      const std::string axis = axis_of(*here.boxing);
      const auto row = rows_.find({kind, axis});
      const ProgramValue& value = program_.value(here.outputs.front());
      const bool moves = row != rows_.end() && is_moved(here);
      if (!moves || value.type.shape.elements() == 1) continue;
      const int firings = here.rate == Rate::piece ? choices_.rounds() : 1;
      const bool merges = here.rate == Rate::step || gathers_variable(program_, here);
      if (!merges || merged.emplace(kind, axis, here.role).second) row->second.count += firings;
    }
  }

  bool is_moved(const ProgramNode& here) const {
    const ProgramValue& value = program_.value(here.outputs.front());
    return cost_of(*here.boxing, value.type.shape, value.type.dtype, choices_.topology).total().value > 0;
  }

  const TaskGraph& graph_;
  const Program& program_;
  const Choices& choices_;
  std::map<std::pair<std::string, std::string>, PlanTraffic> rows_;
  Traffic traffic_;
};

}  // namespace

Traffic traffic_of(const TaskGraph& graph, const Program& program, const Choices& choices) {
  return TrafficCount(graph, program, choices).run();
}

std::map<DeviceId, int64_t> received_per_firing(const Plan& plan, TaskId id) {
  std::map<DeviceId, int64_t> received;
  const PlanTask& task = plan.task(id);
  if (task.kernel != "pull") return received;
  const std::vector<int64_t> elements = pulled_elements(task.attrs, task.inputs.size());
  for (size_t i = 0; i < elements.size(); ++i) {
    const PlanRegister& reg = plan.reg(task.inputs[i].reg);
    if (reg.device != task.device && elements[i] > 0) received[reg.device] += elements[i] * size_of(reg.dtype);
  }
  return received;
}

int64_t received_bytes(const Plan& plan, std::span<const int64_t> firings) {
  int64_t total = 0;
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    for (const auto& [device, bytes] : received_per_firing(plan, TaskId(static_cast<int64_t>(t)))) {
      total += bytes * firings[t];
    }
  }
  return total;
}

}  // namespace troupe
