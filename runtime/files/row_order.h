// Which rows of an array the batches of training hold. As for tokens a pure function of the position in training: the row
// at a place of a step's batch depends on (seed, step, place) alone, and there is no state to save.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

struct RowChoice {
  int64_t rows = 0;   // to choose from
  int64_t batch = 0;  // of these per step
  uint64_t seed = 0;
  bool shuffled = true;  // each pass over the rows in an order of its own; else all in the order of the rows
  bool operator==(const RowChoice&) const = default;
};

// A pass has every row at most once; rows that do not fill a batch at its end are left out of it. The order of a shuffled
// pass is made when it is first asked for, in about 0.1 s for a million rows, and takes 8 bytes a row; two are kept,
// as what reads ahead begins the next pass while others end one. Thread-safe.
class RowOrder {
 public:
  // Throws PlanError when the rows do not fill a batch.
  explicit RowOrder(const RowChoice& choice);

  const RowChoice& choice() const { return choice_; }
  // The rows of one step's batch.
  class Batch {
   public:
    int64_t row(int64_t place) const;  // 0 <= place < choice.batch

   private:
    friend class RowOrder;
    std::shared_ptr<const std::vector<uint64_t>> ranked_;  // null: as they are
    uint64_t key_ = 0;
    int64_t first_ = 0;
    int64_t size_ = 0;
  };
  Batch at(int64_t step) const;

 private:
  // What the rows are sorted by, sorted. Each number tells its row, so the rows need no list of their own.
  struct Pass {
    int64_t number;
    std::shared_ptr<const std::vector<uint64_t>> ranked;
  };
  uint64_t key_of(int64_t pass) const;
  std::shared_ptr<const std::vector<uint64_t>> ranked(int64_t pass) const;

  RowChoice choice_;
  mutable std::mutex mutex_;
  mutable std::deque<Pass> passes_;  // the last used first
};

}  // namespace troupe
