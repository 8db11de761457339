#include "planner/fit.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "planner/recompute_worth.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr size_t kLast = 3;  // steps at the end of a ladder that may do harm
constexpr int kDrops = 8;    // plans that are tried with one upgrade less

class Fit {
 public:
  Fit(const Graph& graph, const Choices& choices, const std::vector<std::string>& modules, const Profile& profile)
      : graph_(graph), choices_(choices), modules_(modules), profile_(profile) {}

  Fitted run() {
    if (choices_.memory_bytes == 0) return finish({});
    const Compiled kept = compiled({});
    const Need need = need_of(kept);
    kept_s_ = kept.plan.promise.step_s;
    if (fits(need)) return finish({});
    ladders_ = recompute_ladders(graph_, choices_.recompute, modules_, kept.plan);
    for (const Ladder& ladder : ladders_) {
      for (const Upgrade& upgrade : ladder.upgrades) {
        upgrades_.resize(std::max(upgrades_.size(), upgrade.unit + 1));
        upgrades_[upgrade.unit].push_back(upgrade);
      }
    }
    Steps steps = enough(need);
    if (!fits(probe(levels_at(steps)))) return finish(levels_at(steps));
    Levels levels = fewest(need, std::move(steps));
    drop(levels);
    return finish(levels);
  }

 private:
  // By unit: how many of its upgrades are taken.
  using Levels = std::vector<size_t>;
  // By ladder: how many of its upgrades are taken, the first ones.
  using Steps = std::vector<size_t>;
  // Bytes of all arenas, by device.
  using Need = std::vector<int64_t>;

  std::vector<std::string> modules_at(const Levels& levels) const {
    std::vector<std::string> modules;
    for (size_t unit = 0; unit < levels.size(); ++unit) {
      if (levels[unit] == 0) continue;
      const std::vector<std::string>& more = upgrades_[unit][levels[unit] - 1].modules;
      modules.insert(modules.end(), more.begin(), more.end());
    }
    return modules;
  }

  Choices choices_at(const Levels& levels) const {
    Choices choices = choices_;
    for (std::string& module : modules_at(levels)) choices.recompute.push_back(std::move(module));
    return choices;
  }

  // The plan without a limit, with as few slots as it may be refused with.
  Compiled compiled(const Levels& levels) {
    Choices choices = choices_at(levels);
    choices.memory_bytes = 0;
    if (choices.pipeline.is_cut() && choices.pipeline.send_slots == 0) choices.pipeline.send_slots = 1;
    ++compiles_;
    return compile(graph_, choices, profile_);
  }

  Need need_of(const Compiled& compiled) const {
    Need need;
    for (size_t d = 0; d < choices_.devices.size(); ++d) {  // not the hosts, which follow
      const PlanDevice& device = compiled.plan.devices[d];
      need.push_back(std::accumulate(std::begin(device.arena_bytes), std::end(device.arena_bytes), int64_t{0}));
    }
    return need;
  }
  const Need& probe(const Levels& levels) {
    const auto known = probed_.find(levels);
    return known != probed_.end() ? known->second : probed_.emplace(levels, need_of(compiled(levels))).first->second;
  }

  bool fits(const Need& need) const {
    return std::all_of(need.begin(), need.end(), [&](int64_t bytes) { return bytes <= choices_.memory_bytes; });
  }
  static int64_t most(const Ladder& ladder, const Need& need) {
    int64_t bytes = 0;
    for (size_t device : ladder.devices) bytes = std::max(bytes, need[device]);
    return bytes;
  }
  bool fits(const Ladder& ladder, const Need& need) const { return most(ladder, need) <= choices_.memory_bytes; }

  Levels levels_at(const Steps& steps) const {
    Levels levels(upgrades_.size(), 0);
    for (size_t l = 0; l < ladders_.size(); ++l) {
      for (size_t s = 0; s < steps[l]; ++s) ++levels[ladders_[l].upgrades[s].unit];
    }
    return levels;
  }

  // Of each ladder all steps, or all but a few at the end where those need less: what the last units keep is let go of
  // soon, so that making it again may need more than it saves. Where this does not do, nothing does, whatever the
  // limit.
  Steps enough(const Need& kept) {
    Steps best(ladders_.size(), 0);
    Need least;
    for (const Ladder& ladder : ladders_) least.push_back(most(ladder, kept));
    for (size_t left_out = 0; left_out <= kLast; ++left_out) {
      Steps steps;
      for (const Ladder& ladder : ladders_)
        steps.push_back(ladder.upgrades.size() - std::min(left_out, ladder.upgrades.size()));
      const Need& need = probe(levels_at(steps));
      for (size_t l = 0; l < ladders_.size(); ++l) {
        if (most(ladders_[l], need) >= least[l]) continue;
        least[l] = most(ladders_[l], need);
        best[l] = steps[l];
      }
      if (fits(least)) break;
    }
    return best;
  }

  // The first steps of each ladder that will do: a guess by what they should save, then bisection, of all ladders at
  // once, since they act on different devices. `high` does.
  Levels fewest(const Need& kept, Steps high) {
    Steps low(ladders_.size(), 0);
    Steps next(ladders_.size());
    for (size_t l = 0; l < ladders_.size(); ++l) {
      const Ladder& ladder = ladders_[l];
      if (fits(ladder, kept)) high[l] = 0;
      const auto devices = static_cast<double>(ladder.devices.size());
      double missing = static_cast<double>(most(ladder, kept) - choices_.memory_bytes) * devices;
      size_t guess = 0;
      while (guess < high[l] && missing > 0) missing -= ladder.upgrades[guess++].bytes;
      next[l] = std::min(guess, high[l]);
    }
    const auto open = [&](size_t l) { return high[l] > low[l] + 1; };
    for (;;) {
      bool any = false;
      for (size_t l = 0; l < ladders_.size(); ++l) {
        any = any || open(l);
        next[l] = open(l) ? std::clamp(next[l], low[l] + 1, high[l] - 1) : high[l];
      }
      if (!any) break;
      const Need& need = probe(levels_at(next));
      for (size_t l = 0; l < ladders_.size(); ++l) {
        if (!open(l)) continue;
        (fits(ladders_[l], need) ? high : low)[l] = next[l];
        next[l] = (low[l] + high[l]) / 2;
      }
    }
    return levels_at(high);
  }

  // Takes single upgrades back that are not needed, of the dearest kind first and of the last unit, which has least to
  // save.
  void drop(Levels& levels) {
    std::vector<size_t> units;
    for (size_t unit = 0; unit < levels.size(); ++unit) {
      if (levels[unit] > 0) units.push_back(unit);
    }
    const auto seconds = [&](size_t unit) { return upgrades_[unit][levels[unit] - 1].seconds; };
    std::stable_sort(units.begin(), units.end(),
                     [&](size_t a, size_t b) { return seconds(a) != seconds(b) ? seconds(a) > seconds(b) : a > b; });
    double refused = -1;  // of a kind of which one less was too little
    int tried = 0;
    for (size_t unit : units) {
      if (tried == kDrops) return;
      if (seconds(unit) == refused) continue;
      ++tried;
      Levels fewer = levels;
      --fewer[unit];
      if (fits(probe(fewer))) {
        levels = fewer;
      } else {
        refused = seconds(unit);
      }
    }
  }

  // The plan of these levels under the limit, which refuses what does not fit.
  Fitted finish(const Levels& levels) {
    Fitted result;
    result.choices = choices_at(levels);
    result.compiled = compile(graph_, result.choices, profile_);
    result.compiles = ++compiles_;
    std::string& text = result.compiled.summary.text;
    const std::vector<std::string> modules = modules_at(levels);
    if (modules.empty()) {
      text += "  nothing needs to be recomputed to fit\n";
      return result;
    }
    const double more = result.compiled.plan.promise.step_s - kept_s_;
    text += "  recomputed to fit memory=" + bytes_text(choices_.memory_bytes) + ": " + some_of(modules, 4) +
            "; the step takes " + seconds_text(std::max(more, 0.0)) + " longer (" + std::to_string(compiles_) +
            " plans compared)\n";
    return result;
  }

  const Graph& graph_;
  const Choices& choices_;
  const std::vector<std::string>& modules_;
  const Profile& profile_;
  std::vector<Ladder> ladders_;
  std::vector<std::vector<Upgrade>> upgrades_;  // by unit
  double kept_s_ = 0;                           // the step that keeps everything
  std::map<Levels, Need> probed_;
  int compiles_ = 0;
};

}  // namespace

Fitted fit(const Graph& graph, const Choices& choices, const std::vector<std::string>& modules,
           const Profile& profile) {
  return Fit(graph, choices, modules, profile).run();
}

}  // namespace troupe
