// Kernels on bfloat16 and float16 made from those on float32: operands are widened into scratch, the kernel runs, and
// results are rounded once where they are stored. Operands of other dtypes go through as they are.
#pragma once

#include "ops/op.h"

namespace troupe {

namespace in_float32_detail {

using Infer = std::vector<TensorType> (*)(const OpArgs&);
using ScratchBytes = int64_t (*)(const OpArgs&);

void run_whole(Kernel kernel, const KernelArgs& args, Stream& stream);
void run_blocks(Kernel kernel, const KernelArgs& args, Stream& stream);
int64_t whole_bytes(const OpArgs& args, Infer infer, ScratchBytes own);
int64_t block_bytes(const OpArgs& args);

}  // namespace in_float32_detail

// Any kernel. Its scratch is scratch_in_float32 of the op's infer and of the kernel's own scratch.
template <Kernel kernel>
void in_float32(const KernelArgs& args, Stream& stream) {
  in_float32_detail::run_whole(kernel, args, stream);
}

template <in_float32_detail::Infer infer, in_float32_detail::ScratchBytes own = nullptr>
int64_t scratch_in_float32(const OpArgs& args) {
  return in_float32_detail::whole_bytes(args, infer, own);
}

// A kernel without scratch that computes each element from those at the same place of operands of one shape: in blocks
// that stay in cache. Its scratch is block_scratch.
template <Kernel kernel>
void in_float32_blocks(const KernelArgs& args, Stream& stream) {
  in_float32_detail::run_blocks(kernel, args, stream);
}

inline int64_t block_scratch(const OpArgs& args) { return in_float32_detail::block_bytes(args); }

}  // namespace troupe
