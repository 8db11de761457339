// out = softmax(scale q k^T) v per batch and head, block by block: scores never reach memory. A block of threads has some
// queries (or keys, for the gradients of these) of one head and goes through the others in order.

#include <string>
#include <type_traits>

#include "ops/cuda/kernels.h"
#include "ops/cuda/launch.h"
#include "ops/cuda/numbers.h"
#include "ops/sequence_parts.h"

namespace troupe::cuda {
namespace {

constexpr int kSide = 16;   // a block has 16 x 16 threads
constexpr int kChunk = 16;  // of the head's dims, for scores
constexpr int kTerms = 8;   // of what is summed over, for outputs

// A block's tile of scores has kTile x kTile; each thread has kOwn x kOwn of them, 16 apart.
template <class C>
constexpr int kOwn = sizeof(C) == 8 ? 2 : 4;
template <class C>
constexpr int kTile = kSide * kOwn<C>;

template <class C>
using Tile = C[kOwn<C>][kOwn<C>];
// Of the tile's rows, 16 apart, and of the head's dims, 16 apart.
template <class C, int kDims>
using RowSums = C[kOwn<C>][kDims];

// Where operands lie: steps in elements between batches, heads and rows of a sequence; dims are neighbours.
struct Steps {
  int64_t batch, head, row;
};

struct Shapes {
  int64_t batch, heads, kv_heads, queries, keys, dims;
  Steps q, k;
  const uint8_t* mask;  // [batch, keys]; null: none
  bool causal;
  double scale;

  __device__ int64_t group() const { return heads / kv_heads; }
};

__device__ __forceinline__ int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// ---- What blocks do together; all of their threads must call these ----

template <class C, int kDims>
struct ForwardShared {
  union {
    struct {
      C x[kChunk][kTile<C> + 1];
      C y[kChunk][kTile<C> + 1];
    } chunks;
    C terms[kTerms][kSide * kDims];
  };
  C weights[kTile<C>][kTile<C> + 1];
};

template <class C, int kDims>
struct BackwardShared : ForwardShared<C, kDims> {
  C more_weights[kTile<C>][kTile<C> + 1];
  C lse[kTile<C>];
  C delta[kTile<C>];
};

template <class C, class T>
__device__ __forceinline__ void load_chunk(C (&chunk)[kChunk][kTile<C> + 1], const T* x, int64_t step, int64_t rows,
                                           int64_t first_dim, int64_t dims) {
  for (int i = static_cast<int>(threadIdx.y * kSide + threadIdx.x); i < kChunk * kTile<C>; i += kSide * kSide) {
    const int d = i % kChunk;
    const int row = i / kChunk;
    chunk[d][row] = row < rows && first_dim + d < dims ? widened(x[row * step + first_dim + d]) : C(0);
  }
}

// tile = x y^T, of the first `rows` of x and `columns` of y; 0 elsewhere.
template <class C, int kDims, class T>
__device__ __forceinline__ void products(Tile<C>& tile, ForwardShared<C, kDims>& shared, const T* x, int64_t x_step,
                                         int64_t rows, const T* y, int64_t y_step, int64_t columns, int64_t dims) {
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn<C>; ++j) tile[i][j] = 0;
  }
  for (int64_t first = 0; first < dims; first += kChunk) {
    __syncthreads();
    load_chunk<C>(shared.chunks.x, x, x_step, rows, first, dims);
    load_chunk<C>(shared.chunks.y, y, y_step, columns, first, dims);
    __syncthreads();
    const int here = static_cast<int>(least(dims - first, kChunk));
    for (int d = 0; d < here; ++d) {
      C left[kOwn<C>];
      C right[kOwn<C>];
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        left[i] = shared.chunks.x[d][threadIdx.y + i * kSide];
        right[i] = shared.chunks.y[d][threadIdx.x + i * kSide];
      }
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) tile[i][j] = fma(left[i], right[j], tile[i][j]);
      }
    }
  }
}

template <class C>
__device__ __forceinline__ void write_weights(C (&weights)[kTile<C>][kTile<C> + 1], const Tile<C>& tile) {
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn<C>; ++j) weights[threadIdx.y + i * kSide][threadIdx.x + j * kSide] = tile[i][j];
  }
}

// sums += weights x, where x has `terms` rows.
template <class C, int kDims, class T>
__device__ __forceinline__ void add_products(RowSums<C, kDims>& sums, ForwardShared<C, kDims>& shared,
                                             const C (&weights)[kTile<C>][kTile<C> + 1], const T* x, int64_t step,
                                             int64_t terms, int64_t dims) {
  for (int first = 0; first < terms; first += kTerms) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y * kSide + threadIdx.x); i < kTerms * kSide * kDims; i += kSide * kSide) {
      const int d = i % (kSide * kDims);
      const int term = i / (kSide * kDims);
      shared.terms[term][d] = first + term < terms && d < dims ? widened(x[(first + term) * step + d]) : C(0);
    }
    __syncthreads();
    for (int term = 0; term < kTerms && first + term < terms; ++term) {
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        const C weight = weights[threadIdx.y + i * kSide][first + term];
#pragma unroll
        for (int d = 0; d < kDims; ++d) {
          sums[i][d] = fma(weight, shared.terms[term][threadIdx.x + d * kSide], sums[i][d]);
        }
      }
    }
  }
}

// Over the 16 threads that have a row of the tile: all of them get the result.
template <class C>
__device__ __forceinline__ C row_max(C value) {
#pragma unroll
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) value = larger(value, __shfl_xor_sync(kAllLanes, value, lanes));
  return value;
}
template <class C>
__device__ __forceinline__ C row_sum(C value) {
#pragma unroll
  for (int lanes = kSide / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
  return value;
}

// A run of queries that are neighbours in the sequence, and the keys that they may see (ops/sequence_parts.h). Query i of
// the run and key j of its keys:
__device__ __forceinline__ bool sees(const Shapes& s, const AttentionRun& run, const uint8_t* mask, int64_t i,
                                     int64_t j) {
  if (i >= run.queries || j >= run.keys) return false;
  if (s.causal && j > i + run.query_offset) return false;
  return mask == nullptr || mask[run.first_key + j] != 0;
}

// How many keys from the first on some query below `end` may see.
__device__ __forceinline__ int64_t keys_below(const Shapes& s, const AttentionRun& run, int64_t end) {
  const int64_t seen = s.causal ? end + run.query_offset : run.keys;
  return seen < 0 ? 0 : seen < run.keys ? seen : run.keys;
}

template <int kDims, class T, class Body>
__device__ __forceinline__ void for_tiles(const Shapes& s, int64_t heads, int64_t rows, Body body) {
  const int64_t tiles = (rows + kTile<Compute<T>> - 1) / kTile<Compute<T>>;
  for (int64_t t = blockIdx.x; t < s.batch * heads * tiles; t += gridDim.x) {
    body(t / tiles / heads, t / tiles % heads, t % tiles * kTile<Compute<T>>);
    __syncthreads();
  }
}

template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    forward_kernel(Shapes s, AttentionRun run, T* out, Compute<T>* lse, const T* q, const T* k, const T* v) {
  using C = Compute<T>;
  ForwardShared<C, kDims>& shared = shared_memory<ForwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.heads, run.queries, [&](int64_t batch, int64_t head, int64_t first) {
    const int64_t rows = least(run.queries - first, kTile<C>);
    const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + first) * s.q.row;
    const int64_t at_k = batch * s.k.batch + head / s.group() * s.k.head + run.first_key * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    C most[kOwn<C>];
    C total[kOwn<C>] = {};
    RowSums<C, kDims> sums = {};
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) most[i] = -infinity<C>();
    const int64_t keys = keys_below(s, run, first + rows);
    for (int64_t key = 0; key < keys; key += kTile<C>) {
      const int64_t columns = least(keys - key, kTile<C>);
      Tile<C> scores;
      products<C, kDims>(scores, shared, q + at, s.q.row, rows, k + at_k + key * s.k.row, s.k.row, columns, s.dims);
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        C now = -infinity<C>();
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          const bool seen = sees(s, run, mask, first + threadIdx.y + i * kSide, key + threadIdx.x + j * kSide);
          scores[i][j] = seen ? scores[i][j] * static_cast<C>(s.scale) : -infinity<C>();
          now = larger(now, scores[i][j]);
        }
        now = larger(most[i], row_max(now));
        const bool nothing = now == -infinity<C>();
        const C keep = nothing ? C(1) : exp(most[i] - now);
        C added = 0;
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          scores[i][j] = nothing ? C(0) : exp(scores[i][j] - now);
          added += scores[i][j];
        }
        total[i] = total[i] * keep + row_sum(added);
        most[i] = now;
#pragma unroll
        for (int d = 0; d < kDims; ++d) sums[i][d] *= keep;
      }
      write_weights<C>(shared.weights, scores);
      add_products<C, kDims>(sums, shared, shared.weights, v + at_k + key * s.k.row, s.k.row, columns, s.dims);
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
      if (row >= rows) continue;
      // No key: the largest of some adds 1.
      const C factor = total[i] == C(0) ? C(0) : C(1) / total[i];
      if (threadIdx.x == 0) {
        lse[(batch * s.heads + head) * s.queries + run.first_query + first + row] =
            total[i] == C(0) ? -infinity<C>() : most[i] + log(total[i]);
      }
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (dim < s.dims) out[at + row * s.q.row + dim] = narrowed<T>(sums[i][d] * factor);
      }
    }
  });
}

template <class T>
struct Backward {
  const T* dout;
  const T* q;
  const T* k;
  const T* v;
  const T* out;
  const Compute<T>* lse;
};

// p = exp(score - lse) and, in `slopes`, ds = p (dout v^T - delta) scale, from products; 0 where the key is not seen.
template <class C>
__device__ __forceinline__ void weigh(C& p, C& slope, C lse, C delta, C scale, bool seen) {
  p = seen && lse != -infinity<C>() ? exp(p * scale - lse) : C(0);
  slope = seen ? p * ((slope - delta) * scale) : C(0);
}

// The sums over dims of dout out and the lse of rows first .. first + rows - 1 of queries.
template <class C, int kDims, class T>
__device__ __forceinline__ void load_statistics(BackwardShared<C, kDims>& shared, const Backward<T>& b, const Shapes& s,
                                                int64_t at, int64_t lse_at, int64_t rows) {
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kOwn<C>; ++i) {
    const int64_t row = threadIdx.y + i * kSide;
    C sum = 0;
    for (int64_t d = threadIdx.x; row < rows && d < s.dims; d += kSide) {
      sum += widened(b.dout[at + row * s.q.row + d]) * widened(b.out[at + row * s.q.row + d]);
    }
    sum = row_sum(sum);
    if (threadIdx.x != 0) continue;
    shared.delta[row] = sum;
    shared.lse[row] = row < rows ? b.lse[lse_at + row] : C(0);
  }
  __syncthreads();
}

template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    query_gradient_kernel(Shapes s, AttentionRun run, Backward<T> b, T* dq) {
  using C = Compute<T>;
  BackwardShared<C, kDims>& shared = shared_memory<BackwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.heads, run.queries, [&](int64_t batch, int64_t head, int64_t first) {
    const int64_t rows = least(run.queries - first, kTile<C>);
    const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + first) * s.q.row;
    const int64_t at_k = batch * s.k.batch + head / s.group() * s.k.head + run.first_key * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    load_statistics<C, kDims>(shared, b, s, at, (batch * s.heads + head) * s.queries + run.first_query + first, rows);
    RowSums<C, kDims> sums = {};
    const int64_t keys = keys_below(s, run, first + rows);
    for (int64_t key = 0; key < keys; key += kTile<C>) {
      const int64_t columns = least(keys - key, kTile<C>);
      Tile<C> scores;
      Tile<C> slopes;
      products<C, kDims>(scores, shared, b.q + at, s.q.row, rows, b.k + at_k + key * s.k.row, s.k.row, columns, s.dims);
      products<C, kDims>(slopes, shared, b.dout + at, s.q.row, rows, b.v + at_k + key * s.k.row, s.k.row, columns,
                         s.dims);
#pragma unroll
      for (int i = 0; i < kOwn<C>; ++i) {
        const int row = static_cast<int>(threadIdx.y) + i * kSide;
#pragma unroll
        for (int j = 0; j < kOwn<C>; ++j) {
          weigh(scores[i][j], slopes[i][j], shared.lse[row], shared.delta[row], static_cast<C>(s.scale),
                sees(s, run, mask, first + row, key + threadIdx.x + j * kSide));
        }
      }
      write_weights<C>(shared.weights, slopes);
      add_products<C, kDims>(sums, shared, shared.weights, b.k + at_k + key * s.k.row, s.k.row, columns, s.dims);
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (row < rows && dim < s.dims) dq[at + row * s.q.row + dim] = narrowed<T>(sums[i][d]);
      }
    }
  });
}

constexpr int kMostRuns = 256;  // what fits into a kernel's parameters

struct Runs {
  int count = 0;
  AttentionRun at[kMostRuns];
};

// dk and dv of a tile of keys: the sums over the runs, the query heads that share the key head, and the queries, in order.
template <int kDims, class T>
__global__ void __launch_bounds__(kSide* kSide)
    key_gradient_kernel(Shapes s, const __grid_constant__ Runs runs, Backward<T> b, T* dk, T* dv) {
  using C = Compute<T>;
  BackwardShared<C, kDims>& shared = shared_memory<BackwardShared<C, kDims>>();
  for_tiles<kDims, T>(s, s.kv_heads, s.keys, [&](int64_t batch, int64_t kv_head, int64_t first) {
    const int64_t columns = least(s.keys - first, kTile<C>);
    const int64_t at_k = batch * s.k.batch + kv_head * s.k.head + first * s.k.row;
    const uint8_t* mask = s.mask == nullptr ? nullptr : s.mask + batch * s.keys;
    RowSums<C, kDims> dk_sums = {};
    RowSums<C, kDims> dv_sums = {};
    for (int r = 0; r < runs.count; ++r) {
      const AttentionRun& run = runs.at[r];
      const int64_t key = first - run.first_key;  // of the tile among the run's keys
      if (key + columns <= 0 || key >= run.keys) continue;
      // Queries before this one see none of the tile's keys.
      const int64_t unseen = s.causal ? key - run.query_offset : 0;
      const int64_t begin = unseen > 0 ? unseen / kTile<C> * kTile<C> : 0;
      for (int64_t head = kv_head * s.group(); head < (kv_head + 1) * s.group(); ++head) {
        for (int64_t query = begin; query < run.queries; query += kTile<C>) {
          const int64_t rows = least(run.queries - query, kTile<C>);
          const int64_t at = batch * s.q.batch + head * s.q.head + (run.first_query + query) * s.q.row;
          load_statistics<C, kDims>(shared, b, s, at, (batch * s.heads + head) * s.queries + run.first_query + query,
                                    rows);
          Tile<C> scores;
          Tile<C> slopes;
          products<C, kDims>(scores, shared, b.k + at_k, s.k.row, columns, b.q + at, s.q.row, rows, s.dims);
          products<C, kDims>(slopes, shared, b.v + at_k, s.k.row, columns, b.dout + at, s.q.row, rows, s.dims);
#pragma unroll
          for (int i = 0; i < kOwn<C>; ++i) {
            const int64_t j = key + threadIdx.y + i * kSide;
#pragma unroll
            for (int n = 0; n < kOwn<C>; ++n) {
              const int row = static_cast<int>(threadIdx.x) + n * kSide;
              weigh(scores[i][n], slopes[i][n], shared.lse[row], shared.delta[row], static_cast<C>(s.scale),
                    j >= 0 && sees(s, run, mask, query + row, j));
            }
          }
          write_weights<C>(shared.weights, scores);
          write_weights<C>(shared.more_weights, slopes);
          add_products<C, kDims>(dv_sums, shared, shared.weights, b.dout + at, s.q.row, rows, s.dims);
          add_products<C, kDims>(dk_sums, shared, shared.more_weights, b.q + at, s.q.row, rows, s.dims);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kOwn<C>; ++i) {
      const int64_t row = threadIdx.y + i * kSide;
#pragma unroll
      for (int d = 0; d < kDims; ++d) {
        const int64_t dim = threadIdx.x + d * kSide;
        if (row >= columns || dim >= s.dims) continue;
        dk[at_k + row * s.k.row + dim] = narrowed<T>(dk_sums[i][d]);
        dv[at_k + row * s.k.row + dim] = narrowed<T>(dv_sums[i][d]);
      }
    }
  });
}

// ---- The host's part ----

Shapes shapes_of(const KernelArgs& args, size_t q_input, size_t k_input, size_t mask) {
  const Shape& q = args.inputs[q_input].shape;
  const Shape& k = args.inputs[k_input].shape;
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  const int head = 3 - seq;
  const auto steps = [&](const Shape& shape) {
    const Dims strides = strides_of(shape);
    return Steps{strides[0], strides[head], strides[seq]};
  };
  return {q[0],
          q[head],
          k[head],
          q[seq],
          k[seq],
          q[3],
          steps(q),
          steps(k),
          args.inputs.size() > mask ? args.inputs[mask].as<uint8_t>() : nullptr,
          args.attrs->integer("causal", 0) != 0,
          args.attrs->number("scale")};
}

template <class Visit>
void for_each_run(const KernelArgs& args, size_t q_input, size_t k_input, Visit visit) {
  const int seq = static_cast<int>(args.attrs->integer("seq_dim", 2));
  const auto part = [&](const TensorView& x) { return SequencePart{x.offset[seq], x.shape[seq], x.logical[seq]}; };
  for_each_attention_run(*args.attrs, part(args.inputs[q_input]), part(args.inputs[k_input]), visit);
}

constexpr int64_t kMostDims = 256;

// fn(16ths of dims that a thread has).
template <class Fn>
void with_dims(const KernelArgs& args, int64_t dims, Fn&& fn) {
  if (dims <= 64) return fn(std::integral_constant<int, 4>{});
  if (dims <= 128) return fn(std::integral_constant<int, 8>{});
  if (dims <= kMostDims) return fn(std::integral_constant<int, 16>{});
  *args.failure = "heads have " + std::to_string(dims) + " dims, but attention on CUDA devices takes at most " +
                  std::to_string(kMostDims);
}

template <class T>
unsigned blocks_of(const Shapes& s, int64_t heads, int64_t rows) {
  return blocks_for(s.batch * heads * ((rows + kTile<Compute<T>> - 1) / kTile<Compute<T>>), 1);
}

}  // namespace

void attention_cuda(const KernelArgs& args, Stream& stream) {
  const Shapes s = shapes_of(args, 0, 1, 3);
  if (s.batch * s.heads * s.queries == 0) return;
  with_any_float(args.inputs[0].dtype, [&](auto zero) {
    with_dims(args, s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
      using T = decltype(zero);
      using C = Compute<T>;
      for_each_run(args, 0, 1, [&](const AttentionRun& run) {
        if (run.queries == 0) return;
        launch(stream, blocks_of<T>(s, s.heads, run.queries), {kSide, kSide}, sizeof(ForwardShared<C, kDims>),
               forward_kernel<kDims, T>, s, run, args.outputs[0].as<T>(), args.outputs[1].as<C>(),
               args.inputs[0].as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>());
      });
    });
  });
}

void attention_gradient_cuda(const KernelArgs& args, Stream& stream) {
  const Shapes s = shapes_of(args, 1, 2, 6);
  with_any_float(args.inputs[1].dtype, [&](auto zero) {
    with_dims(args, s.dims, [&]<int kDims>(std::integral_constant<int, kDims>) {
      using T = decltype(zero);
      using C = Compute<T>;
      const Backward<T> b{args.inputs[0].as<T>(), args.inputs[1].as<T>(), args.inputs[2].as<T>(),
                          args.inputs[3].as<T>(), args.inputs[4].as<T>(), args.inputs[5].as<C>()};
      Runs runs;
      for_each_run(args, 1, 2, [&](const AttentionRun& run) {
        if (s.batch * s.heads * run.queries == 0) return;
        CHECK(runs.count < kMostRuns, runs.count);
        runs.at[runs.count++] = run;
        launch(stream, blocks_of<T>(s, s.heads, run.queries), {kSide, kSide}, sizeof(BackwardShared<C, kDims>),
               query_gradient_kernel<kDims, T>, s, run, b, args.outputs[0].as<T>());
      });
      if (s.batch * s.kv_heads * s.keys == 0) return;
      launch(stream, blocks_of<T>(s, s.kv_heads, s.keys), {kSide, kSide}, sizeof(BackwardShared<C, kDims>),
             key_gradient_kernel<kDims, T>, s, runs, b, args.outputs[1].as<T>(), args.outputs[2].as<T>());
    });
  });
}

}  // namespace troupe::cuda
