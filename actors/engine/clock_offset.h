// How far another process's clock is ahead of ours.
#pragma once

#include <algorithm>
#include <limits>

namespace troupe {

class ClockOffset {
 public:
  // We asked at `sent` and had the answer at `heard`, by our clock; in between, the other's clock showed `there`.
  void add(double sent, double there, double heard) {
    least_ = std::max(least_, there - heard);
    most_ = std::min(most_, there - sent);
  }
  // Seconds, after at least one exchange: off by at most half of the quickest one. Clocks that the exchanges cannot tell
  // apart are taken as one, as those of processes of one host are.
  double seconds() const { return least_ <= 0 && most_ >= 0 ? 0 : (least_ + most_) / 2; }

 private:
  double least_ = -std::numeric_limits<double>::infinity();
  double most_ = std::numeric_limits<double>::infinity();
};

}  // namespace troupe
