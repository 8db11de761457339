#include "ops/cpu/gemm.h"
#include "ops/cpu/gemm_low.h"
#include "ops/definitions.h"
#include "ops/dispatch.h"
#include "ops/graph.h"
#include "ops/infer.h"
#include "ops/rules.h"

namespace troupe::define {
namespace {

// y[.., m, n] = sum over k of a[.., m, k] * b[k, n] or b[.., k, n].
struct Sizes {
  int64_t batch, m, n, k;
};

bool transposed(const Attrs& attrs, const char* name) { return attrs.integer(name, 0) != 0; }

// The dim of the operand that `k` runs over, and the other one of its last two.
int inner_dim(int rank, bool is_inner_last) { return is_inner_last ? rank - 1 : rank - 2; }

Sizes sizes_of(const Shape& a, const Shape& b, const Attrs& attrs) {
  const bool trans_a = transposed(attrs, "trans_a");
  const bool trans_b = transposed(attrs, "trans_b");
  int64_t batch = 1;
  for (int d = 0; d < a.rank() - 2; ++d) batch *= a[d];
  return {batch, a[inner_dim(a.rank(), trans_a)], b[inner_dim(b.rank(), !trans_b)], a[inner_dim(a.rank(), !trans_a)]};
}

std::vector<TensorType> infer_matmul(const OpArgs& args) {
  expect_operands(args, 2);
  expect_any_float(args, 0, "a");
  expect_same_dtype(args, 0, "a", 1, "b");
  expect_rank(args, 0, "a", 2);
  expect_rank(args, 1, "b", 2);
  const Shape& a = args.shape(0);
  const Shape& b = args.shape(1);
  const std::string both = operand_text(args, 0, "a") + ", " + operand_text(args, 1, "b");
  bool batch_fits = b.rank() == 2 || b.rank() == a.rank();
  for (int d = 0; batch_fits && b.rank() > 2 && d < b.rank() - 2; ++d) batch_fits = a[d] == b[d];
  if (!batch_fits) {
    throw PlanError("batch dims differ: " + both + "; b must have two dims or all dims of a before the last two");
  }
  const int a_inner = inner_dim(a.rank(), !transposed(args.attrs, "trans_a"));
  const int b_inner = inner_dim(b.rank(), transposed(args.attrs, "trans_b"));
  if (a[a_inner] != b[b_inner]) {
    throw PlanError("inner dims differ: " + both + "; a.dim(" + std::to_string(a_inner) +
                    ")=" + std::to_string(a[a_inner]) + " must equal b.dim(" + std::to_string(b_inner) +
                    ")=" + std::to_string(b[b_inner]));
  }
  const Sizes sizes = sizes_of(a, b, args.attrs);
  Shape y = a;
  y[a.rank() - 2] = sizes.m;
  y[a.rank() - 1] = sizes.n;
  return {{args.inputs[0].dtype, y}};
}

// k is summed, so splitting it leaves y partial. Linear in each operand: a partial operand against a whole one gives
// a partial y.
std::string matmul_rule(const OpArgs& args) {
  const std::string batch = args.rank(0) > 2 ? dim_names(args.rank(0) - 2, "batch") + " " : "";
  const std::string a = batch + (transposed(args.attrs, "trans_a") ? "k m" : "m k");
  const std::string b = (args.rank(1) > 2 ? batch : "") + (transposed(args.attrs, "trans_b") ? "n k" : "k n");
  return a + ", " + b + " -> " + batch + "m n; linear";
}

Attrs transpose_attrs(bool a, bool b) { return {{"trans_a", int64_t{a}}, {"trans_b", int64_t{b}}}; }

ValueId swap_last_two(GradientBuilder& g, ValueId x) {
  const int rank = g.type(x).shape.rank();
  std::vector<int64_t> perm;
  for (int d = 0; d < rank; ++d) perm.push_back(d < rank - 2 ? d : 2 * rank - 3 - d);
  return g.add("transpose", {x}, {{"perm", perm}});
}

ValueId gradient_of_a(GradientBuilder& g, bool trans_a, bool trans_b) {
  if (!trans_a) return g.add("matmul", {g.gradient(), g.input(1)}, transpose_attrs(false, !trans_b));
  if (g.type(g.input(1)).shape.rank() == g.type(g.input(0)).shape.rank()) {
    return g.add("matmul", {g.input(1), g.gradient()}, transpose_attrs(trans_b, true));
  }
  return swap_last_two(g, g.add("matmul", {g.gradient(), g.input(1)}, transpose_attrs(false, !trans_b)));
}

ValueId gradient_of_b(GradientBuilder& g, bool trans_a, bool trans_b) {
  const ValueId a = g.input(0);
  const ValueId dy = g.gradient();
  const int batch_dims = g.type(a).shape.rank() - g.type(g.input(1)).shape.rank();
  // One b for the whole batch: sum over the batch within one product.
  if (batch_dims > 0 && !trans_a) {
    return trans_b ? g.add("linear_weight_gradient", {a, dy}) : g.add("linear_weight_gradient", {dy, a});
  }
  const ValueId db = trans_b ? g.add("matmul", {dy, a}, transpose_attrs(true, trans_a))
                             : g.add("matmul", {a, dy}, transpose_attrs(!trans_a, false));
  if (batch_dims == 0) return db;
  std::vector<int64_t> dims;
  for (int d = 0; d < batch_dims; ++d) dims.push_back(d);
  return g.add("reduce_sum", {db}, {{"dims", dims}, {"keep", int64_t{0}}});
}

std::vector<ValueId> matmul_gradient(GradientBuilder& g) {
  const bool trans_a = transposed(g.attrs(), "trans_a");
  const bool trans_b = transposed(g.attrs(), "trans_b");
  return {g.needed(0) ? gradient_of_a(g, trans_a, trans_b) : ValueId(),
          g.needed(1) ? gradient_of_b(g, trans_a, trans_b) : ValueId()};
}

void matmul_cpu(const KernelArgs& args, Stream&) {
  const TensorView& a = args.inputs[0];
  const TensorView& b = args.inputs[1];
  const bool trans_a = transposed(*args.attrs, "trans_a");
  const bool trans_b = transposed(*args.attrs, "trans_b");
  const auto [batch, m, n, k] = sizes_of(a.shape, b.shape, *args.attrs);
  if (is_low(a.dtype)) {
    const bool more_rows = b.shape.rank() == 2 && !trans_a;
    const int64_t products = more_rows ? 1 : batch;
    const int64_t rows = more_rows ? batch * m : m;
    return with_low(a.dtype, [&, m = m, n = n, k = k](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < products; ++i) {
        cpu::gemm_low<T, T>(trans_a, trans_b, rows, n, k, a.as<T>() + i * m * k, a.shape.back(),
                            b.as<T>() + (b.shape.rank() == 2 ? 0 : i * k * n), b.shape.back(), nullptr,
                            args.outputs[0].as<T>() + i * m * n, n);
      }
    });
  }
  with_float(a.dtype, [&, batch = batch, m = m, n = n, k = k](auto zero) {
    using T = decltype(zero);
    const int64_t lda = a.shape.back();
    const int64_t ldb = b.shape.back();
    if (b.shape.rank() == 2 && !trans_a) {  // the batch is only more rows
      cpu::gemm<T>(false, trans_b, batch * m, n, k, T(1), a.as<T>(), lda, b.as<T>(), ldb, T(0), args.outputs[0].as<T>(),
                   n);
    } else {
      cpu::batched_gemm<T>(trans_a, trans_b, batch, m, n, k, T(1), a.as<T>(), lda, m * k, b.as<T>(), ldb,
                           b.shape.rank() == 2 ? 0 : k * n, T(0), args.outputs[0].as<T>(), n, m * n);
    }
  });
}

double matmul_flops(const OpArgs& args) {
  const Sizes sizes = sizes_of(args.shape(0), args.shape(1), args.attrs);
  return 2.0 * static_cast<double>(sizes.batch * sizes.m) * static_cast<double>(sizes.n * sizes.k);
}

}  // namespace

OpDef matmul() {
  return {.name = "matmul",
          .inputs = {"a", "b"},
          .outputs = {"y"},
          .doc =
              "y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]; trans_a, trans_b: stored with the last two "
              "dims swapped.",
          .rule_of = matmul_rule,
          .infer = infer_matmul,
          .gradient = matmul_gradient,
          .precision = Precision::low,
          .cpu = matmul_cpu,
          .flops = matmul_flops};
}

}  // namespace troupe::define
