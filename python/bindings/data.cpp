// Where data enters from Python: batches copied in by the driver, and single ops run on the spot.

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <map>
#include <mutex>

#include "ops/op.h"
#include "python/bindings/arrays.h"
#include "runtime/base/random.h"
#include "runtime/device/source.h"

namespace troupe::python {
namespace {

struct Batch {
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;
};

// Copies the region [first, first + out.shape) of a row-major tensor, dim by dim.
void copy_region(const std::byte* from, const Dims& strides, const Dims& first, const TensorView& out, int dim,
                 std::byte*& to) {
  const int64_t element = size_of(out.dtype);
  if (dim == out.shape.rank()) {
    std::memcpy(to, from, static_cast<size_t>(element));
    to += element;
    return;
  }
  const std::byte* begin = from + first[dim] * strides[dim] * element;
  if (dim == out.shape.rank() - 1) {
    std::memcpy(to, begin, static_cast<size_t>(out.shape[dim] * element));
    to += out.shape[dim] * element;
    return;
  }
  for (int64_t i = 0; i < out.shape[dim]; ++i) {
    copy_region(begin + i * strides[dim] * element, strides, first, out, dim + 1, to);
  }
}

// The batches of the steps to come, put in by the driver. Thread-safe.
class Feed {
 public:
  void put(int64_t step, const nb::dict& arrays) {
    std::map<std::string, std::shared_ptr<const Batch>> batch;
    for (const auto& [name, value] : arrays) {
      const InputArray array = nb::cast<InputArray>(value);
      const std::span<const std::byte> bytes = bytes_of(array);
      batch[nb::cast<std::string>(name)] = std::make_shared<const Batch>(
          Batch{dtype_of_array(array), shape_of_array(array), {bytes.begin(), bytes.end()}});
    }
    const std::lock_guard lock(mutex_);
    steps_[step] = std::move(batch);
  }

  void drop_before(int64_t step) {
    const std::lock_guard lock(mutex_);
    steps_.erase(steps_.begin(), steps_.lower_bound(step));
  }

  bool has(int64_t step) const {
    const std::lock_guard lock(mutex_);
    return steps_.contains(step);
  }

  std::shared_ptr<const Batch> find(int64_t step, const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto batch = steps_.find(step);
    if (batch == steps_.end()) return nullptr;
    const auto array = batch->second.find(name);
    return array == batch->second.end() ? nullptr : array->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<int64_t, std::map<std::string, std::shared_ptr<const Batch>>> steps_;
};

// One array of each batch.
class FeedSource final : public Source {
 public:
  FeedSource(std::shared_ptr<const Feed> feed, std::string name) : feed_(std::move(feed)), name_(std::move(name)) {}

  bool ready(int64_t step) const override { return feed_->has(step); }

  void read(const Firing& firing, int32_t pieces_per_shard, const TensorView& out, std::string* failure) override {
    const std::shared_ptr<const Batch> batch = feed_->find(firing.step, name_);
    if (batch == nullptr) {
      *failure = "the batch of step " + std::to_string(firing.step) + " has no array '" + name_ + "'";
      return;
    }
    Dims first = out.offset;
    if (first.rank() > 0) {
      first[0] += (static_cast<int64_t>(firing.shard) * pieces_per_shard + firing.piece) * out.logical[0];
    }
    if (batch->dtype != out.dtype || batch->shape.rank() != out.shape.rank()) {
      *failure = "array '" + name_ + "' of step " + std::to_string(firing.step) + " is " +
                 type_text(batch->dtype, batch->shape) + ", the plan was made for other arrays";
      return;
    }
    for (int d = 0; d < first.rank(); ++d) {
      if (first[d] + out.shape[d] <= batch->shape[d]) continue;
      *failure = "array '" + name_ + "' of step " + std::to_string(firing.step) + " is " +
                 type_text(batch->dtype, batch->shape) + ", too small for the plan";
      return;
    }
    if (out.elements() == 0) return;
    std::byte* to = out.as<std::byte>();
    copy_region(batch->bytes.data(), strides_of(batch->shape), first, out, 0, to);
  }

 private:
  std::shared_ptr<const Feed> feed_;
  std::string name_;
};

// Runs an op without operands (an initialisation) and returns its output.
nb::object run_op(const std::string& name, const nb::dict& attributes, const std::string& path, uint64_t seed) {
  const Attrs attrs = attrs_from(attributes);
  const OpDef* op = find_op(name);
  if (op == nullptr) throw PlanError(name, path, "there is no op of this name", {});
  const TensorType type = op->infer({{}, attrs}).front();
  return new_array(type.dtype, type.shape, [&](std::span<std::byte> into) {
    const TensorView out{into.data(), type.dtype, type.shape, Dims::filled(type.shape.rank(), 0), type.shape};
    std::string failure;
    KernelArgs args;
    args.outputs = {&out, 1};
    args.attrs = &attrs;
    args.key = hash_path(path);
    args.firing.seed = seed;
    args.failure = &failure;
    Stream stream;
    op->cpu(args, stream);
    if (!failure.empty()) throw PlanError(name, path, failure, {});
  });
}

}  // namespace

void bind_data(nb::module_& module) {
  module.def("run_op", &run_op, "Runs an op without operands and returns its output as an array.");
  nb::class_<Source>(module, "Source", "Where data enters.");
  nb::class_<Feed>(module, "Feed", "Batches of the steps to come.")
      .def_static("make", [] { return std::make_shared<Feed>(); })
      .def("put", &Feed::put)
      .def("drop_before", &Feed::drop_before)
      .def("source", [](const std::shared_ptr<Feed>& feed, const std::string& name) {
        return std::shared_ptr<Source>(std::make_shared<FeedSource>(feed, name));
      });
}

}  // namespace troupe::python
