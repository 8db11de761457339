// Runs kernels on a GPU's memory in place of the host's that they are given.

#include "tests/cuda/run.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ops/accumulate.h"
#include "runtime/device/test_wait.h"
#include "tests/gpu/device.h"

namespace troupe {
namespace {

// Bytes around what kernels may write, and what is in them.
constexpr size_t kAlignment = 256;
constexpr std::byte kGuard{0xa5};

// Host memory of operands, and where it lies in the device's block.
struct Range {
  std::byte* begin;
  std::byte* end;
  size_t place = 0;
};

// Of an output. That of `accumulate` is a stack, of which the view shows the first.
int64_t bytes_of(const std::string& op, const TensorView& output, const Attrs& attrs) {
  if (op != "accumulate") return output.bytes();
  return output.bytes() *
         accumulator_depth(attrs.integer("first_shard"), attrs.integer("shards"), attrs.integer("total_shards"));
}

std::vector<Range> ranges_of(const std::string& op, const KernelArgs& args) {
  std::vector<Range> operands;
  const auto add = [&operands](void* data, int64_t bytes) {
    auto* begin = static_cast<std::byte*>(data);
    if (bytes > 0) operands.push_back({begin, begin + bytes});
  };
  for (const TensorView& view : args.inputs) add(view.data, view.bytes());
  for (const TensorView& view : args.outputs) add(view.data, bytes_of(op, view, *args.attrs));
  add(args.scratch.data(), static_cast<int64_t>(args.scratch.size()));
  std::sort(operands.begin(), operands.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
  std::vector<Range> ranges;
  size_t place = kAlignment;
  for (const Range& operand : operands) {
    if (!ranges.empty() && operand.begin < ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, operand.end);
    } else {
      ranges.push_back(operand);
    }
  }
  for (Range& range : ranges) {
    range.place = place;
    const size_t bytes = static_cast<size_t>(range.end - range.begin);
    place += (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
  }
  return ranges;
}

// One block of the first device, which grows, and a queue.
class Gpu {
 public:
  explicit Gpu(CudaBackend& backend) : queue_(backend.make_queue(0)) {}

  void run(const std::string& op, const KernelArgs& args) {
    ranges_ = ranges_of(op, args);
    const Range last = ranges_.empty() ? Range{} : ranges_.back();
    const size_t bytes = last.place + static_cast<size_t>(last.end - last.begin) + kAlignment;
    if (bytes > bytes_) block_ = gpus().allocate(0, static_cast<int64_t>(bytes_ = 2 * bytes));
    std::vector<std::byte> image(bytes, kGuard);
    for (const Range& range : ranges_) std::copy(range.begin, range.end, image.data() + range.place);
    gpus().copy(block_.get(), image.data(), static_cast<int64_t>(bytes));

    const std::vector<TensorView> inputs = moved(args.inputs);
    const std::vector<TensorView> outputs = moved(args.outputs);
    KernelArgs there = args;
    there.inputs = inputs;
    there.outputs = outputs;
    there.scratch = {moved(args.scratch.data(), static_cast<int64_t>(args.scratch.size())), args.scratch.size()};
    queue_->launch(cuda_kernels().find(op, DeviceKind::cuda), there);
    wait_until_passed(*queue_, queue_->mark());

    gpus().copy(image.data(), block_.get(), static_cast<int64_t>(bytes));
    for (const Range& range : ranges_) {
      const auto begin = image.begin() + static_cast<std::ptrdiff_t>(range.place);
      std::copy(begin, begin + (range.end - range.begin), range.begin);
      std::fill(begin, begin + (range.end - range.begin), kGuard);
    }
    EXPECT_EQ(std::count(image.begin(), image.end(), kGuard), std::ssize(image)) << op << " wrote beyond its operands";
  }

 private:
  std::byte* moved(void* data, int64_t bytes) const {
    if (bytes == 0) return nullptr;
    auto* begin = static_cast<std::byte*>(data);
    const auto range = std::find_if(ranges_.begin(), ranges_.end(),
                                    [begin](const Range& r) { return r.begin <= begin && begin < r.end; });
    return block_.get() + range->place + (begin - range->begin);
  }
  std::vector<TensorView> moved(std::span<const TensorView> views) const {
    std::vector<TensorView> result(views.begin(), views.end());
    for (TensorView& view : result) view.data = moved(view.data, view.bytes());
    return result;
  }

  std::vector<Range> ranges_;
  size_t bytes_ = 0;
  DeviceMemory block_;
  const std::unique_ptr<DeviceQueue> queue_;
};

}  // namespace

bool has(Products products) { return products == Products::own || has_libraries(); }

void run_cuda_kernel(const std::string& op, const KernelArgs& args, Products products) {
  static Gpu own(gpus());
  if (products == Products::own) return own.run(op, args);
  static Gpu with_libraries(gpus_with_libraries());
  with_libraries.run(op, args);
}

}  // namespace troupe
