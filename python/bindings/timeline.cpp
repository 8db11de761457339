#include "python/bindings/timeline.h"

#include <nanobind/stl/string.h>

#include <string>

#include "actors/engine/control.h"
#include "actors/engine/placement.h"
#include "planner/traffic.h"

namespace troupe::python {
namespace {

std::string awaited(const TracedFiring& firing, const Plan& plan) {
  switch (firing.waited_for) {
    case WaitsFor::nothing:
      break;
    case WaitsFor::input:
      return "'" + plan.reg(firing.waited_reg).name + "'";
    case WaitsFor::slot:
      return "room in '" + plan.reg(firing.waited_reg).name + "'";
    case WaitsFor::source:
      return "data";
    case WaitsFor::step:
      return "the next step";
  }
  return "nothing";
}

nb::tuple tuple_of(const TracedFiring& firing, const Plan& plan) {
  nb::object wait = nb::none();
  if (firing.waited_for != WaitsFor::nothing) {
    wait = nb::make_tuple(awaited(firing, plan), firing.wait_begin_s, firing.wait_end_s);
  }
  return nb::make_tuple(firing.task.value, firing.step, firing.round, firing.begin_s, firing.end_s, wait,
                        firing.live_most, firing.live_after);
}

}  // namespace

nb::dict timeline_of(const Plan& plan, const Observations& seen, const std::vector<WorkerState>& workers) {
  std::vector<WorkerShare> shares;  // as if each worker had one executor: then its number is the worker's
  for (const WorkerState& worker : workers) shares.push_back({worker.devices, 1});
  nb::list devices, streams, tasks, firings, peak;
  for (const PlanDevice& device : plan.devices) {
    devices.append(nb::make_tuple(device.name, executor_of_device(device.name, shares)));
  }
  for (const PlanStream& stream : plan.streams) streams.append(nb::make_tuple(stream.name, stream.device.value));
  for (size_t t = 0; t < plan.tasks.size(); ++t) {
    nb::dict received;
    for (const auto& [device, bytes] : received_per_firing(plan, TaskId(static_cast<int64_t>(t)))) {
      received[nb::int_(device.value)] = bytes;
    }
    const PlanTask& task = plan.tasks[t];
    tasks.append(nb::make_tuple(task.name, task.kernel, task.stream.value, received));
  }
  for (const TracedFiring& firing : seen.trace) firings.append(tuple_of(firing, plan));
  for (int64_t bytes : seen.peak_workspace) peak.append(bytes);
  nb::dict result;
  result["devices"] = devices;
  result["streams"] = streams;
  result["tasks"] = tasks;
  result["firings"] = firings;
  result["peak_bytes"] = peak;
  return result;
}

}  // namespace troupe::python
