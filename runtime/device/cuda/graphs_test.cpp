// Runs of launches that come again, as CUDA graphs.

#include <cstring>
#include <optional>

#include "runtime/base/random.h"
#include "runtime/device/cuda/backend.h"
#include "runtime/device/cuda/queue.h"
#include "runtime/device/cuda/test_kernels.h"
#include "runtime/device/test_wait.h"
#include "tests/simulated_cuda/control.h"

namespace troupe {
namespace {

namespace cuda = simulated_cuda;

void no_kernels(KernelTable&) {}

__global__ void add_step(int64_t* out, const int64_t* step) { *out = *out * 100 + *step; }

void launch_add_step(const KernelArgs& args, Stream& stream) {
  EXPECT_EQ(args.firing.step, -1);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1);
  config.blockDim = dim3(1);
  config.stream = stream_of(stream);
  cudaLaunchKernelEx(&config, add_step, args.outputs[0].as<int64_t>(), step_of(stream));
}

// A queue, a number on the device, and what it must be by now.
class CudaGraphs : public testing::Test {
 protected:
  void begin(uint64_t seed, CudaQueue::Graphs graphs = CudaQueue::Graphs::yes) {
    queue.reset();
    cell.reset();
    cuda::reset(seed);
    backend.emplace(no_kernels);
    cell = backend->allocate(0, 8);
    queue.emplace(0, graphs);
    expected = 0;
  }

  void append(uint64_t digit) {
    troupe::append(*queue, cell.get(), cell.get(), digit);
    expected = expected * 31 + digit;
  }
  void run(std::initializer_list<uint64_t> digits) {
    for (const uint64_t digit : digits) append(digit);
    last = queue->mark();
  }
  uint64_t value() {
    wait_until_passed(*queue, queue->mark());
    uint64_t value = 0;
    backend->copy(&value, cell.get(), sizeof(value));
    return value;
  }
  static int64_t launched() { return cuda::calls("cudaLaunchKernelExC"); }
  static int64_t graphs_launched() { return cuda::calls("cudaGraphLaunch"); }

  std::optional<CudaBackend> backend;
  DeviceMemory cell;
  std::optional<CudaQueue> queue;
  uint64_t expected = 0;
  uint64_t last = 0;
};

TEST_F(CudaGraphs, ARunThatComesAgainIsOneLaunch) {
  begin(1);
  run({1, 2, 3});
  const int64_t once = launched();
  EXPECT_EQ(graphs_launched(), 0);
  run({1, 2, 3});
  EXPECT_EQ(launched(), once + 3);  // into the graph
  EXPECT_EQ(graphs_launched(), 1);
  for (int i = 0; i < 5; ++i) run({1, 2, 3});
  EXPECT_EQ(launched(), once + 3);
  EXPECT_EQ(graphs_launched(), 6);
  EXPECT_EQ(value(), expected);
}

TEST_F(CudaGraphs, RunsThatLeaveAKnownPathKeepTheOrder) {
  Random random(3);
  for (uint64_t seed = 0; seed < 100; ++seed) {
    begin(seed);
    for (int i = 0; i < 30; ++i) {
      const int64_t length = random.between(1, 5);
      for (int64_t k = 0; k < length; ++k) append(static_cast<uint64_t>(random.below(2)));
      if (random.chance(0.9)) queue->mark();
    }
    ASSERT_EQ(value(), expected) << "seed " << seed;
    EXPECT_GT(graphs_launched(), 0);
  }
}

TEST_F(CudaGraphs, WhatOthersSeeEndsARun) {
  begin(2);
  CudaQueue other(0);
  const auto once = [&](auto&& seen) {
    append(1);
    append(2);
    seen();
  };
  bool called = false;
  for (int i = 0; i < 3; ++i) {
    once([&] { queue->mark(); });
    once([&] { queue->wait_for(other, other.mark()); });
    once([&] { queue->call([&] { called = true; }); });
  }
  EXPECT_EQ(graphs_launched(), 8);  // all but the first run are known
  EXPECT_EQ(value(), expected);
  EXPECT_TRUE(called);
}

TEST_F(CudaGraphs, KernelsReadTheStepOnTheDevice) {
  for (const auto graphs : {CudaQueue::Graphs::no, CudaQueue::Graphs::yes}) {
    begin(4, graphs);
    const TensorView output = view_of(cell.get());
    std::string failure;
    KernelArgs args;
    args.outputs = {&output, 1};
    args.failure = &failure;
    for (const int64_t step : {11, 12, 13, 14}) {  // the step alone ends a run
      args.firing.step = step;
      queue->launch(launch_add_step, args);
      queue->launch(launch_add_step, args);
    }
    EXPECT_EQ(value(), 1111121213131414u);
    EXPECT_EQ(graphs_launched(), graphs == CudaQueue::Graphs::no ? 0 : 3);
  }
}

TEST_F(CudaGraphs, LongRunsAreCut) {
  begin(5);
  for (int i = 0; i < 3; ++i) {
    for (uint64_t digit = 0; digit < 1300; ++digit) append(digit);
    queue->mark();
  }
  EXPECT_EQ(graphs_launched(), 6);
  EXPECT_EQ(value(), expected);
}

TEST_F(CudaGraphs, WhatIsForgottenIsNew) {
  begin(6);
  for (int i = 0; i < 3; ++i) run({1, 2});
  EXPECT_EQ(graphs_launched(), 2);
  EXPECT_EQ(cuda::graphs(), 1);
  wait_until_passed(*queue, last);
  queue->forget();
  EXPECT_EQ(cuda::graphs(), 0);
  run({1, 2});
  EXPECT_EQ(graphs_launched(), 2);
  EXPECT_EQ(value(), expected);
}

TEST_F(CudaGraphs, WithoutThemEachIsLaunchedAtOnce) {
  begin(7, CudaQueue::Graphs::no);
  run({1, 2});
  const int64_t once = launched();
  append(1);
  EXPECT_EQ(launched(), once + 1);
  for (int i = 0; i < 3; ++i) run({1, 2});
  EXPECT_EQ(graphs_launched(), 0);
  EXPECT_EQ(value(), expected);
}

TEST_F(CudaGraphs, AreLeftOutByTheEnvironment) {
  begin(8);
  for (const char* graphs : {"0", "1"}) {
    setenv("TROUPE_CUDA_GRAPHS", graphs, 1);
    const std::unique_ptr<DeviceQueue> made = backend->make_queue(0);
    for (int i = 0; i < 3; ++i) {
      troupe::append(*made, cell.get(), cell.get(), 1);
      troupe::append(*made, cell.get(), cell.get(), 2);
      wait_until_passed(*made, made->mark());
    }
    EXPECT_EQ(graphs_launched(), std::strcmp(graphs, "0") == 0 ? 0 : 2);
  }
  setenv("TROUPE_CUDA_GRAPHS", "off", 1);
  EXPECT_THROW(backend->make_queue(0), PlanError);
  unsetenv("TROUPE_CUDA_GRAPHS");
}

TEST_F(CudaGraphs, WhereNoneCanBeMadeLaunchesGoOneByOne) {
  for (const char* call : {"cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"}) {
    begin(9);
    run({1, 2});
    if (std::strcmp(call, "cudaStreamEndCapture") == 0) {  // CUDA ends a capture that it does not make a graph of
      const TensorView output = view_of(cell.get());
      std::string failure;
      KernelArgs args;
      args.outputs = {&output, 1};
      args.failure = &failure;
      const Kernel spoils = [](const KernelArgs&, Stream&) {
        void* memory = nullptr;
        if (cudaMalloc(&memory, 8) == cudaSuccess) cudaFree(memory);
        cudaGetLastError();
      };
      for (int i = 0; i < 3; ++i) {
        append(5);
        queue->launch(spoils, args);
        append(6);
        queue->mark();
      }
    } else {
      cuda::fail_call(call, cudaErrorMemoryAllocation);
      for (int i = 0; i < 3; ++i) run({1, 2});
    }
    EXPECT_EQ(graphs_launched(), 0) << call;
    EXPECT_EQ(value(), expected) << call;
    run({7, 8});
    run({7, 8});
    EXPECT_EQ(graphs_launched(), 1) << call;
    EXPECT_EQ(value(), expected) << call;
  }
}

TEST_F(CudaGraphs, AKernelOfOneThatFailsFailsTheQueue) {
  begin(10);
  run({1, 2, 3});
  run({1, 2, 3});
  wait_until_passed(*queue, last);
  cuda::fail_kernel(0, cudaErrorIllegalAddress, 2);
  run({1, 2, 3});
  const Fault fault = fault_of([&] { wait_until_passed(*queue, last); });
  contains(fault.str(), "cudaErrorIllegalAddress");
  fault_of([&] { run({1, 2, 3}); });
  queue->forget();  // does nothing that a failed device could refuse
}

// It would be told with what comes later, as if that had failed.
TEST_F(CudaGraphs, ALaunchThatFailedIsNotPutOff) {
  begin(13);
  for (int i = 0; i < 2; ++i) {
    cuda::fail_call("cudaLaunchKernelExC", cudaErrorInvalidConfiguration, i == 0 ? 3 : 2);  // behind that of the step
    append(1);
    contains(fault_of([&] { append(2); }).what, "when a kernel was launched");
    queue->mark();
  }
}

TEST_F(CudaGraphs, AGraphThatCannotBeLaunchedIsAFault) {
  begin(11);
  run({1, 2});
  run({1, 2});
  cuda::fail_call("cudaGraphLaunch", cudaErrorUnknown);
  const Fault fault = fault_of([&] { run({1, 2}); });
  contains(fault.str(), "cudaGraphLaunch");
}

TEST_F(CudaGraphs, GoWithTheirQueue) {
  begin(12);
  for (int i = 0; i < 3; ++i) run({1, 2});
  EXPECT_EQ(cuda::graphs(), 1);
  queue.reset();
  EXPECT_EQ(cuda::graphs(), 0);
  while (cuda::step()) {
  }
  cell.reset();
  EXPECT_EQ(cuda::bytes_in_use(), 0);
}

}  // namespace
}  // namespace troupe
