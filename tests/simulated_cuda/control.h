// What tests decide about the simulated CUDA runtime: which devices there are, and what goes wrong. All of it is thread-safe,
// but for `reset`.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace troupe::simulated_cuda {

struct SimulatedDevice {
  std::string name = "Simulated GPU";
  int64_t memory_bytes = 64 << 20;
};

struct Setup {
  std::vector<SimulatedDevice> devices = {{}};
  int driver = 13000;  // the CUDA version that it supports; 0: there is no driver
  bool peers = true;   // devices can reach one another
};

// As a new process finds it. What there was of devices is gone, nothing may use it any more. The order in which things
// happen is drawn from the seed.
void reset(uint64_t seed, Setup setup = {});

// The nth next call of a function ("cudaMalloc") gives the error and does nothing.
void fail_call(const std::string& call, cudaError_t error, int nth = 1);
// The nth next kernel that runs on the device ends with the error, after which everything on the device gives it.
void fail_kernel(int device, cudaError_t error, int nth = 1);
// From now on everything on the device gives the error: it fell off.
void fail_device(int device, cudaError_t error);
// Events no longer hold streams back: a mistake that tests must notice.
void ignore_waits();

// Something that is in a stream happens. False when nothing can.
bool step();
// How often a function has been called since the reset.
int64_t calls(const std::string& function);
// How many kernels have run, events, graphs and streams there are, and bytes of all devices that are in use.
int64_t kernels_run();
int64_t events();
int64_t graphs();
int64_t streams();
int64_t bytes_in_use();

// While one lives, what is put into streams runs although no host asks.
class RunningByItself {
 public:
  RunningByItself();

 private:
  std::jthread thread_;
};

}  // namespace troupe::simulated_cuda
