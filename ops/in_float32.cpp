#include "ops/in_float32.h"

#include <algorithm>

#include "ops/cpu/movement.h"
#include "ops/dispatch.h"
#include "runtime/base/check.h"

namespace troupe::in_float32_detail {
namespace {

constexpr int64_t kAlign = 64;
constexpr int64_t kBlock = 1024;  // elements: a block of every operand stays in the first-level cache
constexpr size_t kMostBlockOutputs = 2;

int64_t widened_bytes(int64_t elements) { return (elements * 4 + kAlign - 1) / kAlign * kAlign; }

bool any_low(std::span<const TensorView> views) {
  return std::any_of(views.begin(), views.end(), [](const TensorView& view) { return is_low(view.dtype); });
}

bool any_low(const OpArgs& args) {
  return std::any_of(args.inputs.begin(), args.inputs.end(), [](const TensorType& type) { return is_low(type.dtype); });
}

// Takes float32 buffers from the front of the scratch.
class Buffers {
 public:
  explicit Buffers(std::span<std::byte> scratch) : left_(scratch) {}

  TensorView widened(const TensorView& view) {
    if (!is_low(view.dtype)) return view;
    const auto bytes = static_cast<size_t>(widened_bytes(view.elements()));
    CHECK(bytes <= left_.size(), bytes, left_.size());
    TensorView result = view;
    result.dtype = DType::f32;
    result.data = left_.data();
    left_ = left_.subspan(bytes);
    return result;
  }
  std::span<std::byte> left() const { return left_; }

 private:
  std::span<std::byte> left_;
};

// Views are copied into arrays of a fixed size, since a kernel allocates nothing; more operands than this (of add_n)
// take another way.
constexpr size_t kMostOperands = 16;

void load(const TensorView& to, const TensorView& from) {
  if (!is_low(from.dtype)) return;
  with_low(from.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::cast<float, T>(to.as<float>(), from.as<T>(), to.elements());
  });
}

void store(const TensorView& to, const TensorView& from) {
  if (!is_low(to.dtype)) return;
  with_low(to.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::cast<T, float>(to.as<T>(), from.as<float>(), to.elements());
  });
}

void run_widened(Kernel kernel, const KernelArgs& args, std::span<const TensorView> inputs,
                 std::span<const TensorView> outputs, Stream& stream) {
  CHECK(inputs.size() <= kMostOperands && outputs.size() <= kMostOperands, inputs.size(), outputs.size());
  TensorView wide_inputs[kMostOperands], wide_outputs[kMostOperands];
  Buffers buffers(args.scratch);
  for (size_t i = 0; i < inputs.size(); ++i) {
    wide_inputs[i] = buffers.widened(inputs[i]);
    load(wide_inputs[i], inputs[i]);
  }
  for (size_t i = 0; i < outputs.size(); ++i) wide_outputs[i] = buffers.widened(outputs[i]);
  KernelArgs wide = args;
  wide.inputs = {wide_inputs, inputs.size()};
  wide.outputs = {wide_outputs, outputs.size()};
  wide.scratch = buffers.left();
  kernel(wide, stream);
  for (size_t i = 0; i < outputs.size(); ++i) store(outputs[i], wide_outputs[i]);
}

TensorView block_of(const TensorView& view, int64_t first, int64_t count) {
  return {view.as<std::byte>() + first * size_of(view.dtype), view.dtype, {count}, {0}, {count}};
}

}  // namespace

void run_whole(Kernel kernel, const KernelArgs& args, Stream& stream) {
  if (!any_low(args.inputs) && !any_low(args.outputs)) return kernel(args, stream);
  run_widened(kernel, args, args.inputs, args.outputs, stream);
}

void run_blocks(Kernel kernel, const KernelArgs& args, Stream& stream) {
  if (!any_low(args.inputs) && !any_low(args.outputs)) return kernel(args, stream);
  CHECK(args.inputs.size() <= kMostOperands && args.outputs.size() <= kMostBlockOutputs, args.inputs.size());
  const int64_t n = args.outputs[0].elements();
  TensorView inputs[kMostOperands], outputs[kMostBlockOutputs];
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    for (size_t i = 0; i < args.inputs.size(); ++i) inputs[i] = block_of(args.inputs[i], first, count);
    for (size_t i = 0; i < args.outputs.size(); ++i) outputs[i] = block_of(args.outputs[i], first, count);
    run_widened(kernel, args, {inputs, args.inputs.size()}, {outputs, args.outputs.size()}, stream);
  }
}

int64_t whole_bytes(const OpArgs& args, Infer infer, ScratchBytes own) {
  if (!any_low(args)) return own == nullptr ? 0 : own(args);
  std::vector<TensorType> types(args.inputs.begin(), args.inputs.end());
  int64_t bytes = 0;
  const auto widen = [&bytes](TensorType& type) {
    if (!is_low(type.dtype)) return;
    bytes += widened_bytes(type.shape.elements());
    type.dtype = DType::f32;
  };
  std::vector<TensorType> outputs = infer(args);
  for (TensorType& type : types) widen(type);
  for (TensorType& type : outputs) widen(type);
  return bytes + (own == nullptr ? 0 : own({types, args.attrs}));
}

int64_t block_bytes(const OpArgs& args) {
  if (!any_low(args)) return 0;
  return static_cast<int64_t>(args.inputs.size() + kMostBlockOutputs) * widened_bytes(kBlock);
}

}  // namespace troupe::in_float32_detail
