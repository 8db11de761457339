// Batches that the driver hands over, a step at a time.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"
#include "runtime/device/source.h"

namespace troupe {

// An array of a batch, row-major; its bytes belong to the batch's memory.
struct FedArray {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;
  int64_t bytes() const { return shape.elements() * size_of(dtype); }
};

struct FedBatch {
  std::map<std::string, FedArray> arrays;
  std::shared_ptr<const void> memory;  // keeps the arrays
};

// The batches of the steps to come. Thread-safe.
class Feed {
 public:
  void put(int64_t step, FedBatch batch);
  void drop_before(int64_t step);
  bool has(int64_t step) const;
  std::shared_ptr<const FedBatch> find(int64_t step) const;
  std::vector<int64_t> steps() const;

 private:
  mutable std::mutex mutex_;
  std::map<int64_t, std::shared_ptr<const FedBatch>> batches_;
};

// One array of each batch.
class FeedSource final : public Source {
 public:
  FeedSource(std::shared_ptr<Feed> feed, std::string array) : feed_(std::move(feed)), array_(std::move(array)) {}

  bool ready(int64_t step) const override { return feed_->has(step); }
  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override;

  const std::shared_ptr<Feed>& feed() const { return feed_; }
  const std::string& array() const { return array_; }

 private:
  std::shared_ptr<Feed> feed_;
  std::string array_;
};

}  // namespace troupe
