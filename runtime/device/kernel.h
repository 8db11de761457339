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

struct KernelArgs {
  std::span<const TensorView> inputs;
  std::span<const TensorView> outputs;
  std::span<std::byte> scratch;
  const Attrs* attrs = nullptr;
  uint64_t key = 0;  // of the node's path
  Firing firing;
  std::string* failure = nullptr;  // a kernel that finds bad data (an id outside its table) describes it here; the
                                   // engine makes a Fault of it. Never null.
};

using Kernel = void (*)(const KernelArgs& args, Stream& stream);

// Which bytes of this input a kernel with these attributes reads. `input.data` is null.
using KernelReads = std::vector<ByteRuns> (*)(const Attrs& attrs, size_t number, const TensorView& input);

enum class DeviceKind : uint8_t { cpu, cuda };

// The kernels a worker can run, by name. Filled once at start from an explicit list, then read-only; reads are
// thread-safe.
class KernelTable {
 public:
  // Without `read` the kernel reads all of its inputs.
  void add(const std::string& name, DeviceKind kind, Kernel kernel, KernelReads read = nullptr);
  // nullptr when there is none.
  Kernel find(const std::string& name, DeviceKind kind) const;
  // nullptr when there is none, or it reads all.
  KernelReads reads(const std::string& name, DeviceKind kind) const;

 private:
  struct Entry {
    Kernel kernel;
    KernelReads reads;
  };
  std::map<std::pair<std::string, DeviceKind>, Entry> kernels_;
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
