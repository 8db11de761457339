#include "ops/interpret.h"

#include "ops/dispatch.h"
#include "runtime/base/check.h"
#include "runtime/base/random.h"

namespace troupe {
namespace {

std::vector<TensorType> types_of(std::span<const TensorView> views) {
  std::vector<TensorType> types;
  for (const TensorView& view : views) types.push_back({view.dtype, view.shape});
  return types;
}

// The nodes that the wanted values need.
std::vector<bool> needed_nodes(const Graph& graph, std::span<const ValueId> wanted) {
  std::vector<bool> needed(graph.nodes().size(), false);
  for (ValueId value : wanted) needed[graph.value(value).producer.index()] = true;
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    if (!needed[n]) continue;
    for (ValueId input : graph.nodes()[n].inputs) needed[graph.value(input).producer.index()] = true;
  }
  return needed;
}

}  // namespace

HostTensor::HostTensor(TensorType type)
    : type_(std::move(type)), bytes_(static_cast<size_t>(type_.shape.elements() * size_of(type_.dtype))) {}

std::vector<double> HostTensor::numbers() const {
  std::vector<double> result;
  with_any(type_.dtype, [&](auto zero) {
    for (auto element : as<decltype(zero)>()) result.push_back(static_cast<double>(element));
  });
  return result;
}

void HostTensor::set_numbers(std::span<const double> numbers) {
  CHECK(static_cast<int64_t>(numbers.size()) == elements(), numbers.size(), type_.str());
  with_any(type_.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < numbers.size(); ++i) as<T>()[i] = static_cast<T>(numbers[i]);
  });
}

TensorView HostTensor::view(const Dims& offset, const Shape& logical) const {
  return {const_cast<std::byte*>(bytes_.data()), type_.dtype, type_.shape, offset, logical};
}

void run_kernel(const OpDef& op, const Attrs& attrs, std::span<const TensorView> inputs,
                std::span<const TensorView> outputs, const RunContext& context) {
  CHECK(op.cpu != nullptr || context.run != nullptr, op.name);
  const std::vector<TensorType> types = types_of(inputs);
  std::vector<std::byte> scratch;
  if (op.scratch_bytes != nullptr) scratch.resize(static_cast<size_t>(op.scratch_bytes({types, attrs})));
  std::string failure;
  const KernelArgs args{inputs, outputs, scratch, &attrs, context.key, context.firing, &failure};
  if (context.run != nullptr) {
    context.run(op, args);
  } else {
    Stream stream;
    op.cpu(args, stream);
  }
  if (!failure.empty()) throw FaultError({.what = failure, .device = "cpu:0", .task = op.name, .peer = ""});
}

std::vector<HostTensor> run_op(const OpDef& op, const Attrs& attrs, std::span<const HostTensor> inputs,
                               const RunContext& context) {
  std::vector<TensorType> types;
  std::vector<TensorView> input_views;
  for (const HostTensor& input : inputs) {
    types.push_back(input.type());
    input_views.push_back(input.view());
  }
  std::vector<HostTensor> outputs;
  std::vector<TensorView> output_views;
  for (TensorType& type : op.infer({types, attrs})) outputs.emplace_back(std::move(type));
  for (const HostTensor& output : outputs) output_views.push_back(output.view());
  run_kernel(op, attrs, input_views, output_views, context);
  return outputs;
}

std::vector<HostTensor> interpret(const Graph& graph, const std::map<ValueId, HostTensor>& given,
                                  std::span<const ValueId> wanted, const Firing& firing) {
  const std::vector<bool> needed = needed_nodes(graph, wanted);
  std::map<ValueId, HostTensor> values = given;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    if (!needed[n] || values.contains(node.outputs.front())) continue;
    CHECK(node.op->cpu != nullptr, node.text, "is not given and has no kernel");
    std::vector<HostTensor> inputs;
    for (ValueId input : node.inputs) inputs.push_back(values.at(input));
    std::vector<HostTensor> outputs = run_op(*node.op, node.attrs, inputs, {hash_path(node.path), firing});
    for (size_t i = 0; i < outputs.size(); ++i) values.emplace(node.outputs[i], std::move(outputs[i]));
  }
  std::vector<HostTensor> result;
  for (ValueId value : wanted) result.push_back(values.at(value));
  return result;
}

}  // namespace troupe
