#include <algorithm>

#include "ops/cuda/copy.h"

namespace troupe::cuda {
namespace {

// Elements of the sizes that dtypes have, and packs of them.
struct alignas(16) Sixteen {
  uint64_t parts[2];
};

constexpr int kTo = 0;
constexpr int kFrom = 1;

template <class T>
__global__ void __launch_bounds__(kThreads) copy_kernel(Walk<2> walk, T* to, const T* from) {
  for (int64_t i = global_thread(); i < walk.n; i += global_threads()) {
    int64_t at[2];
    locate<1>(walk, i, at);
    to[at[kTo]] = from[at[kFrom]];
  }
}

// Tiles of a matrix whose rows lie along another dim than they go to: read along one dim, written along the other. The
// other dims count the matrices.
constexpr int kTile = 32;
constexpr int kTileRows = 8;

template <class T>
struct Tile {
  T at[kTile][kTile + 1];  // one more, so that a column's elements lie in different banks
};

struct Turn {
  Walk<2> matrices;
  int64_t rows, columns;       // columns are neighbours in `to`, rows in `from`
  int64_t to_step, from_step;  // between rows in `to`, between columns in `from`
  int64_t row_tiles, column_tiles;
};

template <class T>
__global__ void __launch_bounds__(kTile* kTileRows) turn_kernel(Turn turn, T* to, const T* from) {
  Tile<T>& tile = shared_memory<Tile<T>>();
  const int64_t tiles = turn.matrices.n * turn.row_tiles * turn.column_tiles;
  for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const int64_t of_matrix = t % (turn.row_tiles * turn.column_tiles);
    const int64_t first_row = of_matrix / turn.column_tiles * kTile;
    const int64_t first_column = of_matrix % turn.column_tiles * kTile;
    int64_t at[2];
    locate<1>(turn.matrices, t / (turn.row_tiles * turn.column_tiles), at);
    for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
      const int64_t row = first_row + threadIdx.x, column = first_column + i;
      if (row < turn.rows && column < turn.columns) {
        tile.at[i][threadIdx.x] = from[at[kFrom] + row + column * turn.from_step];
      }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y); i < kTile; i += kTileRows) {
      const int64_t row = first_row + i, column = first_column + threadIdx.x;
      if (row < turn.rows && column < turn.columns) {
        to[at[kTo] + row * turn.to_step + column] = tile.at[threadIdx.x][i];
      }
    }
    __syncthreads();
  }
}

// The dim along which the input lies together while the output does so along the last one; -1: there is none, or it is too
// small for tiles to be worth anything.
int turned_dim(const Walk<2>& walk) {
  const int last = walk.rank - 1;
  if (walk.strides[kTo][last] != 1 || walk.strides[kFrom][last] <= 1 || walk.sizes[last] < 4) return -1;
  for (int d = 0; d < last; ++d) {
    if (walk.strides[kFrom][d] == 1 && walk.sizes[d] >= 4) return d;
  }
  return -1;
}

template <class T>
void run(const Walk<2>& walk, void* to, const void* from, Stream& stream) {
  const int dim = turned_dim(walk);
  if (dim < 0) {
    launch(stream, blocks_for(walk.n, kThreads), kThreads, 0, copy_kernel<T>, walk, static_cast<T*>(to),
           static_cast<const T*>(from));
    return;
  }
  const int last = walk.rank - 1;
  Turn turn = {};
  turn.rows = walk.sizes[dim];
  turn.columns = walk.sizes[last];
  turn.to_step = walk.strides[kTo][dim];
  turn.from_step = walk.strides[kFrom][last];
  turn.row_tiles = (turn.rows + kTile - 1) / kTile;
  turn.column_tiles = (turn.columns + kTile - 1) / kTile;
  Shape shape;
  Dims strides[2];
  for (int d = 0; d < last; ++d) {
    if (d == dim) continue;
    shape.push_back(walk.sizes[d]);
    for (int k = 0; k < 2; ++k) strides[k].push_back(walk.strides[k][d]);
  }
  turn.matrices = make_walk<2>(shape, strides);
  const unsigned blocks = blocks_for(turn.matrices.n * turn.row_tiles * turn.column_tiles, 1);
  launch(stream, blocks, {kTile, kTileRows}, sizeof(Tile<T>), turn_kernel<T>, turn, static_cast<T*>(to),
         static_cast<const T*>(from));
}

__global__ void __launch_bounds__(kThreads) zero_kernel(uint8_t* to, int64_t bytes, bool in_packs) {
  const int64_t packs = in_packs ? bytes / kPackBytes : 0;
  for (int64_t p = global_thread(); p < packs; p += global_threads()) store_pack<kPackBytes>(to + p * kPackBytes, {});
  for (int64_t i = packs * kPackBytes + global_thread(); i < bytes; i += global_threads()) to[i] = 0;
}

// The walk in units of `by` elements, where runs along the last dim are made of whole aligned ones.
bool in_units(Walk<2>& walk, int64_t by, int64_t unit_bytes, const void* to, const void* from) {
  const int last = walk.rank - 1;
  bool fits = walk.sizes[last] % by == 0 && walk.strides[kTo][last] == 1 && walk.strides[kFrom][last] == 1 &&
              is_aligned(to, static_cast<size_t>(unit_bytes)) && is_aligned(from, static_cast<size_t>(unit_bytes));
  for (int d = 0; d < last; ++d) {
    fits = fits && walk.strides[kTo][d] % by == 0 && walk.strides[kFrom][d] % by == 0;
  }
  if (!fits) return false;
  walk.n /= by;
  walk.sizes[last] /= by;
  for (int d = 0; d < last; ++d) {
    walk.strides[kTo][d] /= by;
    walk.strides[kFrom][d] /= by;
  }
  return true;
}

}  // namespace

void copy_strided(void* to, const Dims& to_strides, const void* from, const Dims& from_strides, const Shape& shape,
                  int64_t size, Stream& stream) {
  if (shape.elements() == 0) return;
  Walk<2> walk = make_walk<2>(shape, {to_strides, from_strides});
  int64_t unit = size;
  for (int64_t bytes = kPackBytes; bytes > size; bytes /= 2) {
    if (!in_units(walk, bytes / size, bytes, to, from)) continue;
    unit = bytes;
    break;
  }
  if (unit == 16) return run<Sixteen>(walk, to, from, stream);
  if (unit == 8) return run<uint64_t>(walk, to, from, stream);
  if (unit == 4) return run<uint32_t>(walk, to, from, stream);
  if (unit == 2) return run<uint16_t>(walk, to, from, stream);
  run<uint8_t>(walk, to, from, stream);
}

void copy(const TensorView& to, const TensorView& from, Stream& stream) {
  if (to.data == from.data) return;
  copy_strided(to.data, {1}, from.data, {1}, {to.elements()}, size_of(to.dtype), stream);
}

void fill_zero(const TensorView& view, Stream& stream) {
  const int64_t bytes = view.bytes();
  if (bytes == 0) return;
  launch(stream, blocks_for(bytes, kThreads * kPackBytes), kThreads, 0, zero_kernel, view.as<uint8_t>(), bytes,
         is_aligned(view.data, kPackBytes));
}

}  // namespace troupe::cuda
