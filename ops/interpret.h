// Ops on host memory, one after another with their CPU kernels: what a module called on arrays outside a plan uses,
// and the oracle that tests compare plans with.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "ops/graph.h"
#include "runtime/base/box.h"
#include "runtime/device/kernel.h"

namespace troupe {

// A whole tensor in memory of its own, zeros at first. A value.
class HostTensor {
 public:
  explicit HostTensor(TensorType type);

  const TensorType& type() const { return type_; }
  int64_t elements() const { return type_.shape.elements(); }
  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes_.data()), static_cast<size_t>(elements())};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes_.data()), static_cast<size_t>(elements())};
  }
  // The elements as numbers, whatever the dtype.
  std::vector<double> numbers() const;
  void set_numbers(std::span<const double> numbers);

  // Kernels take views of data that can be written; they write outputs only.
  TensorView view() const { return view(Dims::filled(type_.shape.rank(), 0), type_.shape); }
  // As the part of a larger tensor that lies at `offset`.
  TensorView view(const Dims& offset, const Shape& logical) const;

  bool operator==(const HostTensor&) const = default;

 private:
  TensorType type_;
  std::vector<std::byte> bytes_;
};

// What a kernel may know beside its operands.
struct RunContext {
  uint64_t key = 0;  // of the node's path
  Firing firing = {};
  // Runs the kernel of another device, and returns when it has run. nullptr: the CPU's.
  void (*run)(const OpDef& op, const KernelArgs& args) = nullptr;
};

// Runs an op's CPU kernel with scratch of its own. Throws FaultError with the op and what the kernel says about bad
// data.
void run_kernel(const OpDef& op, const Attrs& attrs, std::span<const TensorView> inputs,
                std::span<const TensorView> outputs, const RunContext& context = {});

// Infers the outputs' types and runs the op on whole tensors. Throws PlanError or FaultError.
std::vector<HostTensor> run_op(const OpDef& op, const Attrs& attrs, std::span<const HostTensor> inputs,
                               const RunContext& context = {});

// The values `wanted` of a graph whose variables and sources are `given`; nodes that they do not need are not run.
// Random numbers are those of a plan's firing.
std::vector<HostTensor> interpret(const Graph& graph, const std::map<ValueId, HostTensor>& given,
                                  std::span<const ValueId> wanted, const Firing& firing = {});

}  // namespace troupe
