// Who should have moved, of the streams of this process.

#include "actors/engine/engine.h"
#include "actors/engine/stall.h"

namespace troupe {

Fault Engine::stall() {
  StallScene scene;
  if (current_ == nullptr) return explain_stall(scene).fault;
  const Plan& plan = current_->plan();
  std::vector<int> process_of(plan.devices.size(), 0);
  for (size_t s = 0; s < plan.streams.size(); ++s) {
    if (own_.contains(current_->executor_of(StreamId(static_cast<int64_t>(s))))) continue;
    process_of[plan.streams[s].device.index()] = 1;
  }
  scene.life = current_;
  scene.quiet_s = clock_.now() - seen_at_;
  scene.processes = {{"", scene.quiet_s, ""}, {"another process", scene.quiet_s, "was not asked"}};
  scene.process_of = [&](DeviceId device) { return process_of[device.index()]; };
  scene.standings = standings().streams;
  return explain_stall(scene).fault;
}

}  // namespace troupe
