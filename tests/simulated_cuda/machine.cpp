#include "tests/simulated_cuda/machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/base/check.h"

namespace troupe::simulated_cuda {
namespace {

constexpr int kRubbish = 0xa5;
constexpr size_t kPage = 4096;
constexpr int kOpen = PROT_READ | PROT_WRITE;

}  // namespace

thread_local bool in_host_function = false;

Machine& Machine::the() {
  static Machine machine;
  return machine;
}

void Machine::reset(uint64_t seed, Setup with) {
  for (const auto& [data, block] : blocks) munmap(block.data, block.mapped);
  blocks.clear();
  streams.clear();
  events.clear();
  graphs.clear();
  ready_graphs.clear();
  devices.clear();
  failing_calls.clear();
  shared_memory.clear();
  random = Random(seed);
  setup = std::move(with);
  ignores_waits = false;
  kernels_run = 0;
  calls.clear();
  ++generation;
  for (const SimulatedDevice& what : setup.devices) {
    devices.push_back({.what = what});
    devices.back().default_stream = std::make_unique<CUstream_st>();
    devices.back().default_stream->device = static_cast<int>(devices.size()) - 1;
  }
}

std::vector<CUstream_st*> Machine::all_streams() const {
  std::vector<CUstream_st*> all;
  for (const Device& device : devices) all.push_back(device.default_stream.get());
  for (const auto& [handle, stream] : streams) all.push_back(stream.get());
  // Not by address, so that a seed draws the same order in every run.
  std::stable_sort(all.begin() + std::ssize(devices), all.end(),
                   [](const CUstream_st* a, const CUstream_st* b) { return a->number < b->number; });
  return all;
}

bool Machine::step(Lock& lock) {
  std::vector<CUstream_st*> ready;
  for (CUstream_st* stream : all_streams()) {
    if (stream->busy || stream->commands.empty()) continue;
    const Command& next = stream->commands.front();
    if (next.kind != Command::Kind::wait || next.record->done || ignores_waits) ready.push_back(stream);
  }
  if (ready.empty()) return false;
  happen(*ready[static_cast<size_t>(random.below(std::ssize(ready)))], lock);
  return true;
}

void Machine::happen(CUstream_st& stream, Lock& lock) {
  const Command command = std::move(stream.commands.front());
  stream.commands.pop_front();
  const bool failed = devices[static_cast<size_t>(stream.device)].failed != cudaSuccess;
  switch (command.kind) {
    case Command::Kind::kernel:
      if (!failed) run_kernel(stream.device, command.run);
      break;
    case Command::Kind::copy:
      if (!failed) run_open({}, command.run);
      break;
    case Command::Kind::free:
      if (!failed) command.run();
      break;
    case Command::Kind::record:
      command.record->done = true;
      command.record->when = std::chrono::steady_clock::now();
      break;
    case Command::Kind::wait:
      break;
    case Command::Kind::host: {
      const cudaError_t status = devices[static_cast<size_t>(stream.device)].failed;
      if (failed && !command.called_after_failure) break;
      stream.busy = true;
      lock.unlock();
      in_host_function = true;
      command.host(status);
      in_host_function = false;
      lock.lock();
      stream.busy = false;
      break;
    }
  }
  if (stream.destroyed && stream.commands.empty()) streams.erase(&stream);
  changed.notify_all();
}

void Machine::run_kernel(int number, const std::function<void()>& body) {
  Device& device = devices[static_cast<size_t>(number)];
  ++kernels_run;
  if (device.kernels_until_error > 0 && --device.kernels_until_error == 0) {
    device.failed = device.kernel_error;
    return;
  }
  std::set<int> reached = device.peers;
  reached.insert(number);
  run_open(reached, body);
}

void Machine::run_open(const std::set<int>& reached, const std::function<void()>& body) const {
  const auto protect = [&](int access) {
    for (const auto& [data, block] : blocks) {
      if (block.device >= 0 && (reached.empty() || reached.contains(block.device))) {
        mprotect(block.data, block.mapped, access);
      }
    }
  };
  protect(kOpen);
  try {
    body();
  } catch (...) {
    protect(PROT_NONE);
    throw;
  }
  protect(PROT_NONE);
}

void Machine::run_until(Lock& lock, const std::function<bool()>& done) {
  while (!done()) {
    if (step(lock)) continue;
    const std::vector<CUstream_st*> all = all_streams();
    const bool busy = std::any_of(all.begin(), all.end(), [](const CUstream_st* stream) { return stream->busy; });
    CHECK(busy, "nothing more can happen in any stream");
    changed.wait(lock);
  }
}

void Machine::some_time_passes(Lock& lock, int64_t at_most) {
  for (int64_t left = random.between(0, at_most); left > 0 && step(lock); --left) {
  }
}

void Machine::put(CUstream_st& stream, Command command) {
  stream.commands.push_back(std::move(command));
  changed.notify_all();
}

CUstream_st* Machine::find(cudaStream_t handle) {
  const auto it = streams.find(handle);
  return it == streams.end() || it->second->destroyed ? nullptr : it->second.get();
}

CUevent_st* Machine::find(cudaEvent_t handle) {
  const auto it = events.find(handle);
  return it == events.end() ? nullptr : it->second.get();
}

cudaError_t Machine::allocate(void** pointer, size_t bytes, int device) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  const size_t mapped = (bytes + kPage - 1) / kPage * kPage;
  if (device >= 0) {
    Device& of = devices[static_cast<size_t>(device)];
    if (of.bytes + static_cast<int64_t>(mapped) > of.what.memory_bytes) return cudaErrorMemoryAllocation;
    of.bytes += static_cast<int64_t>(mapped);
  }
  void* data = mmap(nullptr, mapped, kOpen, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(data != MAP_FAILED, mapped);
  std::memset(data, kRubbish, mapped);
  const Block block{static_cast<std::byte*>(data), bytes, mapped, device};
  blocks[block.data] = block;
  if (device >= 0) mprotect(data, mapped, PROT_NONE);
  *pointer = data;
  return cudaSuccess;
}

cudaError_t Machine::release(void* pointer, bool of_device) {
  if (pointer == nullptr) return cudaSuccess;
  const auto it = blocks.find(static_cast<const std::byte*>(pointer));
  if (it == blocks.end() || (it->second.device >= 0) != of_device) return cudaErrorInvalidValue;
  const Block& block = it->second;
  if (of_device) devices[static_cast<size_t>(block.device)].bytes -= static_cast<int64_t>(block.mapped);
  munmap(block.data, block.mapped);
  blocks.erase(it);
  return cudaSuccess;
}

const Block* Machine::block_of(const void* pointer) const {
  const auto* at = static_cast<const std::byte*>(pointer);
  const auto it = blocks.upper_bound(at);
  if (it == blocks.begin()) return nullptr;
  const Block& block = std::prev(it)->second;
  return at < block.data + block.bytes ? &block : nullptr;
}

void reset(uint64_t seed, Setup setup) {
  const Lock lock(Machine::the().mutex);
  Machine::the().reset(seed, std::move(setup));
}

void fail_call(const std::string& call, cudaError_t error, int nth) {
  const Lock lock(Machine::the().mutex);
  Machine::the().failing_calls[call].emplace_back(nth, error);
}

void fail_kernel(int device, cudaError_t error, int nth) {
  const Lock lock(Machine::the().mutex);
  Device& of = Machine::the().devices.at(static_cast<size_t>(device));
  of.kernel_error = error;
  of.kernels_until_error = nth;
}

void fail_device(int device, cudaError_t error) {
  const Lock lock(Machine::the().mutex);
  Machine::the().devices.at(static_cast<size_t>(device)).failed = error;
}

void ignore_waits() {
  const Lock lock(Machine::the().mutex);
  Machine::the().ignores_waits = true;
}

bool step() {
  Lock lock(Machine::the().mutex);
  return Machine::the().step(lock);
}

int64_t kernels_run() {
  const Lock lock(Machine::the().mutex);
  return Machine::the().kernels_run;
}

int64_t events() {
  const Lock lock(Machine::the().mutex);
  return std::ssize(Machine::the().events);
}

int64_t graphs() {
  const Lock lock(Machine::the().mutex);
  return std::ssize(Machine::the().graphs) + std::ssize(Machine::the().ready_graphs);
}

int64_t calls(const std::string& function) {
  const Lock lock(Machine::the().mutex);
  return Machine::the().calls[function];
}

int64_t streams() {
  const Lock lock(Machine::the().mutex);
  return std::ssize(Machine::the().streams);
}

int64_t bytes_in_use() {
  const Lock lock(Machine::the().mutex);
  int64_t bytes = 0;
  for (const Device& device : Machine::the().devices) bytes += device.bytes;
  return bytes;
}

RunningByItself::RunningByItself()
    : thread_([](const std::stop_token& stop) {
        Machine& machine = Machine::the();
        Lock lock(machine.mutex);
        while (!stop.stop_requested()) {
          if (!machine.step(lock)) machine.changed.wait_for(lock, std::chrono::milliseconds(1));
        }
      }) {}

}  // namespace troupe::simulated_cuda
