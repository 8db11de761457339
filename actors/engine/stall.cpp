#include "actors/engine/stall.h"

#include <algorithm>

#include "runtime/base/text.h"

namespace troupe {
namespace {

// One thing that a task lacks, and the task that has to give it.
struct Lack {
  TaskId from;
  std::string text;
  bool under_way = false;  // given, but not received
};

class Inquiry {
 public:
  Inquiry(const LoadedPlan& plan, const std::vector<std::optional<TaskId>>& busy) : plan_(plan), busy_(busy) {}

  std::string name(TaskId task) const {
    const PlanTask& of = plan_.plan().task(task);
    return "'" + of.name + "' on " + plan_.plan().devices[of.device.index()].name;
  }
  bool is_own(TaskId task) const { return plan_.is_own(task); }
  const StreamLoop& stream_of(TaskId task) const { return *plan_.actor(task).loop; }
  std::optional<TaskId> busy(const StreamLoop& stream) const {
    return busy_[static_cast<size_t>(plan_.executor_of(stream.id) - plan_.own().first)];
  }

  // What keeps the head of this stream, in words; what it lacks, when that is somebody else's.
  std::string state_of(const StreamLoop& stream, std::vector<Lack>* lacks) const {
    if (const auto task = busy(stream)) return "its executor runs the kernel of " + name(*task);
    switch (stream.wait) {
      case StreamLoop::Wait::limit:
        return "has done all steps it was told to";
      case StreamLoop::Wait::source:
        return "its source '" + plan_.plan().task(stream.head().id()).kernel + "' is not ready for step " +
               std::to_string(stream.step);
      case StreamLoop::Wait::none:
        return "its turn has come, but its executor does not run";
      case StreamLoop::Wait::head:
        break;
    }
    *lacks = lacks_of(stream.head());
    if (lacks->empty()) return "lacks nothing, but its executor does not run it";
    return "waits for " + join(*lacks, "; for ", [](const Lack& lack) { return lack.text; });
  }

 private:
  const PlanRegister& reg(int32_t id) const { return plan_.plan().reg(RegisterId(id)); }
  bool known(TaskId task) const { return is_own(task) && !busy(stream_of(task)); }

  std::vector<Lack> lacks_of(const TaskActor& actor) const {
    std::vector<Lack> lacks;
    const Credits& credits = actor.credits();
    for (size_t i = 0; i < credits.inputs().size(); ++i) {
      if (!credits.lacks_input(static_cast<int32_t>(i))) continue;
      const Credits::Input& in = credits.inputs()[i];
      const Route& route = actor.producers()[i];
      const TaskId from(route.task);
      const bool sent = known(from) && written(plan_.actor(from), route.reg) > in.version;
      lacks.push_back({from,
                       "version " + std::to_string(in.version) + " of register '" + reg(route.reg).name + "' from " +
                           name(from) + (sent ? ", which has sent it" : "") + " (" + std::to_string(in.arrived) +
                           " came so far)",
                       sent});
    }
    for (size_t r = 0; r < credits.readers().size(); ++r) {
      if (!credits.lacks_reader(static_cast<int32_t>(r))) continue;
      const Credits::Reader& reader = credits.readers()[r];
      const Credits::Output& out = credits.outputs()[static_cast<size_t>(reader.output)];
      const Route& route = actor.readers()[r];
      const TaskId from(route.task);
      const bool sent =
          known(from) && plan_.actor(from).credits().inputs()[static_cast<size_t>(route.port)].version > reader.freed;
      lacks.push_back({from,
                       "slot " + std::to_string(out.slot) + " of its register '" + reg(route.reg).name + "': version " +
                           std::to_string(reader.freed) + " is held by " + name(from) +
                           (sent ? ", which has sent it back" : ""),
                       sent});
    }
    return lacks;
  }

  static int64_t written(const TaskActor& producer, int32_t id) {
    const auto registers = producer.output_registers();
    const auto at = std::find(registers.begin(), registers.end(), id) - registers.begin();
    return producer.credits().outputs()[static_cast<size_t>(at)].version;
  }

  const LoadedPlan& plan_;
  const std::vector<std::optional<TaskId>>& busy_;
};

}  // namespace

Stall describe_stall(const LoadedPlan& plan, const std::vector<std::optional<TaskId>>& busy, double seconds) {
  const Inquiry inquiry(plan, busy);
  std::vector<const StreamLoop*> waiting;
  for (size_t e = 0; e < busy.size(); ++e) {
    for (const auto& stream : plan.share(plan.own().first + static_cast<int>(e)).streams) {
      if (stream->runs_ahead || busy[e] || stream->wait == StreamLoop::Wait::limit) continue;
      waiting.push_back(stream.get());
    }
  }
  Stall stall;
  const std::string head = "no task of plan '" + plan.plan().name + "' has fired for " + seconds_text(seconds);
  std::string culprit;
  std::string chain;
  if (!waiting.empty()) {
    const StreamLoop* at = waiting.front();
    for (;;) {
      const TaskId task = at->head().id();
      const auto met = std::find(stall.chain.begin(), stall.chain.end(), task);
      if (met != stall.chain.end()) {
        stall.chain.erase(stall.chain.begin(), met);
        stall.cycle = true;
        culprit =
            "these wait for each other: " + join(stall.chain, " -> ", [&](TaskId of) { return inquiry.name(of); }) +
            " -> " + inquiry.name(task);
        break;
      }
      const auto running = inquiry.busy(*at);
      stall.chain.push_back(running ? *running : task);
      std::vector<Lack> lacks;
      const std::string state = inquiry.state_of(*at, &lacks);
      if (lacks.empty() || lacks.front().under_way) {
        culprit = "the one that should have gone on is " + inquiry.name(running ? *running : task) + ": " + state;
        break;
      }
      const Lack& lack = lacks.front();
      if (!inquiry.is_own(lack.from)) {
        stall.chain.push_back(lack.from);
        stall.elsewhere = true;
        culprit = inquiry.name(task) + " waits for " + lack.text;
        break;
      }
      at = &inquiry.stream_of(lack.from);
    }
  } else {
    for (size_t e = 0; e < busy.size(); ++e) {
      if (!busy[e]) continue;
      culprit += (culprit.empty() ? "" : "; ") + std::string("the kernel of ") + inquiry.name(*busy[e]) + " runs";
      stall.chain.push_back(*busy[e]);
    }
  }
  stall.text = head + (culprit.empty() ? "" : "; " + culprit);
  for (const StreamLoop* stream : waiting) {
    std::vector<Lack> lacks;
    stall.text += "\n  " + inquiry.name(stream->head().id()) + ", step " + std::to_string(stream->step) + ": " +
                  inquiry.state_of(*stream, &lacks);
  }
  return stall;
}

}  // namespace troupe
