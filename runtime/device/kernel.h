// Kernels: plain functions on tensor views and a stream. A kernel allocates nothing, waits for nothing and for no
// other device; what it needs beside its operands is handed to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/attrs.h"
#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/device/byte_runs.h"

namespace troupe {

class Stream;

// A contiguous row-major part of a logical tensor. `offset` and `logical` say which part (of one piece): ops whose
// meaning depends on the place (random numbers, a split vocabulary, a causal mask) read them.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  Dims offset;
  Shape logical;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t elements() const { return shape.elements(); }
  int64_t bytes() const { return elements() * size_of(dtype); }
};

// Which piece is being computed.
struct Firing {
  int64_t step = 0;
  int32_t shard = 0;  // of the global batch
  int32_t piece = 0;  // within the shard
  int32_t round = 0;  // the how-many-th firing of the step
  uint64_t seed = 0;  // of the run
};

// What a kernel on a device says of data that it cannot take: in memory which device and host reach. The kernel goes on, and
// touches nothing but its operands. Who changes `said` from 0 to kReporting writes the rest, then kReported.
struct KernelReport {
  static constexpr uint32_t kReporting = 1;
  static constexpr uint32_t kReported = 2;
  uint32_t said = 0;
  int32_t task = -1;
  int32_t operand = -1;  // of the inputs, then the outputs: where the element is
  int64_t element = 0;   // of this device's part
  int64_t value = 0;
};

struct KernelArgs {
  std::span<const TensorView> inputs;
  std::span<const TensorView> outputs;
  std::span<std::byte> scratch;
  const Attrs* attrs = nullptr;
  uint64_t key = 0;  // of the node's path
  Firing firing;
  std::string* failure = nullptr;  // a kernel that finds bad data (an id outside its table) describes it here; the
                                   // engine makes a Fault of it. Never null.
  KernelReport* report = nullptr;  // instead, for one that runs later, in a device's queue; and whose report it is
  int32_t task = -1;
};

using Kernel = void (*)(const KernelArgs& args, Stream& stream);

// Which bytes of this input a kernel with these attributes reads. `input.data` is null.
using KernelReads = std::vector<ByteRuns> (*)(const Attrs& attrs, size_t number, const TensorView& input);

// What a report of a kernel says, in the words in which its CPU kernel describes a failure.
using KernelExplain = std::string (*)(const KernelArgs& args, const KernelReport& report);

enum class DeviceKind : uint8_t { cpu, cuda };

// The kernels a worker can run, by name. Filled once at start from an explicit list, then read-only; reads are
// thread-safe.
class KernelTable {
 public:
  // Without `read` the kernel reads all of its inputs.
  void add(const std::string& name, DeviceKind kind, Kernel kernel, KernelReads read = nullptr);
  // For kernels of this name on any device; some may be known by no kernel here.
  void explain(const std::string& name, KernelExplain text);
  // nullptr when there is none.
  Kernel find(const std::string& name, DeviceKind kind) const;
  // nullptr when there is none, or it reads all.
  KernelReads reads(const std::string& name, DeviceKind kind) const;
  // In general words when nothing is known of the kernel.
  std::string text_of(const std::string& name, const KernelArgs& args, const KernelReport& report) const;

 private:
  struct Entry {
    Kernel kernel;
    KernelReads reads;
  };
  std::map<std::pair<std::string, DeviceKind>, Entry> kernels_;
  std::map<std::string, KernelExplain> explain_;
};

class DeviceQueue;

// Where firings of a device go. Without a queue a kernel has run when it returns.
class Stream {
 public:
  explicit Stream(DeviceKind kind = DeviceKind::cpu, DeviceQueue* queue = nullptr) : kind_(kind), queue_(queue) {}
  DeviceKind kind() const { return kind_; }
  DeviceQueue* queue() const { return queue_; }

 private:
  DeviceKind kind_;
  DeviceQueue* queue_;
};

}  // namespace troupe
