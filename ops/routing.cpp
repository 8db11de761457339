// Experts: which place in an expert's buffer a token takes, and the way of tokens there and back.
//
// Tokens are grouped by the rows of the batch: choices[b, s, k] name the experts of token s of row b, and a buffer
// [experts, b, capacity, dim] has `capacity` places per expert and row. So where the batch is split every device finds
// the places of its own rows, and where the experts are split each expert's buffer holds the rows of all devices: an
// all-to-all stands between.
//
// `dispatch` and `combine` are each other's gradients: with M[e,b,c; b,s] = the weight of the choice that puts token s
// of row b into place c of expert e, dispatch multiplies by M and combine by its transpose.

#include "ops/cpu/routing.h"

#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"
#include "runtime/base/text.h"

namespace troupe::define {
namespace {

int64_t positive_attr(const Attrs& attrs, const char* name) {
  const int64_t value = attrs.integer(name);
  if (value < 0) throw PlanError(std::string(name) + " is " + std::to_string(value) + ", but must be at least 0");
  return value;
}

void expect_dims(const OpArgs& args, int operand, const char* name, int rank, const char* dims) {
  if (args.rank(operand) != rank) {
    throw PlanError(operand_text(args, operand, name) + ", but must have the dims " + dims);
  }
}

std::vector<TensorType> infer_places(const OpArgs& args) {
  expect_operands(args, 1);
  expect_dtype(args, 0, "choices", DType::i32);
  expect_dims(args, 0, "choices", 3, "[batch,seq,k]");
  positive_attr(args.attrs, "capacity");
  const Shape& choices = args.shape(0);
  return {{DType::i32, {positive_attr(args.attrs, "experts"), choices[0]}}, {DType::i32, choices}};
}

std::string overflow_text(const KernelArgs& args, int64_t expert, int64_t row, int32_t tokens) {
  return "row " + std::to_string(args.inputs[0].offset[0] + row) + " of the batch sends " + std::to_string(tokens) +
         " tokens to expert " + std::to_string(expert) + ", but its buffer has " +
         std::to_string(args.attrs->integer("capacity")) +
         " places per row and no token may be dropped; a larger capacity_factor (it is " +
         number_text(args.attrs->number("capacity_factor", 1)) + ") is needed, or none";
}

std::string choice_text(const KernelArgs& args, int64_t choice) {
  return "choice " + std::to_string(choice) + " is outside the experts 0.." +
         std::to_string(args.attrs->integer("experts") - 1);
}

// Of a choice, or of a count of tokens.
std::string explain_places(const KernelArgs& args, const KernelReport& report) {
  if (report.operand == 0) return choice_text(args, report.value);
  const TensorView& counts = args.outputs[0];
  const int64_t batch = counts.shape[1];
  return overflow_text(args, counts.offset[0] + report.element / batch, report.element % batch,
                       static_cast<int32_t>(report.value));
}

void places_cpu(const KernelArgs& args, Stream&) {
  const TensorView& choices = args.inputs[0];
  const TensorView& counts = args.outputs[0];
  const auto* choice = choices.as<int32_t>();
  const int64_t experts = args.attrs->integer("experts");
  for (int64_t i = 0; i < choices.elements(); ++i) {
    if (choice[i] >= 0 && choice[i] < experts) continue;
    *args.failure = choice_text(args, choice[i]);
    return;
  }
  const cpu::Places of{.batch = choices.shape[0],
                       .seq = choices.shape[1],
                       .k = choices.shape[2],
                       .capacity = args.attrs->integer("capacity"),
                       .counted = counts.shape[0],
                       .first_expert = counts.offset[0],
                       .totals = {reinterpret_cast<int32_t*>(args.scratch.data()), static_cast<size_t>(experts)}};
  cpu::expert_places(counts.as<int32_t>(), args.outputs[1].as<int32_t>(), choice, of);
  if (args.attrs->integer("dropless", 0) == 0) return;
  for (int64_t i = 0; i < counts.elements(); ++i) {
    const int32_t tokens = counts.as<int32_t>()[i];
    if (tokens <= of.capacity) continue;
    *args.failure = overflow_text(args, of.first_expert + i / of.batch, i % of.batch, tokens);
    return;
  }
}

// Operands choices and places of token rows [batch, seq].
void expect_choices_and_places(const OpArgs& args, int choices, int64_t batch, int64_t seq) {
  expect_dtype(args, choices, "choices", DType::i32);
  expect_dims(args, choices, "choices", 3, "[batch,seq,k]");
  expect_same_type(args, choices + 1, "places", choices, "choices");
  const Shape tokens = {batch, seq, args.shape(choices)[2]};
  expect_shape(args, choices, "choices", tokens, "the experts of each token");
}

void expect_weights(const OpArgs& args, int operand, int choices, DType tensors) {
  if (args.inputs.size() <= static_cast<size_t>(operand)) return;
  expect_dtype(args, operand, "weights", sum_dtype(tensors));
  expect_shape(args, operand, "weights", args.shape(choices), "one per choice");
}

std::vector<TensorType> infer_dispatch(const OpArgs& args) {
  expect_operands(args, 3);
  expect_any_float(args, 0, "x");
  expect_dims(args, 0, "x", 3, "[batch,seq,dim]");
  const Shape& x = args.shape(0);
  expect_choices_and_places(args, 1, x[0], x[1]);
  expect_weights(args, 3, 1, args.inputs[0].dtype);
  const Shape buffer = {positive_attr(args.attrs, "experts"), x[0], positive_attr(args.attrs, "capacity"), x[2]};
  return {{args.inputs[0].dtype, buffer}};
}

std::vector<TensorType> infer_combine(const OpArgs& args) {
  expect_operands(args, 3);
  expect_any_float(args, 0, "buffer");
  expect_dims(args, 0, "buffer", 4, "[experts,batch,capacity,dim]");
  expect_dims(args, 1, "choices", 3, "[batch,seq,k]");
  const Shape& buffer = args.shape(0);
  expect_choices_and_places(args, 1, buffer[1], args.shape(1)[1]);
  expect_weights(args, 3, 1, args.inputs[0].dtype);
  return {{args.inputs[0].dtype, {buffer[1], args.shape(1)[1], buffer[3]}}};
}

std::vector<TensorType> infer_dot(const OpArgs& args) {
  expect_operands(args, 4);
  const TensorType tokens = infer_combine({args.inputs.subspan(0, 3), args.attrs})[0];
  expect_dtype(args, 3, "x", tokens.dtype);
  expect_shape(args, 3, "x", tokens.shape, "a vector per token");
  return {{sum_dtype(tokens.dtype), args.shape(1)}};
}

// The operands of the adjoint product: the same choices, places and weights.
std::vector<ValueId> with_routing(GradientBuilder& g, ValueId first) {
  std::vector<ValueId> operands = {first};
  for (int i = 1; i < g.inputs(); ++i) operands.push_back(g.input(i));
  return operands;
}

std::vector<ValueId> dispatch_gradient(GradientBuilder& g) {
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  if (g.needed(0)) result[0] = g.add("combine", with_routing(g, g.gradient()));
  if (g.inputs() > 3 && g.needed(3)) {
    result[3] = g.add("routed_dot", {g.gradient(), g.input(1), g.input(2), g.input(0)});
  }
  return result;
}

std::vector<ValueId> combine_gradient(GradientBuilder& g) {
  std::vector<ValueId> result(static_cast<size_t>(g.inputs()));
  const Shape& buffer = g.type(g.input(0)).shape;
  const Attrs sizes = {{"experts", buffer[0]}, {"capacity", buffer[2]}};
  if (g.needed(0)) result[0] = g.add("dispatch", with_routing(g, g.gradient()), sizes);
  if (g.inputs() > 3 && g.needed(3)) {
    result[3] = g.add("routed_dot", {g.input(0), g.input(1), g.input(2), g.gradient()});
  }
  return result;
}

cpu::Routing routing_of(const TensorView& buffer, const TensorView& choices, const TensorView& places) {
  return {.experts = buffer.shape[0],
          .batch = buffer.shape[1],
          .places = buffer.shape[2],
          .dim = buffer.shape[3],
          .seq = choices.shape[1],
          .k = choices.shape[2],
          .first_expert = buffer.offset[0],
          .first_place = buffer.offset[2],
          .choices = choices.as<int32_t>(),
          .place = places.as<int32_t>()};
}

template <class T>
using Weight = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
const Weight<T>* weights_of(const KernelArgs& args) {
  return args.inputs.size() > 3 ? args.inputs[3].as<Weight<T>>() : nullptr;
}

void dispatch_cpu(const KernelArgs& args, Stream&) {
  const TensorView& buffer = args.outputs[0];
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::dispatch<T, Weight<T>>(buffer.as<T>(), args.inputs[0].as<T>(), weights_of<T>(args),
                                routing_of(buffer, args.inputs[1], args.inputs[2]));
  });
}

void combine_cpu(const KernelArgs& args, Stream&) {
  const TensorView& buffer = args.inputs[0];
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::combine<T, Weight<T>>(args.outputs[0].as<T>(), buffer.as<T>(), weights_of<T>(args),
                               routing_of(buffer, args.inputs[1], args.inputs[2]));
  });
}

void dot_cpu(const KernelArgs& args, Stream&) {
  const TensorView& buffer = args.inputs[0];
  with_any_float(buffer.dtype, [&](auto zero) {
    using T = decltype(zero);
    cpu::routed_dot<T, Weight<T>>(args.outputs[0].as<Weight<T>>(), buffer.as<T>(), args.inputs[3].as<T>(),
                                  routing_of(buffer, args.inputs[1], args.inputs[2]));
  });
}

// With weights the product is linear in them too.
std::string with_weights(const OpArgs& args, const std::string& three, const std::string& output) {
  return args.inputs.size() > 3 ? three + ", b s k -> " + output + "; linear(0), linear(3)"
                                : three + " -> " + output + "; linear(0)";
}

}  // namespace

OpDef expert_places() {
  return {
      .name = "expert_places",
      .inputs = {"choices"},
      .outputs = {"counts", "places"},
      .doc =
          "places[b, s, k]: the how-many-th token of row b that goes to its expert this is, first choices first; -1 "
          "beyond `capacity`. counts[experts, b]: how many chose each expert; with `dropless`, more are an error.",
      .rule = "b s k -> e b, b s k; !s, !k",
      .infer = infer_places,
      .cpu = places_cpu,
      .explain = explain_places,
      .scratch_bytes = [](const OpArgs& args) {
        return args.attrs.integer("experts") * static_cast<int64_t>(sizeof(int32_t));
      }};
}

OpDef dispatch() {
  return {
      .name = "dispatch",
      .inputs = {"x", "choices", "places", "weights"},
      .outputs = {"buffer"},
      .doc =
          "buffer[choices[b, s, k], b, places[b, s, k], d] = x[b, s, d], times weights[b, s, k] where given; 0 where "
          "no token is. `experts`, `capacity`: the buffer's sizes.",
      .rule_of = [](const OpArgs& args) { return with_weights(args, "b s d, b s k, b s k", "e b c d"); },
      .infer = infer_dispatch,
      .gradient = dispatch_gradient,
      .precision = Precision::low,
      .full_inputs = {3},
      .cpu = dispatch_cpu};
}

OpDef combine() {
  return {.name = "combine",
          .inputs = {"buffer", "choices", "places", "weights"},
          .outputs = {"y"},
          .doc =
              "y[b, s, d] = the sum over k of buffer[choices[b, s, k], b, places[b, s, k], d], times weights[b, s, k] "
              "where given; a dropped choice adds nothing.",
          .rule_of = [](const OpArgs& args) { return with_weights(args, "e b c d, b s k, b s k", "b s d"); },
          .infer = infer_combine,
          .gradient = combine_gradient,
          .precision = Precision::low,
          .full_inputs = {3},
          .cpu = combine_cpu};
}

OpDef routed_dot() {
  return {
      .name = "routed_dot",
      .inputs = {"buffer", "choices", "places", "x"},
      .outputs = {"y"},
      .doc =
          "y[b, s, k] = the sum over d of buffer[choices[b, s, k], b, places[b, s, k], d] x[b, s, d], 0 for a dropped "
          "choice; f32 where these are bf16 or f16.",
      .rule = "e b c d, b s k, b s k, b s d -> b s k; linear(0), linear(3)",
      .infer = infer_dot,
      .precision = Precision::low,
      .cpu = dot_cpu};
}

}  // namespace troupe::define
