#include "ops/pull.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "ops/cpu/movement.h"
#include "ops/cpu/reduce_tree.h"
#include "runtime/base/check.h"

namespace troupe {
namespace {

// `regions` as numbers: per region its rank, offset, extent, the number of sources, per source its input, base and
// offset, the length of the program and the program.
class Reader {
 public:
  explicit Reader(const std::vector<int64_t>& numbers) : at_(numbers.data()), end_(at_ + numbers.size()) {}
  bool done() const { return at_ == end_; }
  int64_t next() { return *at_++; }
  const int64_t* take(int64_t n) {
    const int64_t* taken = at_;
    at_ += n;
    return taken;
  }

 private:
  const int64_t* at_;
  const int64_t* end_;
};

int64_t linear(const Dims& strides, const int64_t* index, int rank) {
  int64_t at = 0;
  for (int d = 0; d < rank; ++d) at += strides[d] * index[d];
  return at;
}

template <class T>
void fill_neutral(const TensorView& out, int reduction) {
  T value = 0;
  if constexpr (std::numeric_limits<T>::has_infinity) {
    if (reduction == 1) value = -std::numeric_limits<T>::infinity();
    if (reduction == 2) value = std::numeric_limits<T>::infinity();
  } else {
    if (reduction == 1) value = std::numeric_limits<T>::lowest();
    if (reduction == 2) value = std::numeric_limits<T>::max();
  }
  std::fill_n(out.as<T>(), out.elements(), value);
}

template <LowFloat T>
void fill_neutral(const TensorView& out, int reduction) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::fill_n(out.as<T>(), out.elements(), T(reduction == 0 ? 0.0f : reduction == 1 ? -infinity : infinity));
}

void fill_neutral(const TensorView& out, int reduction) {
  switch (out.dtype) {
    case DType::f32:
      return fill_neutral<float>(out, reduction);
    case DType::f64:
      return fill_neutral<double>(out, reduction);
    case DType::i32:
      return fill_neutral<int32_t>(out, reduction);
    case DType::i64:
      return fill_neutral<int64_t>(out, reduction);
    case DType::u8:
    case DType::b8:
      return fill_neutral<uint8_t>(out, reduction);
    case DType::bf16:
      return fill_neutral<BFloat16>(out, reduction);
    case DType::f16:
      return fill_neutral<Float16>(out, reduction);
  }
}

// A source of a region, as read from the attribute.
struct Part {
  const std::byte* data;  // at the region's first element
  Shape shape;            // of the register's part
  Dims strides;
};

Shape part_shape(const TensorView& view, bool flat) { return flat ? Shape{view.elements()} : view.shape; }

Part read_part(const KernelArgs& args, bool flat, int rank, Reader& reader) {
  const TensorView& input = args.inputs[static_cast<size_t>(reader.next())];
  const int64_t base = reader.next();
  const Shape shape = part_shape(input, flat);
  const Dims strides = strides_of(shape);
  const int64_t first = base + linear(strides, reader.take(rank), rank);
  return {input.as<std::byte>() + first * size_of(input.dtype), shape, strides};
}

// The dim from which on the region takes whole rows of `shape`: everything from there is one contiguous run.
int first_run_dim(const int64_t* extent, const Shape& shape, int dim) {
  int first = shape.rank() - 1;
  while (first > dim && extent[first] == shape[first]) --first;
  return std::max(first, dim);
}

// Sums of bfloat16 and float16 are made in float32, of blocks of every source.
constexpr int64_t kWideBlock = 256;

// Room for a block of the sum and of every source, and for a pointer to each of the latter.
size_t wide_bytes(DType dtype, size_t sources) {
  return is_low(dtype) ? sources * sizeof(float*) + (sources + 1) * kWideBlock * sizeof(float) : 0;
}

template <LowFloat T>
void reduce_widened(cpu::TreeOp op, T* out, const T* const* rows, int64_t sources, const int* program, int64_t length,
                    int64_t run, std::byte* room) {
  const float** columns = reinterpret_cast<const float**>(room);
  float* wide = reinterpret_cast<float*>(columns + sources);
  for (int64_t s = 0; s < sources; ++s) columns[s] = wide + (s + 1) * kWideBlock;
  for (int64_t first = 0; first < run; first += kWideBlock) {
    const int64_t count = std::min(kWideBlock, run - first);
    for (int64_t s = 0; s < sources; ++s) {
      cpu::cast<float, T>(wide + (s + 1) * kWideBlock, rows[s] + first, count);
    }
    cpu::reduce_tree<float>(op, wide, columns, sources, program, length, 0, count);
    cpu::cast<T, float>(out + first, wide, count);
  }
}

class Pulling {
 public:
  explicit Pulling(const KernelArgs& args)
      : args_(args),
        flat_(args.attrs->integer("flat") != 0),
        reduction_(static_cast<int>(args.attrs->integer("reduction"))),
        out_shape_(part_shape(args.outputs[0], flat_)),
        out_strides_(strides_of(out_shape_)) {}

  void run() {
    if (args_.attrs->integer("filled") != 0) fill_neutral(args_.outputs[0], reduction_);
    Reader reader(args_.attrs->integers("regions"));
    while (!reader.done()) region(reader);
  }

 private:
  void region(Reader& reader) {
    const int rank = static_cast<int>(reader.next());
    const int64_t* offset = reader.take(rank);
    const int64_t* extent = reader.take(rank);
    const int64_t sources = reader.next();
    if (sources == 1) {
      copy(rank, offset, extent, reader);
      reader.take(reader.next());
      return;
    }
    switch (args_.outputs[0].dtype) {
      case DType::f32:
        return reduce<float>(rank, offset, extent, sources, reader);
      case DType::f64:
        return reduce<double>(rank, offset, extent, sources, reader);
      case DType::bf16:
        return reduce<BFloat16>(rank, offset, extent, sources, reader);
      case DType::f16:
        return reduce<Float16>(rank, offset, extent, sources, reader);
      default:
        *args_.failure = "sums between devices are possible for f32, f64, bf16 and f16, not for " +
                         std::string(name_of(args_.outputs[0].dtype));
        for (int64_t i = 0; i < sources; ++i) reader.take(2 + rank);
        reader.take(reader.next());
    }
  }

  void copy(int rank, const int64_t* offset, const int64_t* extent, Reader& reader) {
    const Part from = read_part(args_, flat_, rank, reader);
    const TensorView& out = args_.outputs[0];
    std::byte* to = out.as<std::byte>() + linear(out_strides_, offset, rank) * size_of(out.dtype);
    if (from.data == to) return;  // a slice of a sum may lie where it belongs in the whole
    if (flat_) return cpu::copy_part(to, from.data, extent[0] * size_of(out.dtype), out.bytes());
    const Dims zero = Dims::filled(rank, 0);
    cpu::copy_box(args_.outputs[0].data, out_shape_.begin(), offset, from.data, from.shape.begin(), zero.begin(),
                  extent, rank, size_of(args_.outputs[0].dtype));
  }

  // Adds the sources run by run, each run along the program. A run is contiguous in every part.
  template <class T>
  void reduce(int rank, const int64_t* offset, const int64_t* extent, int64_t sources, Reader& reader) {
    const auto parts = std::span(reinterpret_cast<Part*>(args_.scratch.data()), static_cast<size_t>(sources));
    const T** rows = reinterpret_cast<const T**>(parts.data() + sources);
    std::byte* wide = reinterpret_cast<std::byte*>(rows + sources);
    int* program = reinterpret_cast<int*>(wide + wide_bytes(args_.outputs[0].dtype, parts.size()));
    int run_dim = rank == 0 ? 0 : first_run_dim(extent, out_shape_, 0);
    for (Part& part : parts) {
      part = read_part(args_, flat_, rank, reader);
      if (rank > 0) run_dim = first_run_dim(extent, part.shape, run_dim);
    }
    const int64_t length = reader.next();
    const int64_t* numbers = reader.take(length);
    for (int64_t i = 0; i < length; ++i) program[i] = static_cast<int>(numbers[i]);
    int64_t run = 1;
    int64_t runs = 1;
    for (int d = 0; d < rank; ++d) (d >= run_dim ? run : runs) *= extent[d];
    const cpu::TreeOp op = reduction_ == 0   ? cpu::TreeOp::kSum
                           : reduction_ == 1 ? cpu::TreeOp::kMax
                                             : cpu::TreeOp::kMin;
    T* out = args_.outputs[0].as<T>() + linear(out_strides_, offset, rank);
    int64_t index[kMaxRank] = {};
    for (int64_t r = 0; r < runs && run > 0; ++r) {
      for (size_t s = 0; s < parts.size(); ++s) {
        rows[s] = reinterpret_cast<const T*>(parts[s].data) + linear(parts[s].strides, index, run_dim);
      }
      T* to = out + linear(out_strides_, index, run_dim);
      if constexpr (LowFloat<T>) {
        reduce_widened(op, to, rows, sources, program, length, run, wide);
      } else {
        cpu::reduce_tree<T>(op, to, rows, sources, program, length, 0, run);
      }
      for (int d = run_dim - 1; d >= 0 && ++index[d] == extent[d]; --d) index[d] = 0;
    }
  }

  const KernelArgs& args_;
  bool flat_;
  int reduction_;
  Shape out_shape_;
  Dims out_strides_;
};

}  // namespace

Attrs pull_attrs(const std::vector<PullRegion>& regions, bool flat, bool filled, int reduction) {
  std::vector<int64_t> numbers;
  const auto put = [&](const Dims& dims) { numbers.insert(numbers.end(), dims.begin(), dims.end()); };
  for (const PullRegion& region : regions) {
    numbers.push_back(region.extent.rank());
    put(region.offset);
    put(region.extent);
    numbers.push_back(static_cast<int64_t>(region.sources.size()));
    for (const PullRegion::Source& source : region.sources) {
      numbers.push_back(source.input);
      numbers.push_back(source.base);
      put(source.offset);
    }
    numbers.push_back(static_cast<int64_t>(region.program.size()));
    numbers.insert(numbers.end(), region.program.begin(), region.program.end());
  }
  return {{"regions", numbers},
          {"flat", static_cast<int64_t>(flat)},
          {"filled", static_cast<int64_t>(filled)},
          {"reduction", static_cast<int64_t>(reduction)}};
}

std::vector<int64_t> pulled_elements(const Attrs& attrs, size_t inputs) {
  std::vector<int64_t> elements(inputs, 0);
  Reader reader(attrs.integers("regions"));
  while (!reader.done()) {
    const int64_t rank = reader.next();
    reader.take(rank);
    const int64_t* extent = reader.take(rank);
    const int64_t size = std::accumulate(extent, extent + rank, int64_t{1}, std::multiplies<>());
    for (int64_t sources = reader.next(); sources > 0; --sources) {
      elements[static_cast<size_t>(reader.next())] += size;
      reader.take(1 + rank);
    }
    reader.take(reader.next());
  }
  return elements;
}

namespace {

// A box of a row-major tensor, as runs: one set of runs for every index of all outer dims but the last.
void add_runs(std::vector<ByteRuns>& runs, int64_t base, const Dims& strides, const Shape& shape, const int64_t* offset,
              const int64_t* extent, int rank, int64_t size) {
  const int run_dim = rank == 0 ? 0 : first_run_dim(extent, shape, 0);
  int64_t run = size;
  for (int d = run_dim; d < rank; ++d) run *= extent[d];
  const int rows_dim = run_dim - 1;
  const int64_t rows = rows_dim < 0 ? 1 : extent[rows_dim];
  const int64_t stride = rows_dim < 0 ? 0 : strides[rows_dim] * size;
  int64_t outer = 1;
  for (int d = 0; d < rows_dim; ++d) outer *= extent[d];
  if (run == 0 || rows == 0) return;
  int64_t index[kMaxRank] = {};
  for (int64_t o = 0; o < outer; ++o) {
    const int64_t at = base + linear(strides, offset, rank) + linear(strides, index, std::max(rows_dim, 0));
    runs.push_back({at * size, run, rows, rows == 1 ? 0 : stride});
    for (int d = rows_dim - 1; d >= 0 && ++index[d] == extent[d]; --d) index[d] = 0;
  }
}

}  // namespace

std::vector<ByteRuns> pull_reads(const Attrs& attrs, size_t number, const TensorView& input) {
  const Shape shape = part_shape(input, attrs.integer("flat") != 0);
  const Dims strides = strides_of(shape);
  std::vector<ByteRuns> runs;
  Reader reader(attrs.integers("regions"));
  while (!reader.done()) {
    const int rank = static_cast<int>(reader.next());
    reader.take(rank);
    const int64_t* extent = reader.take(rank);
    for (int64_t sources = reader.next(); sources > 0; --sources) {
      const bool wanted = reader.next() == static_cast<int64_t>(number);
      const int64_t base = reader.next();
      const int64_t* offset = reader.take(rank);
      if (wanted) add_runs(runs, base, strides, shape, offset, extent, rank, size_of(input.dtype));
    }
    reader.take(reader.next());
  }
  std::sort(runs.begin(), runs.end(), [](const ByteRuns& a, const ByteRuns& b) { return a.offset < b.offset; });
  std::vector<ByteRuns> merged;  // what lies side by side is one run
  for (const ByteRuns& next : runs) {
    const bool joins = !merged.empty() && merged.back().count == 1 && next.count == 1 &&
                       next.offset <= merged.back().offset + merged.back().bytes;
    if (!joins) {
      merged.push_back(next);
      continue;
    }
    ByteRuns& last = merged.back();
    last.bytes = std::max(last.bytes, next.offset + next.bytes - last.offset);
  }
  return merged;
}

int64_t pull_scratch_bytes(const std::vector<PullRegion>& regions, DType dtype) {
  size_t bytes = 0;
  for (const PullRegion& region : regions) {
    if (region.sources.size() < 2) continue;
    const size_t sources = region.sources.size();
    bytes = std::max(bytes, sources * (sizeof(Part) + sizeof(void*)) + wide_bytes(dtype, sources) +
                                region.program.size() * sizeof(int));
  }
  return static_cast<int64_t>(bytes);
}

void pull_kernel(const KernelArgs& args, Stream&) { Pulling(args).run(); }

}  // namespace troupe
