#include "actors/engine/feed.h"

#include <cstring>
#include <utility>

#include "actors/engine/parts.h"

namespace troupe {

void Feed::put(int64_t step, FedBatch batch) {
  auto made = std::make_shared<const FedBatch>(std::move(batch));
  const std::lock_guard lock(mutex_);
  batches_[step] = std::move(made);
}

void Feed::drop_before(int64_t step) {
  const std::lock_guard lock(mutex_);
  batches_.erase(batches_.begin(), batches_.lower_bound(step));
}

bool Feed::has(int64_t step) const {
  const std::lock_guard lock(mutex_);
  return batches_.contains(step);
}

std::shared_ptr<const FedBatch> Feed::find(int64_t step) const {
  const std::lock_guard lock(mutex_);
  const auto it = batches_.find(step);
  return it == batches_.end() ? nullptr : it->second;
}

std::vector<int64_t> Feed::steps() const {
  const std::lock_guard lock(mutex_);
  std::vector<int64_t> all;
  for (const auto& [step, batch] : batches_) all.push_back(step);
  return all;
}

void FeedSource::read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) {
  const std::shared_ptr<const FedBatch> batch = feed_->find(firing.step);
  const auto found = batch == nullptr ? std::map<std::string, FedArray>::const_iterator() : batch->arrays.find(array_);
  if (batch == nullptr || found == batch->arrays.end()) {
    *failure = "the batch of step " + std::to_string(firing.step) + " has no array '" + array_ + "'";
    return;
  }
  const FedArray& array = found->second;
  const std::string what =
      "array '" + array_ + "' of step " + std::to_string(firing.step) + " is " + type_text(array.dtype, array.shape);
  if (array.dtype != out.dtype || array.shape.rank() != out.shape.rank()) {
    *failure = what + ", the plan was made for other arrays";
    return;
  }
  Box box{out.offset, out.shape};
  if (out.shape.rank() > 0) {
    box.offset[0] += (static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece) * out.logical[0];
  }
  for (int d = 0; d < out.shape.rank(); ++d) {
    if (box.offset[d] + out.shape[d] <= array.shape[d]) continue;
    *failure = what + ", too small for the plan";
    return;
  }
  if (out.elements() == 0) return;
  take_part({array.data, static_cast<size_t>(array.bytes())}, array.shape, array.dtype, box,
            {out.as<std::byte>(), static_cast<size_t>(out.bytes())});
}

}  // namespace troupe
