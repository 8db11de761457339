#include "tests/simulated_cuda/grid.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/random.h"

constinit uint3 threadIdx;
constinit uint3 blockIdx;
constinit dim3 blockDim;
constinit dim3 gridDim;

namespace {
constexpr size_t kGuard = 256;
}
// The one that kernels see; see ops/cuda/device.h.
unsigned char dynamic_shared[troupe::simulated::kMostSharedBytes + kGuard] __attribute__((aligned(128)));

namespace troupe::simulated {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr unsigned char kRubbish = 0xff;  // makes NaN of floats
constexpr unsigned char kGuardByte = 0xa5;

std::atomic<uint64_t> order_seed{1};
std::atomic<uint64_t> conflicts{0};

enum class Waits : uint8_t { no, at_barrier, at_exchange };

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  size_t given;
};

struct Fiber {
  jmp_buf at;
  ucontext_t start;
  bool is_started = false;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  uint3 thread;
  Waits waits = Waits::no;
  std::deque<std::vector<Copy>> copies{1};  // in groups, of which the last one is open
};

struct Warp {
  uint64_t brought[kWarp] = {};
  uint64_t taken[kWarp] = {};
  unsigned mask = 0;
  unsigned arrived = 0;
  Together what = nullptr;
};

// Runs blocks on the thread that owns it.
class Machine {
 public:
  void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body);

  void wait_at_barrier();
  void exchange(unsigned mask, uint64_t bits, const uint64_t*& taken, Together what = nullptr);
  void copy_later(const Copy& copy);
  void close_copies() { fibers_[running_]->copies.emplace_back(); }
  void wait_for_copies(size_t but);
  void fail(std::string text);

  // Never returns: a fiber runs one thread of a block after another.
  [[noreturn]] void run_threads();

 private:
  void run_block(size_t shared_bytes);
  void resume(Fiber& fiber);
  void leave();  // the fiber that runs
  std::string what_waits() const;

  const std::function<void()>* body_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Warp> warps_;
  std::vector<size_t> ready_;
  size_t threads_ = 0;
  size_t running_ = 0;
  size_t at_barrier_ = 0;
  size_t returned_ = 0;
  std::string failure_;
  Random random_{0};
  jmp_buf scheduler_;
};

thread_local Machine* current = nullptr;

void fiber_main() { current->run_threads(); }

void Machine::run_threads() {
  for (;;) {
    (*body_)();
    close_copies();
    wait_for_copies(0);
    ++returned_;
    leave();
  }
}

// Nothing that changes meanwhile is kept in this function: a jump does not preserve it.
[[gnu::noinline]] void Machine::resume(Fiber& fiber) {
  threadIdx = fiber.thread;
  if (_setjmp(scheduler_) != 0) return;
  if (fiber.is_started) _longjmp(fiber.at, 1);
  fiber.is_started = true;
  setcontext(&fiber.start);
}

[[gnu::noinline]] void Machine::leave() {
  if (_setjmp(fibers_[running_]->at) == 0) _longjmp(scheduler_, 1);
}

// What the fiber holds is lost with it.
void Machine::fail(std::string text) {
  failure_ = std::move(text);
  leave();
}

void Machine::wait_at_barrier() {
  if (++at_barrier_ < threads_) {
    fibers_[running_]->waits = Waits::at_barrier;
    return leave();
  }
  at_barrier_ = 0;
  for (size_t i = 0; i < threads_; ++i) {
    if (i != running_) ready_.push_back(i);
    fibers_[i]->waits = Waits::no;
  }
}

void Machine::exchange(unsigned mask, uint64_t bits, const uint64_t*& taken, Together what) {
  const size_t first = running_ / kWarp * kWarp;
  const size_t lane = running_ - first;
  Warp& warp = warps_[running_ / kWarp];
  taken = warp.taken;
  if ((mask >> lane & 1) == 0) return fail("lane " + std::to_string(lane) + " is not in its own mask");
  if (warp.arrived != 0 && warp.mask != mask) return fail("lanes of a warp exchange values with different masks");
  if (warp.arrived != 0 && warp.what != what) return fail("lanes of a warp do different things together");
  warp.mask = mask;
  warp.what = what;
  warp.arrived |= 1u << lane;
  warp.brought[lane] = bits;
  if (warp.arrived != mask) {
    fibers_[running_]->waits = Waits::at_exchange;
    return leave();
  }
  warp.arrived = 0;
  if (what != nullptr) what(warp.brought);
  std::copy(std::begin(warp.brought), std::end(warp.brought), std::begin(warp.taken));
  for (size_t i = first; i < std::min(first + kWarp, threads_); ++i) {
    if (i == running_ || (mask >> (i - first) & 1) == 0) continue;
    fibers_[i]->waits = Waits::no;
    ready_.push_back(i);
  }
}

void Machine::copy_later(const Copy& copy) {
  const auto is_whole = [&copy](const void* p) { return reinterpret_cast<uintptr_t>(p) % copy.bytes == 0; };
  if (!is_whole(copy.to) || !is_whole(copy.from)) return fail("a copy of 4, 8 or 16 bytes must be as aligned");
  fibers_[running_]->copies.back().push_back(copy);
}

void Machine::wait_for_copies(size_t but) {
  std::deque<std::vector<Copy>>& copies = fibers_[running_]->copies;
  for (; copies.size() > but + 1; copies.pop_front()) {
    for (const Copy& copy : copies.front()) {
      std::memset(copy.to, 0, copy.bytes);
      std::memcpy(copy.to, copy.from, copy.given);
    }
  }
}

std::string Machine::what_waits() const {
  size_t exchanging = 0;
  for (size_t i = 0; i < threads_; ++i) exchanging += fibers_[i]->waits == Waits::at_exchange ? 1 : 0;
  return "of " + std::to_string(threads_) + " threads " + std::to_string(at_barrier_) + " wait at a barrier, " +
         std::to_string(exchanging) + " for lanes of their warps, and " + std::to_string(returned_) + " have returned";
}

void Machine::run_block(size_t shared_bytes) {
  std::fill_n(dynamic_shared, shared_bytes, kRubbish);
  std::fill_n(dynamic_shared + shared_bytes, kGuard, kGuardByte);
  ready_.resize(threads_);
  std::iota(ready_.begin(), ready_.end(), size_t{0});
  std::fill(warps_.begin(), warps_.end(), Warp{});
  at_barrier_ = returned_ = 0;
  while (!ready_.empty() && failure_.empty()) {
    std::swap(ready_[static_cast<size_t>(random_.below(static_cast<int64_t>(ready_.size())))], ready_.back());
    running_ = ready_.back();
    ready_.pop_back();
    resume(*fibers_[running_]);
  }
  if (failure_.empty() && returned_ < threads_) failure_ = what_waits();
  const unsigned char* guard = dynamic_shared + shared_bytes;
  if (failure_.empty() && std::any_of(guard, guard + kGuard, [](unsigned char c) { return c != kGuardByte; })) {
    failure_ = "something was written beyond the " + std::to_string(shared_bytes) + " bytes of shared memory";
  }
}

void Machine::run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  body_ = &body;
  threads_ = size_t{block.x} * block.y * block.z;
  warps_.assign((threads_ + kWarp - 1) / kWarp, {});
  random_ = Random(order_seed);
  gridDim = grid;
  blockDim = block;
  while (fibers_.size() < threads_) {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& fiber = *fibers_.back();
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.get();
    fiber.start.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.start, fiber_main, 0);
  }
  for (size_t i = 0; i < threads_; ++i) {
    const auto n = static_cast<unsigned>(i);
    fibers_[i]->thread = {n % block.x, n / block.x % block.y, n / block.x / block.y};
    fibers_[i]->waits = Waits::no;
  }
  std::vector<uint64_t> blocks(size_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  for (size_t left = blocks.size(); left > 0 && failure_.empty(); --left) {
    std::swap(blocks[static_cast<size_t>(random_.below(static_cast<int64_t>(left)))], blocks[left - 1]);
    const uint64_t b = blocks[left - 1];
    blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                static_cast<unsigned>(b / grid.x / grid.y)};
    run_block(shared_bytes);
  }
  if (failure_.empty()) return;
  fibers_.clear();  // they stand in the middle of the body
  const std::string where = "block (" + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," +
                            std::to_string(blockIdx.z) + "): ";
  throw GridError(where + std::exchange(failure_, {}));
}

void check_sizes(dim3 grid, dim3 block, size_t shared_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const bool grid_fits =
      grid.x >= 1 && grid.x <= 0x7fffffff && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
  if (!grid_fits) {
    throw GridError("no GPU has a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                    std::to_string(grid.z) + " blocks");
  }
  if (threads < 1 || threads > 1024 || block.z > 64) {
    throw GridError("no GPU has blocks of " + std::to_string(threads) + " threads");
  }
  if (shared_bytes > kMostSharedBytes)
    throw GridError("no GPU has " + std::to_string(shared_bytes) + " bytes of shared memory");
}

}  // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  check_sizes(grid, block, shared_bytes);
  static std::mutex one_at_a_time;  // the built-ins and the shared memory are one for all
  const std::lock_guard lock(one_at_a_time);
  static thread_local Machine machine;
  current = &machine;
  machine.run(grid, block, shared_bytes, body);
}

void set_order(uint64_t seed) { order_seed = seed; }

void wait_at_barrier() { current->wait_at_barrier(); }

uint64_t exchange(unsigned mask, uint64_t bits, int source) {
  const uint64_t* taken = nullptr;
  current->exchange(mask, bits, taken);
  return taken[source];
}

unsigned ballot(unsigned mask, bool predicate) {
  const uint64_t* taken = nullptr;
  current->exchange(mask, predicate ? 1 : 0, taken);
  unsigned result = 0;
  for (int i = 0; i < kWarp; ++i) result |= (mask >> i & 1u) != 0 && taken[i] != 0 ? 1u << i : 0;
  return result;
}

void do_together(uint64_t brought, Together what) {
  const uint64_t* taken = nullptr;
  current->exchange(~0u, brought, taken, what);
}

void read_rows(const unsigned char* const (&rows)[8]) {
  int in_bank[8] = {};  // of 16 bytes
  for (const unsigned char* row : rows) {
    const ptrdiff_t at = row - dynamic_shared;
    if (at < 0 || at > static_cast<ptrdiff_t>(kMostSharedBytes) || at % 16 != 0) {
      return current->fail("ldmatrix reads rows of shared memory at multiples of 16 bytes");
    }
    ++in_bank[at / 16 % 8];
  }
  conflicts += static_cast<uint64_t>(*std::max_element(std::begin(in_bank), std::end(in_bank)) - 1);
}

uint64_t bank_conflicts() { return conflicts; }

void copy_later(void* to, const void* from, int bytes, int given) {
  current->copy_later({to, from, static_cast<size_t>(bytes), static_cast<size_t>(given)});
}
void close_copies() { current->close_copies(); }
void wait_for_copies(int but) { current->wait_for_copies(static_cast<size_t>(but)); }

}  // namespace troupe::simulated
