// Where data enters from Python: batches copied in by the driver, and single ops run on the spot.

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "actors/engine/feed.h"
#include "ops/op.h"
#include "python/bindings/arrays.h"
#include "runtime/base/random.h"

namespace troupe::python {
namespace {

// A copy of the arrays.
FedBatch batch_of(const nb::dict& arrays) {
  FedBatch batch;
  auto memory = std::make_shared<std::vector<std::vector<std::byte>>>();
  memory->reserve(arrays.size());
  for (const auto& [name, value] : arrays) {
    const InputArray array = nb::cast<InputArray>(value);
    const std::span<const std::byte> bytes = bytes_of(array);
    memory->emplace_back(bytes.begin(), bytes.end());
    batch.arrays[nb::cast<std::string>(name)] = {dtype_of_array(array), shape_of_array(array), memory->back().data()};
  }
  batch.memory = std::move(memory);
  return batch;
}

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
      .def("put", [](Feed& feed, int64_t step, const nb::dict& arrays) { feed.put(step, batch_of(arrays)); })
      .def("drop_before", &Feed::drop_before)
      .def("source", [](const std::shared_ptr<Feed>& feed, const std::string& name) {
        return std::shared_ptr<Source>(std::make_shared<FeedSource>(feed, name));
      });
}

}  // namespace troupe::python
