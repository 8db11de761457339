// The halves of the parts of a dim that an axis splits, by which early and late parts of a sequence change places (see
// ops/sequence_parts.h).

#include "ops/along.h"
#include "ops/definitions.h"
#include "ops/infer.h"
#include "ops/sequence_parts.h"

namespace troupe::define {
namespace {

int dim_attr(const Attrs& attrs) { return static_cast<int>(attrs.integer("dim")); }
bool is_mirrored(const Attrs& attrs) { return attrs.integer("mirrored", 0) != 0; }

int64_t parts_attr(const OpArgs& args) {
  const int64_t parts = args.attrs.integer("parts");
  if (parts < 1) throw PlanError("parts is " + std::to_string(parts) + ", but must be at least 1");
  return parts;
}

std::vector<TensorType> infer_halves(const OpArgs& args) {
  expect_operands(args, 1);
  const int dim = dim_of(args, "x");
  const int64_t parts = parts_attr(args);
  const TensorType& x = args.inputs[0];
  const int64_t second = parts * second_half(x.shape[dim], parts);
  return {{x.dtype, with_size(x.shape, dim, x.shape[dim] - second)}, {x.dtype, with_size(x.shape, dim, second)}};
}

std::vector<TensorType> infer_join(const OpArgs& args) {
  expect_operands(args, 2);
  const int dim = dim_of(args, "first");
  const int64_t size = args.shape(0)[dim] + args.shape(1)[dim];
  const OpArgs joined{args.inputs.subspan(0, 1), args.attrs};
  const TensorType x{args.inputs[0].dtype, with_size(args.shape(0), dim, size)};
  const std::vector<TensorType> halves = infer_halves({std::span(&x, 1), args.attrs});
  if (!(halves[0] == args.inputs[0]) || !(halves[1] == args.inputs[1])) {
    throw PlanError(operand_text(joined, 0, "first") + ", " + operand_text(args, 1, "second") + "; the halves of " +
                    x.str() + " are " + halves[0].str() + " and " + halves[1].str());
  }
  return {x};
}

// By the signature's SBP of (whole, first, second).
template <class Fn>
std::vector<Signature> halves_signatures(const OpArgs& args, int parts, Fn of) {
  const int dim = dim_attr(args.attrs);
  std::vector<Signature> result;
  for (int d = 0; d < args.rank(0); ++d) {
    if (d != dim) result.push_back(of(S(d), S(d), S(d)));
  }
  if (parts == args.attrs.integer("parts")) {
    result.push_back(of(S(dim), S(dim), is_mirrored(args.attrs) ? S_mirrored(dim) : S(dim)));
  }
  for (Reduction reduction : {Reduction::sum, Reduction::max, Reduction::min}) {
    result.push_back(of(P_of(reduction), P_of(reduction), P_of(reduction)));
  }
  return result;
}

// Of each part that a device has of the whole: copy(place in the whole, half, place in the half, size), all local.
template <class Copy>
void for_each_half(const Attrs& attrs, const TensorView& whole, const TensorView& first, const TensorView& second,
                   Copy copy) {
  const int dim = dim_attr(attrs);
  const int64_t parts = attrs.integer("parts");
  const int64_t size = second_half(whole.logical[dim], parts);
  for (int64_t p = 0; p < parts; ++p) {
    const Part part = part_of(whole.logical[dim], parts, p);
    const int64_t at = part.offset - whole.offset[dim];
    if (at < 0 || at + part.size > whole.shape[dim]) continue;  // another device's
    copy(at, first, part.offset - p * size - first.offset[dim], part.size - size);
    const int64_t place = is_mirrored(attrs) ? parts - 1 - p : p;
    copy(at + part.size - size, second, place * size - second.offset[dim], size);
  }
}

void halves_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.inputs[0];
  for_each_half(*args.attrs, x, args.outputs[0], args.outputs[1],
                [&](int64_t at, const TensorView& half, int64_t place, int64_t size) {
                  copy_along(half, place, x, at, dim_attr(*args.attrs), size);
                });
}

void join_cpu(const KernelArgs& args, Stream&) {
  const TensorView& x = args.outputs[0];
  for_each_half(*args.attrs, x, args.inputs[0], args.inputs[1],
                [&](int64_t at, const TensorView& half, int64_t place, int64_t size) {
                  copy_along(x, at, half, place, dim_attr(*args.attrs), size);
                });
}

}  // namespace

OpDef halves() {
  return {.name = "halves",
          .inputs = {"x"},
          .outputs = {"first", "second"},
          .doc =
              "The first and the second halves of `parts` balanced parts of dim `dim`, each in the order of the parts; "
              "mirrored=1: the second halves from the last part to the first.",
          .signatures =
              [](const OpArgs& args, int parts) {
                return halves_signatures(
                    args, parts, [](Sbp whole, Sbp first, Sbp second) { return Signature{{whole}, {first, second}}; });
              },
          .infer = infer_halves,
          .precision = Precision::follow,
          .cpu = halves_cpu};
}

OpDef join_halves() {
  return {.name = "join_halves",
          .inputs = {"first", "second"},
          .outputs = {"x"},
          .doc = "What `halves` takes apart, put together.",
          .signatures =
              [](const OpArgs& args, int parts) {
                return halves_signatures(
                    args, parts, [](Sbp whole, Sbp first, Sbp second) { return Signature{{first, second}, {whole}}; });
              },
          .infer = infer_join,
          .precision = Precision::follow,
          .cpu = join_cpu};
}

}  // namespace troupe::define
