#include "runtime/files/token_windows.h"

#include <algorithm>
#include <string>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/random.h"

namespace troupe {

TokenWindows::TokenWindows(int64_t tokens, int64_t seq, int64_t batch, uint64_t seed, bool shuffled)
    : seq_(seq), batch_(batch), seed_(seed), shuffled_(shuffled), starts_(tokens - seq), rows_(0) {
  if (seq < 1 || batch < 1) {
    throw PlanError("tokens: seq=" + std::to_string(seq) + " and batch=" + std::to_string(batch) +
                    " must be at least 1");
  }
  if (tokens <= seq) {
    throw PlanError("tokens: the data has " + std::to_string(tokens) + " tokens; a row of seq=" + std::to_string(seq) +
                    " needs " + std::to_string(seq) + " and one more");
  }
  if (!shuffled) rows_ = (tokens - 1) / seq;
}

TokenWindows TokenWindows::shuffled(int64_t tokens, int64_t seq, int64_t batch, uint64_t seed) {
  return TokenWindows(tokens, seq, batch, seed, true);
}

TokenWindows TokenWindows::sequential(int64_t tokens, int64_t seq, int64_t batch) {
  return TokenWindows(tokens, seq, batch, 0, false);
}

int64_t TokenWindows::start(int64_t step, int64_t row) const {
  CHECK(step >= 0 && row >= 0 && row < rows_in(step), step, row, rows_in(step));
  if (!shuffled_) return (step * batch_ + row) * seq_;
  const uint64_t key = mix64(mix64(seed_, static_cast<uint64_t>(step)), static_cast<uint64_t>(row));
  return Random(key).below(starts_);
}

int64_t TokenWindows::rows_in(int64_t step) const {
  if (shuffled_) return batch_;
  return step < steps() ? std::min(batch_, rows_ - step * batch_) : 0;
}

}  // namespace troupe
