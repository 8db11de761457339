// Registers that go between processes of this machine: the time of a round trip, bytes per second one way, an
// all-reduce, and the processor time of processes that wait. Beside each other on shared memory ("near"), or as if on
// several hosts ("far": everything goes over the network, here the loopback device).
//
//   process_bench near|far WORKERS        then on stdin: trip BYTES | stream BYTES | reduce BYTES | idle SECONDS
//
// Each line is answered by one number: seconds per round trip, step or reduction; for `idle` the share of a core that a
// worker used. tests/bench/transport.py asks.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "actors/engine/plan_builder.h"
#include "actors/listener.h"
#include "actors/worker_process.h"
#include "ops/pull.h"
#include "planner/boxing_price.h"
#include "runtime/base/clock.h"
#include "sbp/boxing_step.h"

namespace troupe {
namespace {

constexpr double kBlockSeconds = 0.4;

void nothing(const KernelArgs&, Stream&) {}

KernelTable kernels() {
  KernelTable table;
  table.add("nothing", DeviceKind::cpu, nothing);
  table.add("pull", DeviceKind::cpu, pull_kernel, pull_reads);
  return table;
}

// A worker of one device, forked before this process has threads; it is told the driver's address through a pipe.
struct Child {
  pid_t process = 0;
  int address = -1;
};

Child start_worker(int index, bool far) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  const pid_t process = fork();
  if (process != 0) {
    close(ends[0]);
    return {process, ends[1]};
  }
  close(ends[1]);
  char address[64] = {};
  if (read(ends[0], address, sizeof(address) - 1) <= 0) _exit(1);
  try {
    WorkerOptions options;
    options.driver = address;
    options.token = "bench";
    options.executors = 1;
    if (far) options.memory = "host " + std::to_string(index);
    serve(kernels(), options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "worker %d: %s\n", index, error.what());
  }
  _exit(0);
}

// One task per device, each with a stream of its own.
struct Devices {
  PlanBuilder builder;
  std::vector<StreamId> streams;
  explicit Devices(int count) {
    for (int d = 0; d < count; ++d) {
      streams.push_back(builder.stream(builder.device("cpu:" + std::to_string(d)), "compute"));
    }
  }
};

PlanBuilder::Register floats(const std::string& name, int64_t elements, int32_t slots) {
  PlanBuilder::Register reg;
  reg.name = name;
  reg.elements = elements;
  reg.dtype = DType::f32;
  reg.slots = slots;
  return reg;
}

Plan trip(int64_t elements) {
  Devices on(2);
  const TaskId a = on.builder.task(on.streams[0], "a", "nothing");
  const TaskId b = on.builder.task(on.streams[1], "b", "nothing");
  PlanBuilder::Register back = floats("back", elements, 1);
  back.initial = 1;
  on.builder.read(b, on.builder.output(a, floats("there", elements, 1)));
  on.builder.read(a, on.builder.output(b, back));
  return on.builder.finish();
}

Plan stream(int64_t elements) {
  Devices on(2);
  const TaskId a = on.builder.task(on.streams[0], "a", "nothing");
  const TaskId b = on.builder.task(on.streams[1], "b", "nothing");
  on.builder.read(b, on.builder.output(a, floats("there", elements, 4)));
  return on.builder.finish();
}

PullRegion region(int64_t first, int64_t size) {
  PullRegion made;
  made.offset = Dims{first};
  made.extent = Dims{size};
  return made;
}

// What a device adds of everyone's partial sums.
void add_sum(Devices& on, TaskId task, const std::vector<RegisterId>& partial, const Part& part) {
  PullRegion all = region(0, part.size);
  for (size_t from = 0; from < partial.size(); ++from) {
    on.builder.read(task, partial[from]);
    all.sources.push_back({static_cast<int>(from), 0, Dims{part.offset}});
    all.program.push_back(static_cast<int>(from));
    if (from > 0) all.program.push_back(-1);
  }
  on.builder.at(task).attrs = pull_attrs({all}, true, false, 0);
  on.builder.at(task).scratch_bytes = pull_scratch_bytes({all}, DType::f32);
}

bool is_one_hop(int count, int64_t elements) {
  const Layout partial(Mesh({{"dp", count}}), {P});
  return one_hop(*step_on_axis(partial, 0, B), {elements}, DType::f32);
}

// As the planner composes it: each device adds all; or its slice of all, and the slices are joined around its own.
Plan reduce(int count, int64_t elements) {
  Devices on(count);
  std::vector<RegisterId> partial;
  for (int d = 0; d < count; ++d) {
    const TaskId task = on.builder.task(on.streams[d], "partial", "nothing");
    partial.push_back(on.builder.output(task, floats("partial", elements, 1)));
  }
  const bool one = is_one_hop(count, elements);
  std::vector<RegisterId> slices;
  const auto slice_at = [&](int d) { return slice_of(elements, DType::f32, count, d); };
  for (int d = 0; d < count; ++d) {
    const Part part = one ? Part{0, elements} : slice_at(d);
    const TaskId task = on.builder.task(on.streams[d], "add", "pull");
    add_sum(on, task, partial, part);
    slices.push_back(on.builder.output(task, floats("slice", part.size, 1)));
  }
  for (int d = 0; d < count && !one; ++d) {
    const TaskId task = on.builder.task(on.streams[d], "join", "pull");
    std::vector<PullRegion> regions;
    for (int from = 0; from < count; ++from) {
      on.builder.read(task, slices[from]);
      regions.push_back(region(slice_at(from).offset, slice_at(from).size));
      regions.back().sources.push_back({from, 0, Dims{0}});
    }
    on.builder.at(task).attrs = pull_attrs(regions, true, false, 0);
    const RegisterId sum = on.builder.output(task, floats("sum", elements, 1));
    const int64_t offset = slice_at(d).size == 0 ? 0 : slice_at(d).offset;
    on.builder.share_bytes(sum, slices[d], offset * size_of(DType::f32));
  }
  return on.builder.finish();
}

// Of all children together, so far.
double processor_seconds(const std::vector<Child>& children) {
  double seconds = 0;
  for (const Child& child : children) {
    std::ifstream file("/proc/" + std::to_string(child.process) + "/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    std::istringstream fields(text.substr(text.rfind(')') + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    seconds += (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return seconds;
}

// Seconds of one step, from a block of so many that it takes about kBlockSeconds.
double step_seconds(Driver& driver, const Plan& plan, const Clock& clock) {
  const PlanHandle handle = driver.load(std::make_shared<const Plan>(plan), {});
  int64_t done = 0;
  const auto run = [&](int64_t steps) {
    const double began = clock.now();
    driver.start(handle, done, steps);
    while (!driver.wait_for(1, 30)) {
    }
    done += steps;
    return clock.now() - began;
  };
  int64_t steps = 10;
  run(steps);  // touches the memory
  while (run(steps) < kBlockSeconds / 10 && steps < 100'000'000) steps *= 4;
  const double seconds = run(steps * 10) / static_cast<double>(steps * 10);
  driver.unload(handle);
  return seconds;
}

int main_of(bool far, int workers) {
  std::vector<Child> children;
  for (int w = 0; w < workers; ++w) children.push_back(start_worker(w, far));
  const SteadyClock clock;
  {
    Listener listener;
    CrewOptions crew;
    crew.workers = workers;
    crew.token = "bench";
    crew.heartbeat_s = 5;
    Driver driver(listener, crew, clock);
    for (const Child& child : children) {
      const std::string address = listener.address();
      if (write(child.address, address.data(), address.size()) < 0) return 1;
    }
    while (!driver.gather(1, 20)) {
    }
    std::string what;
    double number = 0;
    while (std::cin >> what >> number) {
      const int64_t elements = std::max<int64_t>(static_cast<int64_t>(number) / 4, 1);
      double answer = 0;
      if (what == "trip") answer = step_seconds(driver, trip(elements), clock);
      if (what == "stream") answer = step_seconds(driver, stream(elements), clock);
      if (what == "reduce") answer = step_seconds(driver, reduce(workers, elements), clock);
      if (what == "idle") {
        const double before = processor_seconds(children);
        usleep(static_cast<useconds_t>(number * 1e6));
        answer = (processor_seconds(children) - before) / number / workers;
      }
      std::printf("%.9f\n", answer);
      std::fflush(stdout);
    }
    driver.dismiss();
  }
  for (const Child& child : children) waitpid(child.process, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace troupe

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    return troupe::main_of(std::strcmp(argv[1], "far") == 0, std::atoi(argv[2]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "process_bench: %s\n", error.what());
    return 1;
  }
}
