#include "tests/simulated_cuda/grid.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>
#include <vector>

extern __shared__ unsigned char dynamic_shared[];

namespace troupe::simulated {
namespace {

template <class T>
T* shared() {
  return reinterpret_cast<T*>(dynamic_shared);
}

TEST(Grid, RunsEveryThreadOnce) {
  std::vector<int> runs(2 * 3 * 2 * 4 * 2 * 3);
  run_grid({2, 3, 2}, {4, 2, 3}, 0, [&] {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    ++runs[block * 24 + thread];
  });
  EXPECT_EQ(runs, std::vector<int>(runs.size(), 1));
}

// The sum over each block of its threads' numbers, by halves.
std::vector<int> sums(bool waits_before_reading) {
  std::vector<int> result(3);
  run_grid(3, 64, 64 * sizeof(int), [&] {
    int* parts = shared<int>();
    parts[threadIdx.x] = static_cast<int>(threadIdx.x + 64 * blockIdx.x);
    for (unsigned half = 32; half > 0; half /= 2) {
      if (waits_before_reading || half < 32) __syncthreads();
      if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    if (threadIdx.x == 0) result[blockIdx.x] = parts[0];
  });
  return result;
}

TEST(Grid, BarriersOrderWhatThreadsWrite) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    set_order(seed);
    EXPECT_EQ(sums(true), (std::vector<int>{2016, 6112, 10208})) << seed;
  }
}

TEST(Grid, AMissingBarrierShows) {
  int wrong = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    set_order(seed);
    wrong += sums(false) != std::vector<int>{2016, 6112, 10208} ? 1 : 0;
  }
  EXPECT_GT(wrong, 0);
}

TEST(Grid, BlocksRunInOrdersThatDiffer) {
  std::set<std::vector<unsigned>> orders;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    set_order(seed);
    std::vector<unsigned> order;
    run_grid(8, 1, 0, [&] { order.push_back(blockIdx.x); });
    orders.insert(order);
  }
  EXPECT_GT(orders.size(), 1u);
}

TEST(Grid, LanesExchangeValues) {
  std::vector<double> sum(64);
  std::vector<int> below(64), above(64), first(64);
  std::vector<unsigned> odd(64);
  run_grid(1, 64, 0, [&] {
    const unsigned i = threadIdx.x;
    double total = i;
    for (int lanes = 16; lanes > 0; lanes /= 2) total += __shfl_xor_sync(0xffffffffu, total, lanes);
    sum[i] = total;
    above[i] = __shfl_down_sync(0xffffffffu, static_cast<int>(i), 1);
    below[i] = __shfl_up_sync(0xffffffffu, static_cast<int>(i), 1);
    first[i] = __shfl_sync(0xffffffffu, static_cast<int>(i), 0, 8);
    odd[i] = __ballot_sync(0xffffffffu, i % 2);
  });
  for (int i = 0; i < 64; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(sum[at], i < 32 ? 496 : 1520);
    EXPECT_EQ(above[at], i % 32 == 31 ? i : i + 1);
    EXPECT_EQ(below[at], i % 32 == 0 ? i : i - 1);
    EXPECT_EQ(first[at], i / 8 * 8);
    EXPECT_EQ(odd[at], 0xaaaaaaaau);
  }
}

TEST(Grid, TheLastLaneDoesWhatAWarpDoesTogether) {
  std::vector<int> sum(64);
  run_grid(1, 64, 0, [&] {
    int own = static_cast<int>(threadIdx.x);
    do_together(reinterpret_cast<uint64_t>(&own), [](const uint64_t(&brought)[kWarp]) {
      int total = 0;
      for (const uint64_t lane : brought) total += *reinterpret_cast<const int*>(lane);
      for (const uint64_t lane : brought) *reinterpret_cast<int*>(lane) = total;
    });
    sum[threadIdx.x] = own;
  });
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(sum[i], i < 32 ? 496 : 1520);
}

// Of 32 threads, each copies four bytes for its neighbour, in two groups; the second half of them copies zeros.
std::vector<int> copied(int but, bool waits_for_others) {
  std::vector<int> given(64), found(64);
  std::iota(given.begin(), given.end(), 1);
  run_grid(1, 32, 64 * sizeof(int), [&] {
    const unsigned i = threadIdx.x;
    for (unsigned group = 0; group < 2; ++group) {
      copy_later(shared<int>() + group * 32 + i, &given[group * 32 + i], sizeof(int), i < 16 ? sizeof(int) : 0);
      close_copies();
    }
    wait_for_copies(but);
    if (waits_for_others) __syncthreads();
    for (unsigned group = 0; group < 2; ++group) found[group * 32 + i] = shared<int>()[group * 32 + (i + 1) % 32];
  });
  return found;
}

TEST(Grid, CopiesComeWhenTheirThreadHasWaitedForThem) {
  const std::vector<int> all = copied(0, true);
  const std::vector<int> first = copied(1, true);
  for (int i = 0; i < 64; ++i) {
    const int from = i / 32 * 32 + (i + 1) % 32;
    EXPECT_EQ(all[static_cast<size_t>(i)], from % 32 < 16 ? from + 1 : 0) << i;
    if (i < 32) {
      EXPECT_EQ(first[static_cast<size_t>(i)], all[static_cast<size_t>(i)]) << i;
    }
  }
  EXPECT_NE(first, all);
  EXPECT_NE(copied(0, false), all);
}

TEST(Grid, CountsRowsThatShareBanks) {
  const auto conflicts = [](int step) {
    const uint64_t before = bank_conflicts();
    run_grid(1, 1, 4096, [&] {
      const unsigned char* rows[8];
      for (int i = 0; i < 8; ++i) rows[i] = shared<unsigned char>() + i * step;
      read_rows(rows);
    });
    return bank_conflicts() - before;
  };
  EXPECT_EQ(conflicts(16), 0u);
  EXPECT_EQ(conflicts(144), 0u);
  EXPECT_EQ(conflicts(32), 1u);
  EXPECT_EQ(conflicts(64), 3u);
  EXPECT_EQ(conflicts(128), 7u);
}

TEST(Grid, SharedMemoryStartsAsRubbish) {
  int numbers = 0;
  run_grid(4, 32, 32 * sizeof(float), [&] {
    numbers += std::isnan(shared<float>()[threadIdx.x]) ? 0 : 1;
    shared<float>()[threadIdx.x] = 1;
  });
  EXPECT_EQ(numbers, 0);
}

std::string error_of(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  try {
    run_grid(grid, block, shared_bytes, body);
  } catch (const GridError& error) {
    return error.what();
  }
  return "";
}

TEST(Grid, NamesABarrierThatNotAllReach) {
  EXPECT_EQ(error_of(1, 64, 0,
                     [] {
                       if (threadIdx.x != 5) __syncthreads();
                     }),
            "block (0,0,0): of 64 threads 63 wait at a barrier, 0 for lanes of their warps, and 1 have returned");
}

TEST(Grid, NamesAnExchangeThatNotAllReach) {
  EXPECT_EQ(error_of(1, 32, 0,
                     [] {
                       if (threadIdx.x != 5) __syncwarp();
                     }),
            "block (0,0,0): of 32 threads 0 wait at a barrier, 31 for lanes of their warps, and 1 have returned");
  EXPECT_EQ(error_of(1, 32, 0, [] { __syncwarp(threadIdx.x < 16 ? 0xffffu : 0xffffffffu); }).substr(0, 15),
            "block (0,0,0): ");
  EXPECT_EQ(error_of(1, 32, 0, [] { __syncwarp(1); }).find("block (0,0,0): lane "), 0u);
}

TEST(Grid, NamesWhatLanesDoNotDoTogether) {
  EXPECT_EQ(error_of(1, 32, 0,
                     [] {
                       if (threadIdx.x < 16) __syncwarp();
                       do_together(0, [](const uint64_t(&)[kWarp]) {});
                     }),
            "block (0,0,0): lanes of a warp do different things together");
}

TEST(Grid, RefusesRowsAndCopiesThatAreNotAligned) {
  EXPECT_EQ(error_of(1, 1, 64, [] { copy_later(shared<int>() + 1, &threadIdx, 8, 0); }),
            "block (0,0,0): a copy of 4, 8 or 16 bytes must be as aligned");
  EXPECT_EQ(error_of(1, 1, 1024,
                     [] {
                       const unsigned char* rows[8];
                       for (int i = 0; i < 8; ++i) rows[i] = shared<unsigned char>() + 16 * i + 8;
                       read_rows(rows);
                     }),
            "block (0,0,0): ldmatrix reads rows of shared memory at multiples of 16 bytes");
}

TEST(Grid, RunsOnAfterAnError) {
  EXPECT_NE(error_of(2, 64, 0,
                     [] {
                       if (threadIdx.x != 5) __syncthreads();
                     }),
            "");
  EXPECT_EQ(sums(true), (std::vector<int>{2016, 6112, 10208}));
}

TEST(Grid, SeesWhatIsWrittenBeyondSharedMemory) {
  EXPECT_EQ(error_of(1, 32, 32 * sizeof(float), [] { shared<float>()[threadIdx.x + 1] = 0; }),
            "block (0,0,0): something was written beyond the 128 bytes of shared memory");
}

TEST(Grid, RefusesSizesThatNoGpuHas) {
  const auto nothing = [] {};
  EXPECT_EQ(error_of({0, 1, 1}, 32, 0, nothing), "no GPU has a grid of 0 x 1 x 1 blocks");
  EXPECT_EQ(error_of({1, 65536, 1}, 32, 0, nothing), "no GPU has a grid of 1 x 65536 x 1 blocks");
  EXPECT_EQ(error_of(1, {32, 33}, 0, nothing), "no GPU has blocks of 1056 threads");
  EXPECT_EQ(error_of(1, 32, 240000, nothing), "no GPU has 240000 bytes of shared memory");
}

}  // namespace
}  // namespace troupe::simulated
