// Ops that move elements and compute nothing.

#include "ops/cuda/copy.h"
#include "ops/cuda/kernels.h"
#include "ops/sequence_parts.h"
#include "runtime/base/box.h"

namespace troupe::cuda {
namespace {

// Copies a box that is all of every dim but `dim`, and there goes from `from_start` of one tensor to `to_start` of the other.
void copy_along(const TensorView& to, int64_t to_start, const TensorView& from, int64_t from_start, int dim,
                int64_t size, Stream& stream) {
  const Dims to_strides = strides_of(to.shape);
  const Dims from_strides = strides_of(from.shape);
  const int64_t bytes = size_of(to.dtype);
  Shape shape = to.shape;
  shape[dim] = size;
  copy_strided(to.as<std::byte>() + to_start * to_strides[dim] * bytes, to_strides,
               from.as<std::byte>() + from_start * from_strides[dim] * bytes, from_strides, shape, bytes, stream);
}

int dim_of(const KernelArgs& args) { return static_cast<int>(args.attrs->integer("dim")); }

// Of each part that a device has of the whole: copy(place in the whole, half, place in the half, size), all local.
template <class Copy>
void for_each_half(const KernelArgs& args, const TensorView& whole, const TensorView& first, const TensorView& second,
                   Copy copy_half) {
  const int dim = dim_of(args);
  const int64_t parts = args.attrs->integer("parts");
  const bool mirrored = args.attrs->integer("mirrored", 0) != 0;
  const int64_t size = second_half(whole.logical[dim], parts);
  for (int64_t p = 0; p < parts; ++p) {
    const Part part = part_of(whole.logical[dim], parts, p);
    const int64_t at = part.offset - whole.offset[dim];
    if (at < 0 || at + part.size > whole.shape[dim]) continue;  // another device's
    copy_half(at, first, part.offset - p * size - first.offset[dim], part.size - size);
    const int64_t place = mirrored ? parts - 1 - p : p;
    copy_half(at + part.size - size, second, place * size - second.offset[dim], size);
  }
}

}  // namespace

void to_layout_cuda(const KernelArgs& args, Stream& stream) { copy(args.outputs[0], args.inputs[0], stream); }
void assign_cuda(const KernelArgs& args, Stream& stream) { copy(args.outputs[0], args.inputs[0], stream); }
void reshape_cuda(const KernelArgs& args, Stream& stream) { copy(args.outputs[0], args.inputs[0], stream); }

void expand_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  copy_strided(y.data, strides_of(y.shape), x.data, broadcast_strides(x.shape, y.shape), y.shape, size_of(y.dtype),
               stream);
}

void transpose_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  const TensorView& y = args.outputs[0];
  const Dims strides = strides_of(x.shape);
  Dims turned;
  for (int64_t d : args.attrs->integers("perm")) turned.push_back(strides[static_cast<int>(d)]);
  copy_strided(y.data, strides_of(y.shape), x.data, turned, y.shape, size_of(y.dtype), stream);
}

void slice_cuda(const KernelArgs& args, Stream& stream) {
  const int dim = dim_of(args);
  const TensorView& y = args.outputs[0];
  copy_along(y, 0, args.inputs[0], args.attrs->integer("start"), dim, y.shape[dim], stream);
}

void pad_cuda(const KernelArgs& args, Stream& stream) {
  const int dim = dim_of(args);
  fill_zero(args.outputs[0], stream);
  copy_along(args.outputs[0], args.attrs->integer("before"), args.inputs[0], 0, dim, args.inputs[0].shape[dim], stream);
}

void concat_cuda(const KernelArgs& args, Stream& stream) {
  const int dim = dim_of(args);
  int64_t start = 0;
  for (const TensorView& x : args.inputs) {
    copy_along(args.outputs[0], start, x, 0, dim, x.shape[dim], stream);
    start += x.shape[dim];
  }
}

void split_cuda(const KernelArgs& args, Stream& stream) {
  const int dim = dim_of(args);
  int64_t start = 0;
  for (const TensorView& y : args.outputs) {
    copy_along(y, 0, args.inputs[0], start, dim, y.shape[dim], stream);
    start += y.shape[dim];
  }
}

void halves_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.inputs[0];
  for_each_half(args, x, args.outputs[0], args.outputs[1],
                [&](int64_t at, const TensorView& half, int64_t place, int64_t size) {
                  copy_along(half, place, x, at, dim_of(args), size, stream);
                });
}

void join_halves_cuda(const KernelArgs& args, Stream& stream) {
  const TensorView& x = args.outputs[0];
  for_each_half(args, x, args.inputs[0], args.inputs[1],
                [&](int64_t at, const TensorView& half, int64_t place, int64_t size) {
                  copy_along(x, at, half, place, dim_of(args), size, stream);
                });
}

}  // namespace troupe::cuda
