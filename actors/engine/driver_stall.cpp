// What the driver says when nothing moves, or somebody who is waited for is gone.

#include <algorithm>
#include <utility>

#include "actors/engine/driver.h"
#include "actors/engine/placement.h"

namespace troupe {
namespace {

constexpr double kReportPatience = 2;  // seconds for workers' reports when something is wrong already
constexpr int kReports = 3;            // while tasks that could still fire have not yet,
constexpr double kPause = 0.01;        // so long after one another

}  // namespace

// What the workers say about where they stand, as far as they answer in time.
StallScene Driver::ask_where_it_stands() {
  StallScene scene;
  if (!running_) return scene;
  tell(crew_.ask(), GetStall{});
  for (const double until = clock_.now() + kReportPatience; !crew_.settled() && clock_.now() < until;) look(kLook);
  const double now = clock_.now();
  scene.life = &find(current_).life;
  scene.quiet_s = now - seen_at_;
  for (size_t w = 0; w < crew_.members().size(); ++w) {
    const Crew::Member& member = crew_.members()[w];
    StallProcess process{crew_.name(static_cast<int>(w)), now - std::max(member.moved, began_at_), ""};
    if (member.gone || crew_.owes(static_cast<int>(w))) process.absent = "does not answer";
    scene.processes.push_back(std::move(process));
  }
  for (const Crew::Stands& stands : crew_.stands()) {
    if (stands.where.handle != current_.value || stands.where.epoch != scene.life->epoch) {
      scene.processes[static_cast<size_t>(stands.worker)].absent = "has not begun with the plan";
      continue;
    }
    scene.standings.insert(scene.standings.end(), stands.where.streams.begin(), stands.where.streams.end());
  }
  scene.process_of = [this](DeviceId device) {
    return process_of_device(find(current_).life.plan().devices[device.index()].name, crew_.shares());
  };
  return scene;
}

Fault Driver::stall() { return explain_stall(ask_where_it_stands()).fault; }

// Of the worker that is gone, or that others cannot reach: which of its tasks is waited for, and by whom.
void Driver::name_who_waits(Fault& fault) {
  const int suspect = crew_.gone() ? crew_.first_gone() : crew_.named(fault.peer);
  if (suspect < 0) return;
  for (int look_again = kReports; look_again > 0; --look_again) {
    StallScene scene = ask_where_it_stands();
    scene.suspect = suspect;
    std::erase_if(scene.standings, [&](const Standing& standing) {  // where it stands helps nobody else
      return scene.process_of(scene.life->plan().streams[standing.stream.index()].device) == suspect;
    });
    const Stall stall = explain_stall(scene);
    if (stall.end == WaitEnd::process) {
      fault.task = stall.fault.task;
      fault.device = stall.fault.device;
      fault.what += "; what waits for it:" + stall.waits;
      return;
    }
    look(kPause);
  }
}

}  // namespace troupe
