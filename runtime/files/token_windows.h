// Which tokens the rows of a batch hold. Pure functions of the position in training, so that a run which
// resumes, re-plans or reads from several devices sees the same data: there is no state to save.
//
// A row takes seq + 1 consecutive tokens from its start: the input is the first seq of them, the target the
// last seq.
#pragma once

#include <cstdint>

namespace troupe {

class TokenWindows {
 public:
  // For training: the start of a row is drawn from all possible ones by (seed, step, row) alone. Throws
  // PlanError when fewer than seq + 1 tokens are there.
  static TokenWindows shuffled(int64_t tokens, int64_t seq, int64_t batch, uint64_t seed);
  // For evaluation: one pass in order, in which no token is a target twice. The last tokens, too few for a
  // row, are left out, and the last batch may be short.
  static TokenWindows sequential(int64_t tokens, int64_t seq, int64_t batch);

  // The first token of a row of the global batch of a step. Sequential: row < rows_in(step).
  int64_t start(int64_t step, int64_t row) const;
  // Rows in the batch of a step.
  int64_t rows_in(int64_t step) const;
  // Rows and steps of one pass; shuffled: 0, there is no end.
  int64_t rows() const { return rows_; }
  int64_t steps() const { return (rows_ + batch_ - 1) / batch_; }

 private:
  TokenWindows(int64_t tokens, int64_t seq, int64_t batch, uint64_t seed, bool shuffled);

  int64_t seq_;
  int64_t batch_;
  uint64_t seed_;
  bool shuffled_;
  int64_t starts_;  // possible starts of a shuffled row
  int64_t rows_;
};

}  // namespace troupe
