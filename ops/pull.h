// The kernel that executes boxing over memory that all devices can read: a device assembles its part of a tensor from
// the registers of others. Which parts come from where is decided by the planner and travels as the attribute
// `regions`.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/attrs.h"
#include "runtime/base/shape.h"
#include "runtime/device/kernel.h"

namespace troupe {

// One region of the output.
struct PullRegion {
  struct Source {
    int input = 0;     // which input register
    int64_t base = 0;  // elements to skip in it: an accumulator holds several tensors one after another
    Dims offset;       // of the region in that register's part
  };
  Dims offset;  // of the region in the output's part
  Dims extent;
  std::vector<Source> sources;
  // With more than one source: how they are added, as a postfix program (>= 0: push that source, -1: add two).
  std::vector<int> program;
};

// `flat`: registers and regions are one-dimensional, whatever the tensor's shape. `filled`: the regions cover the
// output; what they do not cover is filled with the neutral element of the reduction (0 sum, 1 max, 2 min).
Attrs pull_attrs(const std::vector<PullRegion>& regions, bool flat, bool filled, int reduction);

// How many elements a firing with these attributes reads from each of so many inputs.
std::vector<int64_t> pulled_elements(const Attrs& attrs, size_t inputs);

// Which bytes of an input a firing with these attributes reads (KernelReads).
std::vector<ByteRuns> pull_reads(const Attrs& attrs, size_t number, const TensorView& input);

// Scratch for these regions, in bytes.
int64_t pull_scratch_bytes(const std::vector<PullRegion>& regions, DType dtype);

// inputs: registers of any devices; outputs: one register of any dtype (sums: f32, f64, bf16, f16).
void pull_kernel(const KernelArgs& args, Stream& stream);

}  // namespace troupe
