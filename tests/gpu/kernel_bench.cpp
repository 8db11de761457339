// How long CUDA kernels take on a GPU, and what share of its memory's or its processors' speed that is.
//
//   ops_cuda_gpu_bench [FILE]    the results as JSON; otherwise to $OUT/kernels.json when OUT is set
//
// A line per kernel: the median of its times by the GPU's clock. Matrix products have two where there is cuBLASLt: by our own
// kernel, and by the library.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/base/text.h"
#include "runtime/device/cuda/error.h"
#include "runtime/device/cuda/queue.h"
#include "runtime/device/test_wait.h"
#include "tests/cuda/run.h"
#include "tests/gpu/device.h"
#include "tests/gpu/table.h"

namespace troupe {
namespace {

constexpr int kWarmUp = 2;
constexpr int kTimes = 9;
constexpr int64_t kDrawn = 1 << 22;  // elements that differ; then they come again

// An event of the GPU's clock.
class Moment {
 public:
  Moment() { check(cudaEventCreate(&event_), 0, "cudaEventCreate"); }
  ~Moment() { cudaEventDestroy(event_); }
  Moment(const Moment&) = delete;
  void record(const CudaQueue& queue) { check(cudaEventRecord(event_, queue.stream()), 0, "cudaEventRecord"); }
  double milliseconds_since(const Moment& begin) const {
    float result = 0;
    check(cudaEventElapsedTime(&result, begin.event_, event_), 0, "cudaEventElapsedTime");
    return result;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

std::vector<double> drawn(const LawInput& values, int64_t n) {
  Random random(1);
  std::vector<double> numbers;
  for (int64_t i = 0; i < n; ++i) {
    numbers.push_back(values.integers_below > 0 ? static_cast<double>(random.below(values.integers_below))
                                                : values.low + (values.high - values.low) * random.uniform());
  }
  return numbers;
}

// Operands in the memory of the first device.
class Operands {
 public:
  TensorView add(const TensorType& type) {
    return {add_bytes(type.shape.elements() * size_of(type.dtype)).data(), type.dtype, type.shape,
            Dims::filled(type.shape.rank(), 0), type.shape};
  }
  std::span<std::byte> add_bytes(int64_t bytes) {
    blocks_.push_back(gpus().allocate(0, bytes));
    return {blocks_.back().get(), static_cast<size_t>(bytes)};
  }
  TensorView add_drawn(const Operand& operand) {
    const TensorView view = add({operand.dtype, operand.values.shape});
    const int64_t count = std::min(view.elements(), kDrawn);
    HostTensor some({operand.dtype, {count}});
    some.set_numbers(drawn(operand.values, count));
    const int64_t bytes = some.view().bytes();
    for (int64_t at = 0; at < view.bytes(); at += bytes) {
      gpus().copy(view.as<std::byte>() + at, some.view().data, std::min(bytes, view.bytes() - at));
    }
    return view;
  }

 private:
  std::vector<DeviceMemory> blocks_;
};

std::vector<double> times_of(const UseCase& use, CudaQueue& queue) {
  Operands operands;
  std::vector<TensorView> inputs;
  std::vector<TensorView> outputs;
  for (const Operand& operand : use.operands) inputs.push_back(operands.add_drawn(operand));
  for (const TensorType& type : use.output_types()) outputs.push_back(operands.add(type));
  for (auto [output, input] : use.def().updates)
    outputs[static_cast<size_t>(output)].data = inputs[static_cast<size_t>(input)].data;
  std::span<std::byte> scratch;
  if (use.def().scratch_bytes != nullptr) {
    const std::vector<TensorType> types = use.types();
    scratch = operands.add_bytes(use.def().scratch_bytes({types, use.attrs}));
  }
  std::string failure;
  const KernelArgs args{inputs, outputs, scratch, &use.attrs, 7, {}, &failure};
  const Kernel kernel = cuda_kernels().find(use.op, DeviceKind::cuda);
  std::vector<double> times;
  for (int i = 0; i < kWarmUp + kTimes; ++i) {
    Moment begin;
    Moment end;
    begin.record(queue);
    queue.launch(kernel, args);
    queue.mark();  // a launch that comes again is put into the stream no earlier
    end.record(queue);
    wait_until_passed(queue, queue.mark());
    if (i >= kWarmUp) times.push_back(end.milliseconds_since(begin));
  }
  return times;
}

// A use and who multiplies matrices in it.
struct Row {
  UseCase use;
  Products products = Products::own;
  std::string model{};  // whose size it has, where that is not GPT-2
  std::string name() const {
    return model + use.op + (products == Products::own ? "" : " (" + name_of(products) + ")");
  }
};

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const UseCase& use : gpt2_kernels()) {
    all.push_back({use, Products::own});
    if (is_product(use.op) && has(Products::cublas_lt)) all.push_back({use, Products::cublas_lt});
  }
  for (const UseCase& use : llama_attention()) all.push_back({use, Products::own, "llama_"});
  return all;
}

// Prints a line, and returns it as JSON.
std::string measure(const Row& row, CudaQueue& queue) {
  const UseCase& use = row.use;
  const Work work = work_of(use);
  char line[300];
  if (const DeviceInfo gpu = gpus().devices()[0]; work.bytes > 0.95 * static_cast<double>(gpu.free_bytes)) {
    std::printf("%-36s skipped: it needs %s\n", row.name().c_str(),
                bytes_text(static_cast<int64_t>(work.bytes)).c_str());
    return R"({"kernel": ")" + row.name() + R"(", "skipped": "memory"})";
  }
  const std::vector<double> times = times_of(use, queue);
  const double milliseconds = median(times);
  const Rate rate = rate_of(work, milliseconds);
  const bool counts_flops = work.flops > 0;
  std::printf("%-36s %9.3f ms  %8.2f %-6s %8.2f %-7s %5.1f %%\n", row.name().c_str(), milliseconds,
              counts_flops ? work.flops / 1e12 : work.bytes / 1e9, counts_flops ? "TFLOP" : "GB",
              rate.per_second / 1e12, counts_flops ? "TFLOP/s" : "TB/s", 100 * rate.share);
  std::fflush(stdout);
  std::snprintf(line, sizeof(line),
                R"({"kernel": "%s", "milliseconds": %.6g, "shortest": %.6g, "times": %zu, "bytes": %.15g, )"
                R"("flops": %.15g, "per_second": %.6g, "share": %.4g})",
                row.name().c_str(), milliseconds, *std::min_element(times.begin(), times.end()), times.size(),
                work.bytes, work.flops, rate.per_second, rate.share);
  return line;
}

void run(const std::string& file) {
  std::printf("%s\n", gpus_with_libraries().description().c_str());
  if (!has_gpu()) return;
  const auto own = gpus().make_queue(0);
  const auto with_libraries = gpus_with_libraries().make_queue(0);
  const std::string lines = join(rows(), ",\n  ", [&](const Row& row) {
    return measure(row, static_cast<CudaQueue&>(row.products == Products::own ? *own : *with_libraries));
  });
  if (file.empty()) return;
  std::ofstream out(file);
  out << "{\"device\": \"" << gpus().devices()[0].name << "\", \"kernels\": [\n  " << lines << "\n]}\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace
}  // namespace troupe

int main(int argc, char** argv) {
  const char* out = std::getenv("OUT");
  const std::string file = argc > 1 ? argv[1] : out != nullptr ? std::string(out) + "/kernels.json" : "";
  try {
    troupe::run(file);
  } catch (const troupe::FaultError& error) {
    std::fprintf(stderr, "ops_cuda_gpu_bench: %s: %s\n", error.fault().device.c_str(), error.fault().what.c_str());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ops_cuda_gpu_bench: %s\n", error.what());
    return 1;
  }
}
