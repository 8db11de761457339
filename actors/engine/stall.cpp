#include "actors/engine/stall.h"

#include <string>

#include "runtime/base/text.h"

namespace troupe {
namespace {

constexpr size_t kFirstLines = 8;  // of a longer chain, these and the last ones are told
constexpr size_t kLastLines = 3;

class Report {
 public:
  explicit Report(const StallScene& scene) : scene_(scene) {}

  Stall stall() const {
    Stall stall;
    std::string& what = stall.fault.what;
    what = "no task of plan '" + plan().name + "' has fired for " + seconds_text(scene_.quiet_s);
    const WaitGraph graph(*scene_.life, scene_.standings, scene_.process_of, scene_.suspect);
    const Verdict verdict = graph.verdict();
    stall.end = verdict.end;
    if (verdict.waits.empty()) return stall;
    const Wait& first = verdict.waits.front();
    stall.fault.task = plan().task(first.task).name;
    stall.fault.device = device_of(first.task);
    if (verdict.end == WaitEnd::link) stall.fault.peer = plan().task(first.lack.from).name;
    stall.waits = lines(verdict);
    what += "; " + culprit(verdict);
    if (verdict.end != WaitEnd::cycle && verdict.waiting > 1)
      what += "; " + std::to_string(verdict.waiting) + " streams wait for it:";
    what += stall.waits;
    return stall;
  }

 private:
  using Wait = WaitGraph::Wait;
  using Verdict = WaitGraph::Verdict;
  const Plan& plan() const { return scene_.life->plan(); }
  const StallProcess& process_of(TaskId task) const {
    return scene_.processes[static_cast<size_t>(scene_.process_of(plan().task(task).device))];
  }

  std::string quoted(TaskId task) const { return "'" + plan().task(task).name + "'"; }
  std::string device_of(TaskId task) const { return plan().devices[plan().task(task).device.index()].name; }
  // "'up' on cpu:1 of worker 1 (node7, process 4711)"
  std::string place(TaskId task) const {
    const std::string& process = process_of(task).name;
    return quoted(task) + " on " + device_of(task) + (process.empty() ? "" : " of " + process);
  }
  std::string step(int64_t step) const { return ", step " + std::to_string(step); }

  // "version 3 of register 'y'"
  std::string version(const Lack& lack) const {
    return "version " + std::to_string(lack.version) + " of register '" + plan().reg(lack.reg).name + "'";
  }

  std::string culprit(const Verdict& verdict) const {
    const Wait& first = verdict.waits.front();
    if (verdict.end == WaitEnd::link) return "what should have arrived is " + lost(first);
    if (verdict.end == WaitEnd::cycle) {
      return "these wait for each other: " +
             join(verdict.waits, " -> ", [&](const Wait& wait) { return place(wait.task); }) + " -> " +
             place(first.task);
    }
    const std::string line = plan().task(first.task).line.str();
    return "the one that should have moved is " + place(first.task) + (line.empty() ? "" : " (" + line + ")") +
           why(verdict);
  }

  std::string lines(const Verdict& verdict) const {
    std::string all;
    const size_t first = verdict.end == WaitEnd::link || verdict.end == WaitEnd::cycle ? 0 : 1;
    const size_t count = verdict.waits.size();
    for (size_t w = first; w < count; ++w) {
      if (w == first + kFirstLines && count - w > kLastLines) {
        all += "\n  " + std::to_string(count - w - kLastLines) + " more, and behind them";
        w = count - kLastLines;
      }
      all += "\n  " + line_of(verdict.waits[w]);
    }
    return all;
  }

  // What keeps the one that should have moved.
  std::string why(const Verdict& verdict) const {
    const Wait& at = verdict.waits.front();
    const StallProcess& process = process_of(at.task);
    const std::string so_long = verdict.waits.size() > 1 ? " for " + seconds_text(process.quiet_s) : "";
    switch (verdict.end) {
      case WaitEnd::process:
        if (process.absent.empty()) return ": its executor is busy with something else";
        return ": this process " + process.absent;
      case WaitEnd::kernel:
        return ": its kernel has not ended" + so_long;
      case WaitEnd::turn:
        return step(at.step) + ": it lacks nothing, but its executor has not run it" + so_long;
      case WaitEnd::source:
        return step(at.step) + ": its source '" + plan().task(at.task).kernel + "' has had no data" + so_long;
      case WaitEnd::limit:
        return step(at.step) + ": it has done all steps that it was told to";
      case WaitEnd::nothing:
      case WaitEnd::cycle:
      case WaitEnd::link:
        break;
    }
    return "";
  }

  std::string lost(const Wait& wait) const {
    const std::string so_long = ", sent " + seconds_text(process_of(wait.lack.from).quiet_s) + " ago or earlier by ";
    const std::string way = place(wait.lack.from) + " to " + place(wait.task);
    if (wait.lack.room) return "the word that " + version(wait.lack) + " is no longer read" + so_long + way;
    return version(wait.lack) + so_long + way;
  }

  // "'b' on cpu:1 of worker 1 (node7, process 4711), step 3, waits for version 3 of register 'y' from 'a' on cpu:0 of ..."
  std::string line_of(const Wait& wait) const {
    const Lack& lack = wait.lack;
    std::string line = place(wait.task) + step(wait.step) + ", waits for ";
    if (lack.room) {
      line += "room in its register '" + plan().reg(lack.reg).name + "': version " + std::to_string(lack.version) +
              " is held by " + place(lack.from);
    } else {
      line += version(lack) + " from " + place(lack.from);
    }
    if (!wait.behind.valid() || wait.behind == lack.from) return line;
    const bool before = plan().task(wait.behind).stream == plan().task(lack.from).stream;
    return line + (before ? " (its turn comes after " : " (its executor runs ") + quoted(wait.behind) + ")";
  }

  const StallScene& scene_;
};

}  // namespace

Stall explain_stall(const StallScene& scene) {
  if (scene.life != nullptr) return Report(scene).stall();
  Stall stall;
  stall.fault.what = "no plan runs";
  return stall;
}

}  // namespace troupe
