#include "runtime/files/row_order.h"

#include <algorithm>
#include <string>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

constexpr size_t kKept = 2;  // passes

// One to one, so no two rows are equal in rank.
uint64_t rank_of(uint64_t key, uint64_t row) { return mix64(key ^ mix64(row)); }
uint64_t row_of(uint64_t key, uint64_t rank) { return unmix64(unmix64(rank) ^ key); }

}  // namespace

RowOrder::RowOrder(const RowChoice& choice) : choice_(choice) {
  if (choice.batch >= 1 && choice.batch <= choice.rows) return;
  throw PlanError("a batch of " + std::to_string(choice.batch) + " rows cannot be taken from arrays of " +
                  std::to_string(choice.rows) + " rows");
}

int64_t RowOrder::Batch::row(int64_t place) const {
  CHECK(place >= 0 && place < size_, place, size_);
  if (ranked_ == nullptr) return first_ + place;
  return static_cast<int64_t>(row_of(key_, (*ranked_)[static_cast<size_t>(first_ + place)]));
}

RowOrder::Batch RowOrder::at(int64_t step) const {
  CHECK(step >= 0, step);
  const int64_t steps = choice_.rows / choice_.batch;  // of a pass
  Batch batch;
  batch.first_ = step % steps * choice_.batch;
  batch.size_ = choice_.batch;
  if (!choice_.shuffled) return batch;
  batch.key_ = key_of(step / steps);
  batch.ranked_ = ranked(step / steps);
  return batch;
}

uint64_t RowOrder::key_of(int64_t pass) const { return mix64(choice_.seed, static_cast<uint64_t>(pass)); }

// Whoever needs a pass that another thread is making waits for it here.
std::shared_ptr<const std::vector<uint64_t>> RowOrder::ranked(int64_t pass) const {
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(passes_.begin(), passes_.end(), [&](const Pass& p) { return p.number == pass; });
  if (known != passes_.end()) {
    std::rotate(passes_.begin(), known, known + 1);
    return passes_.front().ranked;
  }
  while (passes_.size() >= kKept) passes_.pop_back();
  std::vector<uint64_t> ranks(static_cast<size_t>(choice_.rows));
  const uint64_t key = key_of(pass);
  for (size_t row = 0; row < ranks.size(); ++row) ranks[row] = rank_of(key, row);
  std::sort(ranks.begin(), ranks.end());
  passes_.push_front({pass, std::make_shared<const std::vector<uint64_t>>(std::move(ranks))});
  return passes_.front().ranked;
}

}  // namespace troupe
