// A grid of CUDA threads on one thread of the CPU.
//
// Blocks run one after another, the threads of a block as fibers that change only at barriers and where a warp exchanges
// values; both in orders that are drawn, so that a kernel which waits too little gives wrong results for some seed. What a
// GPU leaves undefined is refused or made to show: shared memory holds NaN when a block starts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>

#include "tests/simulated_cuda/device_code.h"

namespace troupe::simulated {

// What a GPU would refuse, wait for forever or leave undefined.
class GridError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Dynamic shared memory of a block that a kernel gets without asking for more, and at most (of sm_90).
constexpr size_t kSharedBytes = 48 * 1024;
constexpr size_t kMostSharedBytes = 227 * 1024;

// Runs `body` once per thread of the grid, with threadIdx and so on set. Throws GridError for sizes that no GPU takes, for
// barriers and exchanges that not all of their threads reach, and for what was written beyond the shared memory. Thread-safe;
// not from within a body.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

// Cycles that reading rows for ldmatrix took because they shared banks, in all grids so far.
uint64_t bank_conflicts();

// The seed of the orders in which later grids of all threads run.
void set_order(uint64_t seed);

}  // namespace troupe::simulated
