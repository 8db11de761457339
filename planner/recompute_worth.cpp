#include "planner/recompute_worth.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "planner/recompute.h"

namespace troupe {
namespace {

using ByDevice = std::vector<double>;

// A module and the modules in it that may be recomputed by themselves.
struct Unit {
  std::string path;
  std::vector<std::string> parts;
};

struct Saving {
  ByDevice bytes;
  double seconds = 0;
  double total() const {
    double sum = 0;
    for (double b : bytes) sum += b;
    return sum;
  }
};

class Worth {
 public:
  Worth(const Graph& graph, const std::vector<std::string>& recomputed, const std::vector<std::string>& modules,
        const Plan& plan)
      : graph_(graph), recomputed_(recomputed), devices_(plan.devices.size()) {
    measure(plan);
    find_units(modules);
  }

  std::vector<Ladder> run() {
    // A depth at a time: all units as wholes, then the first part of each, and so on.
    std::vector<std::string> wholes;
    size_t depth = 0;
    for (const Unit& unit : units_) {
      wholes.push_back(unit.path);
      depth = std::max(depth, unit.parts.size());
    }
    if (!wholes.empty()) judge(wholes);
    for (size_t d = 0; d < depth; ++d) {
      std::vector<std::string> parts;
      for (const Unit& unit : units_) {
        if (d < unit.parts.size()) parts.push_back(unit.parts[d]);
      }
      judge(parts);
    }
    std::map<size_t, Ladder> by_first_device;
    for (size_t u = 0; u < units_.size(); ++u) add_upgrades(u, by_first_device);
    std::vector<Ladder> ladders;
    for (auto& [first, ladder] : by_first_device) {
      // Equal within a hundredth: blocks that are alike stay in their order.
      const auto rank = [](const Upgrade& upgrade) { return std::lround(-100 * std::log(upgrade.worth())); };
      std::stable_sort(ladder.upgrades.begin(), ladder.upgrades.end(),
                       [&](const Upgrade& a, const Upgrade& b) { return rank(a) < rank(b); });
      ladders.push_back(std::move(ladder));
    }
    return ladders;
  }

 private:
  // "path:output@2.slice" -> "path"
  static std::string node_of(const std::string& name) { return name.substr(0, name.find_first_of(":@")); }

  void measure(const Plan& plan) {
    for (const PlanRegister& reg : plan.registers) {
      if (reg.is_control() || reg.arena != ArenaKind::workspace) continue;
      ByDevice& bytes = bytes_[reg.name];
      bytes.resize(devices_, 0);
      bytes[reg.device.index()] += static_cast<double>(reg.bytes * reg.slot_count);
    }
    for (const PlanTask& task : plan.tasks) seconds_[node_of(task.name)] += task.predicted_s * task.firings_per_step;
  }

  void find_units(const std::vector<std::string>& modules) {
    const auto is_free = [&](const std::string& path) {
      const bool taken = std::any_of(recomputed_.begin(), recomputed_.end(), [&](const std::string& other) {
        return path == other || is_below(path, other) || is_below(other, path);
      });
      return !taken && std::any_of(graph_.nodes().begin(), graph_.nodes().end(), [&](const Node& node) {
        return node.role == Role::forward && node.op->name != "variable" && is_below(node.path, path);
      });
    };
    for (const std::string& path : modules) {
      const bool part =
          std::any_of(modules.begin(), modules.end(), [&](const std::string& other) { return is_below(path, other); });
      if (!part && is_free(path)) units_.push_back({path, {}});
    }
    for (Unit& unit : units_) {
      for (const std::string& path : modules) {
        if (is_below(path, unit.path) && is_free(path)) unit.parts.push_back(path);
      }
    }
  }

  // Names of forward values that the backward pass reads.
  static std::set<std::string> kept_values(const Graph& graph) {
    std::set<std::string> kept;
    for (const Node& node : graph.nodes()) {
      if (node.role != Role::backward) continue;
      for (ValueId input : node.inputs) {
        const Value& value = graph.value(input);
        if (graph.node(value.producer).role == Role::forward) kept.insert(value.name);
      }
    }
    return kept;
  }

  // What each of these, which stand apart from one another, saves and costs.
  void judge(const std::vector<std::string>& modules) {
    std::vector<std::string> all = recomputed_;
    all.insert(all.end(), modules.begin(), modules.end());
    const Graph before = recompute(graph_, recomputed_);
    const Graph after = recompute(graph_, all);
    const std::set<std::string> still = kept_values(after);
    for (const std::string& module : modules) savings_[module].bytes.assign(devices_, 0);
    const std::set<std::string> names(modules.begin(), modules.end());
    for (const std::string& value : kept_values(before)) {
      const auto module = module_of(value, names);
      const auto bytes = bytes_.find(value);
      if (module == names.end() || still.contains(value) || bytes == bytes_.end()) continue;
      for (size_t d = 0; d < devices_; ++d) savings_[*module].bytes[d] += bytes->second[d];
    }
    std::set<std::string> known;
    for (const Node& node : before.nodes()) known.insert(node.path);
    for (const Node& node : after.nodes()) {
      if (known.contains(node.path)) continue;  // not made again
      const std::string& origin = after.node(node.origin).path;
      const auto module = module_of(origin, names);
      const auto seconds = seconds_.find(origin);
      if (module != names.end() && seconds != seconds_.end()) savings_[*module].seconds += seconds->second;
    }
  }

  static std::set<std::string>::const_iterator module_of(const std::string& path, const std::set<std::string>& names) {
    for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.', dot + 1)) {
      const auto found = names.find(path.substr(0, dot));
      if (found != names.end()) return found;
    }
    return names.end();
  }

  // The module as a whole, or its best parts: those ways that lie on the upper hull of bytes over seconds.
  void add_upgrades(size_t u, std::map<size_t, Ladder>& by_first_device) const {
    const Unit& unit = units_[u];
    std::vector<std::string> parts;
    for (const std::string& part : unit.parts) {
      const Saving& saving = savings_.at(part);
      if (saving.total() > 0 && saving.seconds > 0) parts.push_back(part);
    }
    const auto worth = [&](const std::string& part) { return savings_.at(part).total() / savings_.at(part).seconds; };
    std::stable_sort(parts.begin(), parts.end(),
                     [&](const std::string& a, const std::string& b) { return worth(a) > worth(b); });
    std::vector<Upgrade> ways;
    Upgrade so_far{u, {}, 0, 0};
    for (const std::string& part : parts) {
      so_far.modules.push_back(part);
      so_far.bytes += savings_.at(part).total();
      so_far.seconds += savings_.at(part).seconds;
      ways.push_back(so_far);
    }
    const Saving& whole = savings_.at(unit.path);
    if (whole.total() <= 0 || whole.seconds <= 0) return;
    ways.push_back({u, {unit.path}, whole.total(), whole.seconds});

    std::vector<Upgrade> steps;
    Upgrade reached{u, {}, 0, 0};
    const auto beyond = [&](const Upgrade& way) {
      return (way.bytes - reached.bytes) / (way.seconds - reached.seconds);
    };
    while (reached.modules != ways.back().modules) {
      const Upgrade* best = nullptr;
      for (const Upgrade& way : ways) {
        const bool more = way.bytes > reached.bytes && way.seconds > reached.seconds;
        if (more && (best == nullptr || beyond(way) >= beyond(*best))) best = &way;
      }
      if (best == nullptr) break;
      steps.push_back({u, best->modules, best->bytes - reached.bytes, best->seconds - reached.seconds});
      reached = *best;
    }
    const auto first = std::find_if(whole.bytes.begin(), whole.bytes.end(), [](double b) { return b > 0; });
    Ladder& ladder = by_first_device[static_cast<size_t>(first - whole.bytes.begin())];
    for (size_t d = 0; d < devices_; ++d) {
      const bool known = std::find(ladder.devices.begin(), ladder.devices.end(), d) != ladder.devices.end();
      if (whole.bytes[d] > 0 && !known) ladder.devices.push_back(d);
    }
    ladder.upgrades.insert(ladder.upgrades.end(), steps.begin(), steps.end());
  }

  const Graph& graph_;
  const std::vector<std::string>& recomputed_;
  size_t devices_;
  std::map<std::string, ByDevice> bytes_;  // by value
  std::map<std::string, double> seconds_;  // by node, with the boxing of what it makes
  std::vector<Unit> units_;
  std::map<std::string, Saving> savings_;  // by module
};

}  // namespace

std::vector<Ladder> recompute_ladders(const Graph& graph, const std::vector<std::string>& recomputed,
                                      const std::vector<std::string>& modules, const Plan& plan) {
  return Worth(graph, recomputed, modules, plan).run();
}

}  // namespace troupe
