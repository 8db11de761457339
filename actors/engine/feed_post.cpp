#include "actors/engine/feed_post.h"

#include <cstring>
#include <utility>

#include "actors/engine/array_source.h"
#include "actors/engine/token_source.h"
#include "runtime/base/align.h"

namespace troupe {

SourceSpec FeedPost::spec_of(const std::string& name, const Source& source) {
  SourceSpec spec;
  spec.name = name;
  if (const auto* tokens = dynamic_cast<const TokenSource*>(&source)) {
    spec.rows = tokens->rows();
    return spec;
  }
  if (const auto* arrays = dynamic_cast<const ArraySource*>(&source)) {
    spec.array_rows = arrays->rows();
    return spec;
  }
  const auto* fed = dynamic_cast<const FeedSource*>(&source);
  if (fed == nullptr) throw PlanError("source '" + name + "' can only be read in the driver's process");
  for (const auto& [id, posted] : feeds_) {
    if (posted.feed.lock() == fed->feed()) spec.feed = id;
  }
  if (spec.feed < 0) {
    spec.feed = next_++;
    feeds_[spec.feed].feed = fed->feed();
  }
  spec.array = fed->array();
  return spec;
}

std::vector<Command> FeedPost::news() {
  std::vector<Command> commands;
  for (auto it = feeds_.begin(); it != feeds_.end();) {
    auto& [id, posted] = *it;
    const std::shared_ptr<Feed> feed = posted.feed.lock();
    if (feed == nullptr) {
      commands.push_back(DropFeed{id});
      it = feeds_.erase(it);
      continue;
    }
    const std::vector<int64_t> steps = feed->steps();
    const int64_t oldest = steps.empty() ? 0 : steps.front();
    posted.batches.erase(posted.batches.begin(), posted.batches.lower_bound(oldest));
    for (int64_t step : steps) {
      const std::shared_ptr<const FedBatch> batch = feed->find(step);
      if (batch == nullptr) continue;
      Posted::Batch& known = posted.batches[step];
      if (known.batch == batch && known.sent) continue;
      HandOver given{id, step, oldest, {}, {}};
      int64_t bytes = 0;
      for (const auto& [name, array] : batch->arrays) {
        given.arrays.push_back({name, static_cast<int32_t>(array.dtype), array.shape.vector(), bytes});
        bytes += aligned(array.bytes());
      }
      if (known.batch != batch) {
        known.memory = Arena::shared(bytes);
        known.batch = batch;
        for (const HandOver::Array& array : given.arrays) {
          const FedArray& from = batch->arrays.at(array.name);
          std::memcpy(known.memory.data() + array.offset, from.data, static_cast<size_t>(from.bytes()));
        }
      }
      known.sent = true;
      given.memory = known.memory.file();
      commands.push_back(given);
    }
    ++it;
  }
  return commands;
}

void FeedPost::send_again() {
  for (auto& [id, posted] : feeds_) {
    for (auto& [step, batch] : posted.batches) batch.sent = false;
  }
}

}  // namespace troupe
