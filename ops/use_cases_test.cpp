#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "ops/test_operands.h"
#include "ops/test_use_cases.h"
#include "runtime/base/text.h"

namespace troupe {
namespace {

Attrs value(double v) { return {{"value", v}}; }
Attrs shape(Ints sizes) { return {{"shape", sizes}}; }
Attrs dims(Ints which, int64_t keep) { return {{"dims", which}, {"keep", keep}}; }
Attrs dim(int64_t which) { return {{"dim", which}}; }
Attrs trans(int64_t a, int64_t b) { return {{"trans_a", a}, {"trans_b", b}}; }
Attrs attention(int64_t causal, int64_t seq_dim) { return {{"causal", causal}, {"scale", 0.7}, {"seq_dim", seq_dim}}; }

void add_products(std::vector<UseCase>& cases) {
  cases.push_back({"matmul", {real({5, 7}), real({7, 4})}});
  cases.push_back({"matmul", {real({7, 5}), real({4, 7})}, trans(yes, yes)});
  cases.push_back({"matmul", {real({4, 5, 7}), real({4, 7, 6})}});
  cases.push_back({"matmul", {real({4, 7, 5}), real({4, 6, 7})}, trans(yes, yes)});
  cases.push_back({"matmul", {real({4, 5, 7}), real({7, 6})}});
  cases.push_back({"matmul", {real({4, 5, 7}), real({6, 7})}, trans(no, yes)});
  cases.push_back({"matmul", {real({4, 7, 5}), real({7, 6})}, trans(yes, no)});
  cases.push_back({"matmul", {real({4, 7, 5}), real({6, 7})}, trans(yes, yes)});
  cases.push_back({"linear", {real({5, 7}), real({4, 7})}});
  cases.push_back({"linear", {real({4, 5, 7}), real({6, 7}), real({6})}});
  cases.push_back({"linear", {real({7}), real({4, 7}), real({4})}});
  cases.push_back({"linear_input_gradient", {real({4, 5, 6}), real({6, 7})}});
  cases.push_back({"linear_weight_gradient", {real({4, 5, 7}), real({4, 5, 6})}});
  cases.push_back({"row_sum", {real({4, 5, 7})}});
  cases.push_back(corner({"row_sum", {real({5})}}));
}

void add_tables(std::vector<UseCase>& cases) {
  cases.push_back({"embedding", {ids({5, 4}, 7), real({7, 6})}});
  cases.push_back({"embedding", {ids({5}, 7, DType::i32), real({7, 4})}});
  cases.push_back({"embedding_gradient", {ids({5, 4}, 7), real({5, 4, 6})}, {{"rows", int64_t{7}}}});
  cases.push_back({"cross_entropy", {real({5, 7}), ids({5}, 7)}});
  cases.push_back({"cross_entropy", {real({4, 5, 7}), ids({4, 5}, 7, DType::i32)}, {{"ignore_index", int64_t{2}}}});
  const Operand row = positive({5});
  cases.push_back(
      {"cross_entropy_gradient", {real({5, 7}), ids({5}, 7), row, real({5})}, {{"ignore_index", int64_t{2}}}});
  cases.push_back(
      {"cross_entropy_gradient", {real({4, 5, 7}), ids({4, 5}, 7, DType::i32), positive({4, 5}), real({4, 5})}});
  const Operand cosines = between({5, 7}, -0.9, 0.9);
  for (const Attrs& margin :
       {Attrs{{"scale", 8.0}, {"m2", 0.5}}, Attrs{{"scale", 8.0}, {"m3", 0.35}},
        Attrs{{"scale", 2.0}, {"m1", 0.9}, {"m2", 0.3}, {"m3", 0.2}, {"ignore_index", int64_t{2}}}}) {
    cases.push_back({"margin_logits", {cosines, ids({5}, 7)}, margin});
  }
  cases.push_back({"margin_logits", {between({4, 5, 7}, -0.9, 0.9), ids({4, 5}, 7, DType::i32)}, {{"m2", 0.2}}});
  cases.push_back({"margin_logits_gradient", {real({5, 7}), ids({5}, 7), positive({5})}, {{"scale", 8.0}}});
  cases.push_back({"exp_sum", {real({5, 7}), real({5})}});
  cases.push_back({"picked_logit", {real({5, 7}), ids({5}, 7)}, {{"ignore_index", int64_t{2}}}});
  cases.push_back({"count_labels", {ids({5, 4}, 7)}, {{"ignore_index", int64_t{2}}, {"dtype", std::string("f64")}}});
}

void add_norms(std::vector<UseCase>& cases) {
  const Attrs eps = {{"eps", 1e-5}};
  cases.push_back({"layer_norm", {real({4, 5, 7}), real({7}), real({7})}, eps});
  cases.push_back({"layer_norm", {real({7}), real({7}), real({7})}, eps});
  cases.push_back({"layer_norm_gradient", {real({5, 7}), real({5, 7}), real({7}), real({5}), positive({5})}});
  cases.push_back({"rms_norm", {real({4, 5, 7}), real({7})}, eps});
  cases.push_back({"rms_norm_gradient", {real({5, 7}), real({5, 7}), real({7}), positive({5})}});
  cases.push_back({"normalize", {real({4, 5, 7})}, eps});
  cases.push_back({"normalize_gradient", {real({5, 7}), real({5, 7}), positive({5})}, eps});
  for (int64_t d : {0, 1, 2}) {
    for (const char* op : {"softmax", "log_softmax"}) {
      cases.push_back({op, {real({4, 5, 7})}, dim(d)});
      cases.push_back({std::string(op) + "_gradient", {real({4, 5, 7}), real({4, 5, 7})}, dim(d)});
    }
  }
  for (const Shape& x : {Shape{5, 7}, Shape{4, 5, 6}, Shape{3, 4, 5, 2}})
    cases.push_back({"row_sum_squares", {real(x)}});
  for (const Shape& x : {Shape{5}, Shape{}}) cases.push_back(corner({"row_sum_squares", {real(x)}}));
  for (const Shape& v : {Shape{7}, Shape{4, 5}}) {
    cases.push_back({"tree_sum", {real(v)}});
    cases.push_back({"tree_sum", {real(v)}, {{"in_parts", yes}}});
  }
  cases.push_back({"global_norm_scale", {between({}, 2, 5)}, {{"max_norm", 1.0}}});
  cases.push_back({"is_finite", {real({}), real({})}});
  const Attrs scaling = {{"growth", 2.0}, {"backoff", 0.5}, {"interval", int64_t{3}}, {"floor", 1.0}};
  cases.push_back({"loss_scale_update", {positive({}), ids({}, 5), real({}), real({})}, scaling});
}

void add_attention(std::vector<UseCase>& cases) {
  for (int64_t causal : {no, yes}) {
    cases.push_back({"attention", {real({4, 5, 7, 3}), real({4, 5, 6, 3}), real({4, 5, 6, 3})}, attention(causal, 2)});
    cases.push_back({"attention", {real({4, 7, 5, 3}), real({4, 6, 5, 3}), real({4, 6, 5, 3})}, attention(causal, 1)});
    // The query heads share two (three) key heads: heads can be split among as many devices only.
    cases.push_back({"attention", {real({2, 6, 4, 3}), real({2, 3, 5, 3}), real({2, 3, 5, 3})}, attention(causal, 2)});
    const Operand q = real({2, 5, 4, 3});
    const Operand k = real({2, 5, 6, 3});
    cases.push_back({"attention_gradient", {q, q, k, k, q, between({2, 5, 4}, 1, 2)}, attention(causal, 2)});
    const Operand queries = real({2, 4, 6, 2});
    const Operand keys = real({2, 5, 3, 2});
    cases.push_back({"attention_gradient",
                     {queries, queries, keys, keys, queries, between({2, 6, 4}, 1, 2)},
                     attention(causal, 1)});
    const Operand mask = bools({4, 1, 1, 5});
    const Operand v = real({4, 4, 5, 3});
    cases.push_back({"attention", {real({4, 4, 6, 3}), v, v, mask}, attention(causal, 2)});
    cases.push_back({"attention_gradient",
                     {queries, queries, keys, keys, queries, between({2, 6, 4}, 1, 2), bools({2, 1, 1, 5})},
                     attention(causal, 1)});
  }
  // The forms for a sequence that three devices split: paired queries, and keys that come a part at a time.
  const auto split = [](Attrs attrs, int64_t paired, int64_t shift) {
    attrs.set("parts", int64_t{3});
    attrs.set("paired", paired);
    if (shift >= 0) attrs.set("shift", shift);
    return attrs;
  };
  const Operand sequence = real({2, 8, 4, 3});
  const Operand lse = between({2, 4, 8}, 1, 2);
  for (const auto& attrs : {split(attention(yes, 1), yes, -1), split(attention(yes, 1), no, 0),
                            split(attention(no, 1), yes, 2), split(attention(no, 1), no, 1)}) {
    cases.push_back({"attention", {sequence, sequence, sequence}, attrs});
    cases.push_back({"attention_gradient", {sequence, sequence, sequence, sequence, sequence, lse}, attrs});
    cases.back().is_corner = attrs.has("shift");  // keys may be cut, but not once more by another axis
  }
  cases.push_back({"attention", {sequence, sequence, sequence, bools({2, 1, 1, 8})}, split(attention(no, 1), no, 1)});
  for (int64_t seq : {1, 2}) {
    const Operand out = real(seq == 1 ? Shape{4, 7, 5, 3} : Shape{4, 5, 7, 3});
    cases.push_back({"merge_attention", {out, real({4, 5, 7}), out, real({4, 5, 7})}, {{"seq_dim", seq}}});
  }
  cases.push_back({"rope", {real({4, 5, 7, 6})}, {{"theta", 100.0}}});
  cases.push_back({"rope", {real({4, 7, 5, 6})}, {{"theta", 100.0}, {"seq_dim", yes}, {"inverse", yes}}});
  cases.push_back({"rope", {real({7, 4})}, {{"theta", 100.0}, {"seq_dim", no}}});
}

// Two tokens may have one place here, so that what a place holds is a sum.
void add_experts(std::vector<UseCase>& cases) {
  cases.push_back({"top_k", {real({4, 5, 7})}, {{"k", int64_t{3}}}});
  cases.push_back({"top_k", {real({5, 4})}, {{"k", int64_t{4}}}});
  cases.push_back({"top_k_gradient", {ids({4, 5, 6}, 7, DType::i32), real({4, 5, 6})}, {{"columns", int64_t{7}}}});
  const Operand choices = ids({4, 5, 4}, 7, DType::i32);
  const Operand places = ids({4, 5, 4}, 11, DType::i32);
  const Operand weights = real({4, 5, 4});
  const Operand tokens = real({4, 5, 6});
  const Operand buffer = real({7, 4, 11, 6});
  const Attrs sizes = {{"experts", int64_t{7}}, {"capacity", int64_t{11}}};
  cases.push_back({"expert_places", {choices}, {{"experts", int64_t{7}}, {"capacity", int64_t{3}}}});
  cases.push_back({"dispatch", {tokens, choices, places}, sizes});
  cases.push_back({"dispatch", {tokens, choices, places, weights}, sizes});
  cases.push_back({"combine", {buffer, choices, places}});
  cases.push_back({"combine", {buffer, choices, places, weights}});
  cases.push_back({"routed_dot", {buffer, choices, places, tokens}});
  const Operand counts = ids({4, 5}, 8, DType::i32);
  const Operand x = real({4, 5, 7, 6});
  cases.push_back({"expert_linear", {x, real({4, 8, 6})}});
  cases.push_back({"expert_linear", {x, real({4, 6, 8}), counts}, {{"transposed", yes}}});
  cases.push_back({"expert_linear", {x, real({4, 8, 6}), counts}});
  cases.push_back({"expert_linear_weight_gradient", {x, real({4, 5, 7, 8})}});
  cases.push_back({"expert_linear_weight_gradient", {x, real({4, 5, 7, 8}), counts}});
}

void add_pointwise(std::vector<UseCase>& cases) {
  const Operand x = real({4, 5, 7});
  for (const char* op :
       {"gelu", "relu", "tanh", "sigmoid", "silu", "softplus", "exp", "neg", "abs", "sign", "cos", "sin", "square"}) {
    cases.push_back({op, {between({4, 5, 7}, -4, 4)}});
    cases.push_back(corner({op, {real({})}}));
  }
  cases.push_back({"gelu", {x}, {{"approximate", yes}}});
  for (const char* op : {"log", "sqrt", "rsqrt"}) cases.push_back({op, {positive({5, 7})}});
  for (const char* op : {"gelu", "relu", "tanh", "sigmoid", "silu"}) {
    cases.push_back({std::string(op) + "_gradient", {x, x}});
  }
  cases.push_back({"gelu_gradient", {x, x}, {{"approximate", yes}}});
  cases.push_back({"swiglu", {x, x}});
  cases.push_back({"swiglu_gradient", {x, x, x}});
  for (const char* op : {"add_scalar", "rsub_scalar", "mul_scalar", "minimum_scalar", "maximum_scalar"}) {
    cases.push_back({op, {x}, value(0.25)});
  }
  cases.push_back({"mul_scalar", {x}, value(-1.5)});
  cases.push_back({"rdiv_scalar", {positive({5, 7})}, value(1.5)});
  for (double power : {2.0, -0.5, 3.0}) cases.push_back({"pow_scalar", {positive({5, 7})}, value(power)});
  cases.push_back(corner({"pow_scalar", {positive({5, 7})}, value(0)}));
  cases.push_back({"dropout", {x}, {{"p", 0.4}}});
  cases.push_back({"dropout", {x}, {{"p", 0.4}, {"key", int64_t{12345}}}});
  cases.push_back({"to_layout", {x}});
  cases.push_back({"assign", {x, x}});
}

void add_pairs(std::vector<UseCase>& cases) {
  const Operand a = real({4, 5, 7});
  const std::vector<std::pair<Operand, Operand>> pairs = {
      {a, a}, {a, real({7})}, {real({4, 1, 7}), real({5, 1})}, {real({}), real({5, 7})}};
  for (const char* op : {"add", "sub", "mul", "minimum", "maximum"}) {
    for (const auto& [p, q] : pairs) cases.push_back({op, {p, q}});
  }
  cases.push_back({"div", {a, nonzero({4, 5, 7})}});
  cases.push_back({"div", {real({5, 1}), nonzero({7})}});
  cases.push_back({"div", {real({5}), nonzero({})}});
  for (const char* op : {"equal", "less"}) {
    cases.push_back({op, {ids({4, 5, 7}, 3, DType::i64), ids({7}, 3, DType::i64)}});
    cases.push_back({op, {ids({5}, 3, DType::f64), ids({5}, 3, DType::f64)}});
  }
  for (const char* op : {"add", "sub", "mul", "minimum", "maximum"}) {
    cases.push_back({op, {ids({4, 5}, 9, DType::i64), ids({5}, 9, DType::i64)}});
  }
  cases.push_back({"where", {bools({5, 7}), real({5, 7}), real({5, 7})}});
  cases.push_back({"where", {bools({7}), real({5, 7}), real({})}});
  cases.push_back({"add_n", {a, a, a}});
  cases.push_back(corner({"add_n", {real({5})}}));
}

void add_movement(std::vector<UseCase>& cases) {
  cases.push_back({"sum_to", {real({4, 5, 7})}, shape({5, 1})});
  cases.push_back({"sum_to", {real({4, 5, 7})}, shape({})});
  cases.push_back(corner({"sum_to", {real({4, 5})}, shape({4, 5})}));
  cases.push_back({"expand", {real({5, 1})}, shape({4, 5, 7})});
  cases.push_back({"expand", {real({})}, shape({4, 5})});
  cases.push_back({"expand", {real({4, 5})}, shape({4, 5})});
  for (const auto& [from, to] : {std::pair<Shape, Ints>{{6, 4}, {24}},
                                 {{24}, {6, 4}},
                                 {{5, 4, 6}, {5, 24}},
                                 {{5, 24}, {5, 4, 6}},
                                 {{5, 1, 7}, {5, 7}},
                                 {{5, 7}, {1, 5, 1, 7}},
                                 {{12, 5}, {4, 15}},
                                 {{5, 7}, {5, 7}},
                                 {{1}, {}}}) {
    cases.push_back({"reshape", {real(from)}, shape(to)});
  }
  cases.push_back({"transpose", {real({4, 5, 7})}, {{"perm", Ints{2, 0, 1}}}});
  cases.push_back({"transpose", {real({4, 5, 6, 7})}, {{"perm", Ints{0, 2, 1, 3}}}});
  cases.push_back({"transpose", {real({})}, {{"perm", Ints{}}}});
  cases.push_back({"slice", {real({4, 7, 5})}, {{"dim", yes}, {"start", int64_t{2}}, {"stop", int64_t{6}}}});
  cases.push_back({"slice", {real({7})}, {{"dim", no}, {"start", no}, {"stop", int64_t{5}}}});
  cases.push_back({"pad", {real({4, 7, 5})}, {{"dim", yes}, {"before", int64_t{2}}, {"after", int64_t{1}}}});
  cases.push_back({"concat", {real({4, 5}), real({4, 7}), real({4, 3})}, dim(1)});
  cases.push_back({"concat", {real({5}), real({7})}, dim(0)});
  cases.push_back({"split", {real({4, 12})}, {{"dim", yes}, {"sizes", Ints{5, 7}}}, {0, 1}});
  cases.push_back({"split", {real({12, 4})}, {{"dim", no}, {"sizes", Ints{3, 5, 4}}}, {1}});
  for (const char* to : {"f64", "f32"}) cases.push_back({"cast", {real({4, 5})}, {{"dtype", std::string(to)}}});
  cases.push_back({"cast", {ids({4, 5}, 3, DType::f64)}, {{"dtype", std::string("bool")}}, {}});
  for (const char* to : {"i32", "i64", "u8"}) {
    cases.push_back({"cast", {between({4, 5}, -9, 9)}, {{"dtype", std::string(to)}}, {}});
  }
  cases.push_back({"cast", {bools({4, 5})}, {{"dtype", std::string("f64")}}, {}});
  const Attrs f64 = {{"shape", Ints{5, 7}}, {"dtype", std::string("f64")}};
  Attrs fill = f64;
  fill.set("value", 2.5);
  cases.push_back({"fill", {}, fill});
  Attrs normal = f64;
  normal.set("mean", 0.5);
  normal.set("std", 2.0);
  cases.push_back({"random_normal", {}, normal});
  Attrs uniform = f64;
  uniform.set("low", -1.0);
  uniform.set("high", 2.0);
  uniform.set("key", int64_t{99});
  cases.push_back({"random_uniform", {}, uniform});
}

void add_reductions(std::vector<UseCase>& cases) {
  for (const char* op : {"reduce_sum", "reduce_mean", "reduce_max", "reduce_min"}) {
    for (const Attrs& attrs : {dims({1}, no), dims({0, 2}, yes), dims({0, 1, 2}, no), dims({2}, no)}) {
      cases.push_back({op, {real({4, 5, 7})}, attrs});
    }
    cases.push_back(corner({op, {real({4, 5, 7})}, dims({}, no)}));
  }
  cases.push_back({"count", {real({5, 7})}, {{"dtype", std::string("f64")}}});
  cases.push_back({"weighted_mean", {real({}), between({}, 3, 4)}});
}

void add_updates(std::vector<UseCase>& cases) {
  for (const Shape& p : {Shape{5}, Shape{}}) {
    const Operand ok = between({}, 1, 2);
    const Operand lr = positive({});
    const Operand step = ids({}, 5);
    cases.push_back({"sgd", {real(p), real(p), lr, lr, ok}, {{"weight_decay", 0.1}}});
    cases.push_back({"sgd",
                     {real(p), real(p), lr, lr, ok, real(p)},
                     {{"momentum", 0.9}, {"weight_decay", 0.1}, {"nesterov", yes}}});
    cases.push_back({"sgd", {real(p), real(p), lr, lr, ok, real(p), step}, {{"momentum", 0.9}, {"dampening", 0.5}}});
    for (int64_t decoupled : {no, yes}) {
      cases.push_back({"adamw",
                       {real(p), real(p), lr, lr, ok, step, real(p), positive(p)},
                       {{"weight_decay", 0.1}, {"decoupled", decoupled}}});
    }
    cases.push_back({"lamb", {real(p), real(p), lr, ok, step, real(p), positive(p)}, {{"weight_decay", 0.1}}});
    cases.push_back({"apply_update", {real(p), real(p), lr, lr, ok}, {{"weight_decay", 0.1}}});
    for (int64_t square : {no, yes}) {
      cases.push_back(
          {"adafactor_moment", {positive(p), positive(p), lr, ok, step}, {{"beta2_decay", -0.8}, {"square", square}}});
    }
    cases.push_back({"adafactor_direction", {real(p), lr, positive(p)}, {{"eps", 1e-3}}});
    cases.push_back({"muon_momentum", {real(p), lr, ok, real(p)}, {{"momentum", 0.9}}});
  }
  for (int64_t which : {0, 1, 2}) cases.push_back({"mean_squares", {real({4, 5, 7})}, dim(which)});
  cases.push_back({"mean_squares", {real({5})}, dim(0)});
  const Operand scale = positive({});
  const Attrs eps = {{"eps", 1e-3}};
  cases.push_back({"adafactor_direction", {real({5, 7}), scale, positive({5}), positive({7}), positive({})}, eps});
  cases.push_back(
      {"adafactor_direction", {real({4, 5, 7}), scale, positive({4, 5}), positive({4, 7}), positive({4})}, eps});
  cases.push_back({"adafactor_rate",
                   {positive({}), ids({}, 5), positive({}), positive({})},
                   {{"eps", 1e-3}, {"d", 1.0}, {"elements", int64_t{3}}}});
  for (const Shape& x : {Shape{4, 3, 5}, Shape{5, 4, 3}}) cases.push_back({"newton_schulz", {real(x)}});
  cases.push_back({"lamb_rate", {real({}), positive({}), positive({})}, {{"least", 0.0}, {"most", 1.2}}});
}

std::vector<UseCase> make_use_cases() {
  std::vector<UseCase> cases;
  for (auto add : {add_products, add_tables, add_norms, add_image_use_cases, add_attention, add_experts, add_pointwise,
                   add_pairs, add_movement, add_reductions, add_updates}) {
    add(cases);
  }
  return cases;
}

}  // namespace

std::string UseCase::str() const {
  const auto text = [](const TensorType& type) { return type.str(); };
  return op + "(" + join(types(), ", ", text) + ")" + (attrs.empty() ? "" : " {" + attrs.str() + "}");
}

UseCase UseCase::in_f32() const {
  UseCase use = *this;
  for (Operand& operand : use.operands) {
    if (operand.dtype == DType::f64) operand.dtype = DType::f32;
  }
  if (attrs.has("dtype") && attrs.text("dtype") == "f64") use.attrs.set("dtype", std::string("f32"));
  return use;
}

UseCase UseCase::in_low(DType low) const {
  UseCase use = *this;
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::vector<int>& full = def().full_inputs;
    const bool is_full = std::find(full.begin(), full.end(), static_cast<int>(i)) != full.end();
    if (operands[i].dtype == DType::f64) use.operands[i].dtype = is_full ? DType::f32 : low;
  }
  return use;
}

std::vector<HostTensor> UseCase::inputs(uint64_t seed) const {
  Random random(seed);
  std::vector<HostTensor> result;
  for (const Operand& operand : operands) {
    const LawInput& range = operand.values;
    std::vector<double> numbers;
    for (int64_t i = 0; i < range.shape.elements(); ++i) {
      double number = 0;
      do {
        number = range.integers_below > 0 ? static_cast<double>(random.below(range.integers_below))
                                          : range.low + (range.high - range.low) * random.uniform();
      } while (std::abs(number) < range.least);
      numbers.push_back(number);
    }
    result.emplace_back(TensorType{operand.dtype, range.shape});
    result.back().set_numbers(numbers);
  }
  return result;
}

const std::vector<UseCase>& use_cases() {
  static const std::vector<UseCase> cases = make_use_cases();
  return cases;
}

bool has_no_law(const std::string& op) {
  // Parts of halves are no halves of parts, which infer cannot know: halves_test.cpp has their laws.
  const bool halves = op == "halves" || op == "join_halves";
  return op == "variable" || op == "source" || op == "accumulate" || halves;
}

std::string difference(std::span<const double> values, std::span<const double> right, double tolerance) {
  if (values.size() != right.size()) {
    return std::to_string(values.size()) + " elements, not " + std::to_string(right.size());
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == right[i]) continue;
    if (std::abs(values[i] - right[i]) <= tolerance * std::max(1.0, std::abs(right[i]))) continue;
    return "element " + std::to_string(i) + " is " + number_text(values[i]) + ", not " + number_text(right[i]);
  }
  return "";
}

namespace {

TEST(UseCases, EveryOpHasOne) {
  std::set<std::string> used;
  for (const UseCase& use : use_cases()) {
    ASSERT_NE(find_op(use.op), nullptr) << use.op;
    used.insert(use.op);
  }
  for (const OpDef& op : all_ops()) EXPECT_TRUE(used.contains(op.name) || has_no_law(op.name)) << op.name;
}

}  // namespace
}  // namespace troupe
