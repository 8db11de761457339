// Worker processes of this host, for tests of runs over them.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "actors/engine/driver.h"
#include "actors/engine/plan_builder.h"
#include "actors/engine/sample_graphs.h"
#include "actors/worker_process.h"

namespace troupe {

inline constexpr char kToken[] = "0123456789abcdef";
inline constexpr int64_t kHangsAtStep = 3;
inline constexpr std::chrono::seconds kHangs{6};  // far longer than the driver's patience there

inline void hang(const KernelArgs& args, Stream&) {
  if (args.firing.step == kHangsAtStep) std::this_thread::sleep_for(kHangs);
}

// A process that joins with these options and ends with 0 after a run that ended well, 3 when it was refused or left.
// It is made before this process has threads, and told later where to go.
class WorkerProcess {
 public:
  explicit WorkerProcess(WorkerOptions options) {
    EXPECT_EQ(pipe(address_), 0);
    process_ = fork();
    if (process_ != 0) return;
    char address[64] = {};
    if (read(address_[0], address, sizeof(address) - 1) <= 0) _exit(4);
    int status = 0;
    try {
      options.driver = address;
      KernelTable kernels = sample_kernels();
      kernels.add("hang", DeviceKind::cpu, hang);
      serve(kernels, options);
    } catch (const FaultError& error) {
      status = 3;
    }
    _exit(status);
  }
  ~WorkerProcess() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
    close(address_[0]);
    close(address_[1]);
  }
  WorkerProcess(const WorkerProcess&) = delete;

  void tell(const std::string& address) {
    ASSERT_EQ(write(address_[1], address.data(), address.size()), static_cast<ssize_t>(address.size()));
  }
  pid_t process() const { return process_; }
  // Its exit status within five seconds; -1 when it has not ended.
  int ended() {
    for (int look = 0; look < 500; ++look) {
      int status = 0;
      if (waitpid(process_, &status, WNOHANG) == process_) {
        process_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return -1;
  }

 private:
  int address_[2] = {-1, -1};
  pid_t process_ = -1;
};

// A worker with the token, one thread and so many devices; the memory says which others can map it.
inline WorkerOptions worker_options(int devices, const std::optional<TlsIdentity>& tls,
                                    const std::string& memory = "") {
  WorkerOptions options;
  options.token = kToken;
  options.memory = memory;
  options.devices = devices;
  options.executors = 1;
  options.tls = tls;
  return options;
}

inline double seconds_until_fault(Driver& driver, Fault* fault) {
  const auto began = std::chrono::steady_clock::now();
  try {
    while (!driver.wait_for(1, 20)) {
    }
    ADD_FAILURE() << "the run went on";
  } catch (const FaultError& error) {
    *fault = error.fault();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// Two devices that hand a register back and forth, for ever.
inline Plan ping_pong() {
  PlanBuilder builder;
  const TaskId a = builder.task(builder.stream(builder.device("cpu:0"), "compute"), "a", "mix");
  const TaskId b = builder.task(builder.stream(builder.device("cpu:1"), "compute"), "b", "mix");
  builder.read(b, builder.output(a, {.name = "there", .slots = 2}));
  builder.read(a, builder.output(b, {.name = "back", .slots = 2, .initial = 1}));
  return builder.finish();
}

}  // namespace troupe
