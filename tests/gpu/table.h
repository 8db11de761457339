// For the benchmark of CUDA kernels: which uses of ops it measures, and what their times mean.
#pragma once

#include <string>
#include <vector>

#include "ops/test_use_cases.h"

namespace troupe {

// What a GPU (an H200) can do at most: bytes per second between its memory and its processors, and floating-point
// operations per second with bf16.
inline constexpr double kPeakBytesPerSecond = 4.8e12;
inline constexpr double kPeakFlopsPerSecond = 989e12;

// What a use does once: the bytes of its operands, each counted once (an update reads and writes), and its floating-point
// operations, 0 where memory is what bounds it.
struct Work {
  double bytes = 0;
  double flops = 0;
};
Work work_of(const UseCase& use);

// Work done in a time.
struct Rate {
  double per_second = 0;  // floating-point operations where they are counted, and otherwise bytes
  double share = 0;       // of what a GPU can do
};
Rate rate_of(const Work& work, double milliseconds);

// The middle one; of an even number the upper.
double median(std::vector<double> numbers);

// Kernels of a step of GPT-2 124M on 64 sequences of 1,024 tokens in bf16, or in float32 where their ops take nothing less.
std::vector<UseCase> gpt2_kernels();

// Attention of a layer of Llama 3 8B on a sequence of 8,192 tokens in bf16, forward and backward.
std::vector<UseCase> llama_attention();

}  // namespace troupe
