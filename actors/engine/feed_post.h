// What of the driver's feeds the workers have, and what has to be sent so that they have all of it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "actors/engine/control.h"
#include "actors/engine/feed.h"
#include "runtime/device/arena.h"

namespace troupe {

// Used by one thread at a time; whoever fills the feeds may be another.
class FeedPost {
 public:
  // How another process reads this source. PlanError when only this one can: it is neither of a feed nor of files.
  SourceSpec spec_of(const std::string& name, const Source& source);

  // Batches that were put since the last call, in shared memory, which is kept until the feed drops them; and feeds
  // that are gone. To be sent to every worker, in this order.
  std::vector<Command> news();
  // They may not have come: they are news once more.
  void send_again();

 private:
  struct Posted {
    struct Batch {
      std::shared_ptr<const FedBatch> batch;
      Arena memory;
      bool sent = false;
    };
    std::weak_ptr<Feed> feed;
    std::map<int64_t, Batch> batches;  // by step
  };

  std::map<int64_t, Posted> feeds_;  // by the number that workers know
  int64_t next_ = 0;
};

}  // namespace troupe
