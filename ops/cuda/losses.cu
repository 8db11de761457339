// Losses over classes in the last dim, whole or in the parts of a split vocabulary, and sums of scalars.
//
// A label that is neither a class nor ignore_index is reported, and gives NaN in its row.

#include "ops/cuda/kernels.h"
#include "ops/cuda/report.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

template <class C>
__device__ __forceinline__ C not_a_number() {
  return infinity<C>() - infinity<C>();
}

// What the labels of rows say; of classes here are `count` from `first` on.
template <class Id>
struct Labels {
  const Id* at;
  int64_t first, count, classes, ignored;
  Reporter reporter;

  __device__ bool is_ignored(int64_t row) const { return static_cast<int64_t>(at[row]) == ignored; }
  __device__ bool is_bad(int64_t row) const {
    const auto label = static_cast<int64_t>(at[row]);
    return label != ignored && (label < 0 || label >= classes);
  }
  __device__ void report_if_bad(int64_t row) const {
    if (is_bad(row)) reporter.say(row, static_cast<int64_t>(at[row]));
  }
  // The label's place among the classes here; -1: it is not here.
  __device__ int64_t place(int64_t row) const {
    const int64_t place = static_cast<int64_t>(at[row]) - first;
    return is_ignored(row) || place < 0 || place >= count ? -1 : place;
  }
};

template <class Id>
Labels<Id> labels_of(const KernelArgs& args) {
  const TensorView& logits = args.inputs[0];
  const int last = logits.shape.rank() - 1;
  return {args.inputs[1].as<Id>(),
          logits.offset[last],
          logits.shape[last],
          logits.logical[last],
          args.attrs->integer("ignore_index", -100),
          reporter_of(args, 1)};
}

// fn(zero of the logits' type, zero of the labels').
template <class Fn>
void with_types(const KernelArgs& args, Fn&& fn) {
  with_float(args.inputs[0].dtype,
             [&](auto zero) { with_id(args.inputs[1].dtype, [&](auto zero_id) { fn(zero, zero_id); }); });
}

template <class T, class Id>
struct CrossEntropy {
  T* loss;
  T* lse;
  const T* logits;
  Labels<Id> labels;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    const Row<T, kSize, kHeld> values(logits + row * n, n, packs);
    const C most = largest_of(values);
    const C sum = exp_sum_of(values, most);
    if (Group<kSize>().lane() != 0) return;
    labels.report_if_bad(row);
    const int64_t place = labels.place(row);
    const C log_sum = log(sum);
    lse[row] = narrowed<T>(most + log_sum);
    // The difference of the logits first: it is exact where they are close, as they become.
    const C right = place >= 0 ? (most - widened(logits[row * n + place])) + log_sum : not_a_number<C>();
    loss[row] = narrowed<T>(labels.is_ignored(row) ? C(0) : right);
  }
};

template <class T, class Id>
struct CrossEntropyGradient {
  T* dlogits;
  const T* logits;
  const T* lse;
  const T* dloss;
  Labels<Id> labels;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const int64_t place = labels.place(row);
    const bool ignored = labels.is_ignored(row);
    const C shift = widened(lse[row]);
    if (Group<kSize>().lane() == 0) labels.report_if_bad(row);
    const C factor = labels.is_bad(row) ? not_a_number<C>() : widened(dloss[row]);
    const Row<T, kSize, 0> values(logits + row * n, n, packs);
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      Values<C, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        const C share = exp(v.at[j] - shift) * factor;
        out.at[j] = ignored ? C(0) : first + j == place ? share - factor : share;
      }
      store_values<N>(dlogits + row * n + first, count, packs, out);
    });
  }
};

template <class T>
struct ExpSum {
  T* y;
  const T* x;
  const T* maximum;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    const Row<T, kSize, 0> values(x + row * n, n, packs);
    const Compute<T> sum = exp_sum_of(values, widened(maximum[row]));
    if (Group<kSize>().lane() == 0) y[row] = narrowed<T>(sum);
  }
};

template <class T, class Id>
__global__ void __launch_bounds__(kThreads)
    picked_kernel(T* y, const T* x, Labels<Id> labels, int64_t rows, int64_t n) {
  for (int64_t row = global_thread(); row < rows; row += global_threads()) {
    labels.report_if_bad(row);
    const int64_t place = labels.place(row);
    y[row] = place >= 0 ? x[row * n + place] : labels.is_bad(row) ? not_a_number<T>() : T(0);
  }
}

// ---- The margin softmax, as ops/cpu/margin.cpp has it ----

struct Margin {
  double scale, m1, m2, m3;
};

struct Target {
  double value = 0;  // without the scale
  double slope = 0;
};

constexpr double kLargestCosine = 1.0 - 1e-6;

__device__ inline Target target_of(double cosine, const Margin& margin) {
  if (margin.m1 == 1.0 && margin.m2 == 0.0) return {cosine - margin.m3, 1.0};
  const double bounded = cosine < -kLargestCosine ? -kLargestCosine : cosine > kLargestCosine ? kLargestCosine : cosine;
  const double angle = margin.m1 * acos(bounded) + margin.m2;
  const double slope = margin.m1 * sin(angle) / sqrt(1.0 - bounded * bounded);
  return {cos(angle) - margin.m3, bounded == cosine ? slope : 0.0};
}

template <class T, class Id>
struct MarginLogits {
  T* logits;
  T* slope;
  const T* cosines;
  Labels<Id> labels;
  Margin margin;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const int64_t place = labels.place(row);
    if (Group<kSize>().lane() == 0) labels.report_if_bad(row);
    const C scale = labels.is_bad(row) ? not_a_number<C>() : static_cast<C>(margin.scale);
    const Row<T, kSize, 0> values(cosines + row * n, n, packs);
    const bool has_slope = place < 0 && Group<kSize>().lane() == 0;
    if (has_slope) slope[row] = narrowed<T>(C(0));
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      Values<C, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        out.at[j] = v.at[j] * scale;
        if (place < 0 || first + j != place) continue;
        const Target target = target_of(static_cast<double>(v.at[j]), margin);
        out.at[j] = static_cast<C>(margin.scale * target.value);
        slope[row] = narrowed<T>(static_cast<C>(target.slope));
      }
      store_values<N>(logits + row * n + first, count, packs, out);
    });
  }
};

template <class T, class Id>
struct MarginGradient {
  T* dcosines;
  const T* dlogits;
  const T* slope;
  Labels<Id> labels;
  double scale;
  bool packs;

  template <int kSize, int kHeld>
  __device__ void run(int64_t row, int64_t n) const {
    using C = Compute<T>;
    constexpr int N = kPack<T>;
    const int64_t place = labels.place(row);
    const C factor = labels.is_bad(row) ? not_a_number<C>() : static_cast<C>(scale);
    const C at_label = widened(slope[row]);
    const Row<T, kSize, 0> values(dlogits + row * n, n, packs);
    values.each([&](int64_t first, int64_t count, const Values<C, N>& v) {
      Values<C, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) out.at[j] = v.at[j] * factor * (first + j == place ? at_label : C(1));
      store_values<N>(dcosines + row * n + first, count, packs, out);
    });
  }
};

// ---- Over all of a tensor, by one block ----

constexpr int kWideBlock = 1024;

template <class T, class Id>
__global__ void __launch_bounds__(kWideBlock) count_kernel(T* count, const Id* labels, int64_t n, int64_t ignored) {
  int64_t here = 0;
  for (int64_t i = threadIdx.x; i < n; i += kWideBlock) here += static_cast<int64_t>(labels[i]) != ignored ? 1 : 0;
  const int64_t total = Group<kWideBlock>().sum(here);
  if (threadIdx.x == 0) *count = static_cast<T>(total);
}

template <class T>
struct TreeNodes {
  T at[kWideBlock];
};

// Along the tree whose left child takes the largest power of two below the count: neighbours are added level by level, and
// what is left over at the end goes up as it is. Each thread has a run of 2^k elements, which is a whole node.
template <class T>
__global__ void __launch_bounds__(kWideBlock) tree_sum_kernel(T* y, const T* x, int64_t n, int64_t run) {
  TreeNodes<T>& nodes = shared_memory<TreeNodes<T>>();
  int64_t count = (n + run - 1) / run;
  const int64_t begin = threadIdx.x * run;
  if (begin < n) {
    const int64_t end = begin + run < n ? begin + run : n;
    // A node of every size that waits for its neighbour; bit k of the number of elements says whether there is one of 2^k.
    T waiting[40];
    int depth = 0;
    for (int64_t i = begin; i < end; ++i) {
      T node = x[i];
      for (int64_t done = i - begin; (done & 1) != 0; done >>= 1) node = waiting[--depth] + node;
      waiting[depth++] = node;
    }
    T sum = waiting[--depth];
    while (depth > 0) sum = waiting[--depth] + sum;
    nodes.at[threadIdx.x] = sum;
  }
  __syncthreads();
  for (; count > 1; count = (count + 1) / 2) {
    const int64_t left = 2 * static_cast<int64_t>(threadIdx.x);
    T sum = T(0);
    if (left < count) sum = left + 1 < count ? nodes.at[left] + nodes.at[left + 1] : nodes.at[left];
    __syncthreads();
    if (left < count) nodes.at[threadIdx.x] = sum;
    __syncthreads();
  }
  if (threadIdx.x == 0) *y = n > 0 ? nodes.at[0] : T(0);
}

}  // namespace

void cross_entropy_cuda(const KernelArgs& args, Stream& stream) {
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    const TensorView& logits = args.inputs[0];
    const int64_t n = logits.shape.back();
    for_rows<T>(stream, args.inputs[1].elements(), n,
                CrossEntropy<T, Id>{args.outputs[0].as<T>(), args.outputs[1].as<T>(), logits.as<T>(),
                                    labels_of<Id>(args), rows_take_packs<T>(n, logits.as<T>())});
  });
}

void cross_entropy_gradient_cuda(const KernelArgs& args, Stream& stream) {
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    const T* logits = args.inputs[0].as<T>();
    T* dlogits = args.outputs[0].as<T>();
    const int64_t n = args.inputs[0].shape.back();
    for_rows<T>(stream, args.inputs[1].elements(), n,
                CrossEntropyGradient<T, Id>{dlogits, logits, args.inputs[2].as<T>(), args.inputs[3].as<T>(),
                                            labels_of<Id>(args), rows_take_packs<T>(n, dlogits, logits)});
  });
}

void exp_sum_cuda(const KernelArgs& args, Stream& stream) {
  with_float(args.inputs[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* x = args.inputs[0].as<T>();
    const int64_t n = args.inputs[0].shape.back();
    for_rows<T>(stream, args.outputs[0].elements(), n,
                ExpSum<T>{args.outputs[0].as<T>(), x, args.inputs[1].as<T>(), rows_take_packs<T>(n, x)});
  });
}

void picked_logit_cuda(const KernelArgs& args, Stream& stream) {
  const int64_t rows = args.outputs[0].elements();
  if (rows == 0) return;
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    launch(stream, blocks_for(rows, kThreads), kThreads, 0, picked_kernel<T, Id>, args.outputs[0].as<T>(),
           args.inputs[0].as<T>(), labels_of<Id>(args), rows, args.inputs[0].shape.back());
  });
}

void margin_logits_cuda(const KernelArgs& args, Stream& stream) {
  const Attrs& attrs = *args.attrs;
  const Margin margin{attrs.number("scale", 1), attrs.number("m1", 1), attrs.number("m2", 0), attrs.number("m3", 0)};
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    const T* cosines = args.inputs[0].as<T>();
    T* logits = args.outputs[0].as<T>();
    const int64_t n = args.inputs[0].shape.back();
    for_rows<T>(stream, args.inputs[1].elements(), n,
                MarginLogits<T, Id>{logits, args.outputs[1].as<T>(), cosines, labels_of<Id>(args), margin,
                                    rows_take_packs<T>(n, logits, cosines)});
  });
}

void margin_logits_gradient_cuda(const KernelArgs& args, Stream& stream) {
  with_types(args, [&](auto zero, auto zero_id) {
    using T = decltype(zero);
    using Id = decltype(zero_id);
    const T* dlogits = args.inputs[0].as<T>();
    T* dcosines = args.outputs[0].as<T>();
    const int64_t n = args.inputs[0].shape.back();
    for_rows<T>(stream, args.inputs[1].elements(), n,
                MarginGradient<T, Id>{dcosines, dlogits, args.inputs[2].as<T>(), labels_of<Id>(args),
                                      args.attrs->number("scale", 1), rows_take_packs<T>(n, dcosines, dlogits)});
  });
}

void count_labels_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& labels = args.inputs[0];
  with_float(args.outputs[0].dtype, [&](auto zero) {
    with_id(labels.dtype, [&](auto zero_id) {
      using T = decltype(zero);
      using Id = decltype(zero_id);
      launch(stream, 1, kWideBlock, kWideBlock / kWarpSize * sizeof(int64_t), count_kernel<T, Id>,
             args.outputs[0].as<T>(), labels.as<Id>(), labels.elements(), args.attrs->integer("ignore_index", -100));
    });
  });
}

void tree_sum_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& v = args.inputs[0];
  int64_t run = 1;
  while (run * kWideBlock < v.elements()) run *= 2;
  with_float(v.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, 1, kWideBlock, sizeof(TreeNodes<T>), tree_sum_kernel<T>, args.outputs[0].as<T>(), v.as<T>(),
           v.elements(), run);
  });
}

}  // namespace troupe::cuda
