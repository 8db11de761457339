// The way of tokens to experts and back, and the choice of experts. A choice that names no expert is as one that was
// dropped.

#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/report.h"
#include "ops/cuda/rows.h"

namespace troupe::cuda {
namespace {

// Whether element i of x comes before element j among the largest: NaN counts as the largest, of equal ones the first comes.
template <class T>
__device__ __forceinline__ bool is_above(T a, T b) {
  return a > b || (a != a && b == b);
}
template <class T>
__device__ __forceinline__ bool precedes(T a, int64_t i, T b, int64_t j) {
  if (is_above(a, b)) return true;
  return !is_above(b, a) && i < j;
}

// A warp finds the largest elements of a row one after another: the next is the first among those after the one before.
template <class T>
__global__ void __launch_bounds__(kThreads)
    top_k_kernel(T* values, int32_t* indices, const T* x, int64_t rows, int64_t n, int64_t k) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int64_t row = global_thread() / kWarpSize; row < rows; row += global_threads() / kWarpSize) {
    const T* from = x + row * n;
    T last = T(0);
    int64_t last_at = -1;
    for (int64_t j = 0; j < k; ++j) {
      T best = T(0);
      int64_t at = -1;
      for (int64_t i = lane; i < n; i += kWarpSize) {
        const T value = from[i];
        const bool is_left = last_at < 0 || precedes(last, last_at, value, i);
        if (is_left && (at < 0 || precedes(value, i, best, at))) {
          best = value;
          at = i;
        }
      }
      for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
        const T other = __shfl_xor_sync(kAllLanes, best, lanes);
        const int64_t other_at = __shfl_xor_sync(kAllLanes, at, lanes);
        if (other_at >= 0 && (at < 0 || precedes(other, other_at, best, at))) {
          best = other;
          at = other_at;
        }
      }
      last = best;
      last_at = at;
      if (lane == 0) {
        values[row * k + j] = best;
        indices[row * k + j] = static_cast<int32_t>(at);
      }
    }
  }
}

// One element of dx per thread: the sum over the choices of its row that are it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    top_k_gradient_kernel(T* dx, const T* dvalues, const int32_t* indices, int64_t elements, int64_t n, int64_t k,
                          int64_t first) {
  for (int64_t i = global_thread(); i < elements; i += global_threads()) {
    const int64_t row = quotient(i, n);
    const int64_t column = i - row * n + first;
    T sum = T(0);
    for (int64_t j = row * k; j < (row + 1) * k; ++j) sum += indices[j] == column ? dvalues[j] : T(0);
    dx[i] = sum;
  }
}

struct Places {
  int64_t batch, seq, k, experts, capacity;
  int64_t counted, first_expert;  // experts of `counts`
  bool dropless;
  Reporter of_choices, of_counts;
};

// A warp has an expert and a row of the batch, and goes through the row's choices in the order in which they get places: 32
// tokens at a time, each of which counts those before it. Choices of no expert are left to the warp of the first one.
__global__ void __launch_bounds__(kThreads)
    places_kernel(int32_t* counts, int32_t* places, const int32_t* choices, Places p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t warps = p.batch * (p.experts > 0 ? p.experts : 1);
  for (int64_t warp = global_thread() / kWarpSize; warp < warps; warp += global_threads() / kWarpSize) {
    const int64_t expert = warp / p.batch;
    const int64_t row = warp - expert * p.batch;
    int64_t total = 0;
    for (int64_t j = 0; j < p.k; ++j) {
      for (int64_t first = 0; first < p.seq; first += kWarpSize) {
        const int64_t token = first + lane;
        const int64_t at = (row * p.seq + token) * p.k + j;
        const int64_t choice = token < p.seq ? choices[at] : -1;
        const unsigned here = __ballot_sync(kAllLanes, choice == expert && choice < p.experts);
        if ((here >> lane & 1u) != 0) {
          const int64_t place = total + __popc(here & ((1u << lane) - 1));
          places[at] = place < p.capacity ? static_cast<int32_t>(place) : -1;
        } else if (expert == 0 && token < p.seq && (choice < 0 || choice >= p.experts)) {
          places[at] = -1;
          p.of_choices.say(at, choice);
        }
        total += __popc(here);
      }
    }
    const int64_t counted = expert - p.first_expert;
    if (lane != 0 || counted < 0 || counted >= p.counted) continue;
    counts[counted * p.batch + row] = static_cast<int32_t>(total);
    if (p.dropless && total > p.capacity) p.of_counts.say(counted * p.batch + row, total);
  }
}

// ---- Buffers [experts, batch, places, dim] ----

struct Routing {
  int64_t experts, batch, places, dim, seq, k, first_expert, first_place;
  const int32_t* choices;
  const int32_t* place;

  // The row of the buffer's part that holds choice `at` of a token of row `row` of the batch; -1: none does.
  __device__ int64_t buffer_row(int64_t row, int64_t at) const {
    const int64_t expert = choices[at] - first_expert;
    const int64_t here = place[at] - first_place;
    if (place[at] < 0 || expert < 0 || expert >= experts || here < 0 || here >= places) return -1;
    return (expert * batch + row) * places + here;
  }
};

template <class T>
using Weight = Compute<T>;

// Two tokens may share a place, where places are not those of expert_places. So that this too is a sum in the tokens' order,
// a warp has some numbers of all the tokens of a row of the batch.
template <class T>
__global__ void __launch_bounds__(kThreads)
    dispatch_kernel(T* buffer, const T* x, const Weight<T>* weights, Routing r) {
  const int64_t slices = (r.dim + kWarpSize - 1) / kWarpSize;
  const int64_t lane = static_cast<int64_t>(threadIdx.x) % kWarpSize;
  for (int64_t i = global_thread() / kWarpSize; i < r.batch * slices; i += global_threads() / kWarpSize) {
    const int64_t row = i / slices;
    const int64_t d = i % slices * kWarpSize + lane;
    if (d >= r.dim) continue;
    for (int64_t token = row * r.seq; token < (row + 1) * r.seq; ++token) {
      const Weight<T> value = widened(x[token * r.dim + d]);
      for (int64_t at = token * r.k; at < (token + 1) * r.k; ++at) {
        const int64_t to = r.buffer_row(row, at);
        if (to < 0) continue;
        const Weight<T> weight = weights == nullptr ? Weight<T>(1) : weights[at];
        buffer[to * r.dim + d] = narrowed<T>(widened(buffer[to * r.dim + d]) + weight * value);
      }
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) combine_kernel(T* y, const T* buffer, const Weight<T>* weights, Routing r) {
  const int64_t n = r.batch * r.seq * r.dim;
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t token = quotient(i, r.dim);
    const int64_t d = i - token * r.dim;
    Weight<T> sum = 0;
    for (int64_t at = token * r.k; at < (token + 1) * r.k; ++at) {
      const int64_t from = r.buffer_row(quotient(token, r.seq), at);
      if (from < 0) continue;
      sum += (weights == nullptr ? Weight<T>(1) : weights[at]) * widened(buffer[from * r.dim + d]);
    }
    y[i] = narrowed<T>(sum);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) dot_kernel(Weight<T>* y, const T* buffer, const T* x, Routing r) {
  const int64_t lane = static_cast<int64_t>(threadIdx.x) % kWarpSize;
  for (int64_t at = global_thread() / kWarpSize; at < r.batch * r.seq * r.k; at += global_threads() / kWarpSize) {
    const int64_t token = at / r.k;
    const int64_t row = r.buffer_row(token / r.seq, at);
    Weight<T> sum = 0;
    for (int64_t d = lane; row >= 0 && d < r.dim; d += kWarpSize) {
      sum += widened(buffer[row * r.dim + d]) * widened(x[token * r.dim + d]);
    }
    sum = warp_sum(sum);
    if (lane == 0) y[at] = sum;
  }
}

Routing routing_of(const TensorView& buffer, const TensorView& choices, const TensorView& places) {
  return {buffer.shape[0],  buffer.shape[1],  buffer.shape[2],  buffer.shape[3],       choices.shape[1],
          choices.shape[2], buffer.offset[0], buffer.offset[2], choices.as<int32_t>(), places.as<int32_t>()};
}

template <class T>
const Weight<T>* weights_of(const KernelArgs& args) {
  return args.inputs.size() > 3 ? args.inputs[3].as<Weight<T>>() : nullptr;
}

constexpr int kBlockWarps = kThreads / kWarpSize;

}  // namespace

void top_k_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const int64_t rows = row_count(x.shape);
  if (rows == 0) return;
  with_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(rows, kBlockWarps), kThreads, 0, top_k_kernel<T>, args.outputs[0].as<T>(),
           args.outputs[1].as<int32_t>(), x.as<T>(), rows, x.shape.back(), args.outputs[0].shape.back());
  });
}

void top_k_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& dx = args.outputs[0];
  if (dx.elements() == 0) return;
  with_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(dx.elements(), kThreads), kThreads, 0, top_k_gradient_kernel<T>, dx.as<T>(),
           args.inputs[1].as<T>(), args.inputs[0].as<int32_t>(), dx.elements(), dx.shape.back(),
           args.inputs[1].shape.back(), dx.offset[dx.shape.rank() - 1]);
  });
}

void expert_places_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& choices = args.inputs[0];
  const TensorView& counts = args.outputs[0];
  const Places p{choices.shape[0],
                 choices.shape[1],
                 choices.shape[2],
                 args.attrs->integer("experts"),
                 args.attrs->integer("capacity"),
                 counts.shape[0],
                 counts.offset[0],
                 args.attrs->integer("dropless", 0) != 0,
                 reporter_of(args, 0),
                 reporter_of(args, 1)};
  if (p.batch == 0) return;
  launch(stream, blocks_for(p.batch * (p.experts > 0 ? p.experts : 1), kBlockWarps), kThreads, 0, places_kernel,
         counts.as<int32_t>(), args.outputs[1].as<int32_t>(), choices.as<int32_t>(), p);
}

void dispatch_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& buffer = args.outputs[0];
  fill_zero(buffer, stream);
  if (buffer.elements() * args.inputs[0].elements() == 0) return;
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    const Routing r = routing_of(buffer, args.inputs[1], args.inputs[2]);
    launch(stream, blocks_for(r.batch * r.dim, kBlockWarps), kThreads, 0, dispatch_kernel<T>, buffer.as<T>(),
           args.inputs[0].as<T>(), weights_of<T>(args), r);
  });
}

void combine_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& buffer = args.inputs[0];
  const TensorView& y = args.outputs[0];
  if (y.elements() == 0) return;
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(y.elements(), kThreads), kThreads, 0, combine_kernel<T>, y.as<T>(), buffer.as<T>(),
           weights_of<T>(args), routing_of(buffer, args.inputs[1], args.inputs[2]));
  });
}

void routed_dot_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& buffer = args.inputs[0];
  const TensorView& y = args.outputs[0];
  if (y.elements() == 0) return;
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(stream, blocks_for(y.elements(), kBlockWarps), kThreads, 0, dot_kernel<T>, y.as<Weight<T>>(), buffer.as<T>(),
           args.inputs[3].as<T>(), routing_of(buffer, args.inputs[1], args.inputs[2]));
  });
}

}  // namespace troupe::cuda
