#include "ops/windows.h"

#include "ops/infer.h"
#include "runtime/base/error.h"

namespace troupe {
namespace {

std::string text_of(Pair pair) { return "[" + std::to_string(pair[0]) + "," + std::to_string(pair[1]) + "]"; }

void expect_least(const char* name, Pair pair, int64_t least) {
  if (pair[0] >= least && pair[1] >= least) return;
  throw PlanError(std::string(name) + " is " + text_of(pair) + ", but must be at least " + std::to_string(least));
}

}  // namespace

Pair pair_attr(const Attrs& attrs, const char* name) {
  const std::vector<int64_t>& values = attrs.integers(name);
  if (values.size() != 2) throw PlanError(std::string(name) + " must have two integers, along h and along w");
  return {values[0], values[1]};
}

Windows Windows::of(const Attrs& attrs, Pair kernel) {
  const Windows windows{kernel, pair_attr(attrs, "stride"), pair_attr(attrs, "padding"),
                        attrs.has("dilation") ? pair_attr(attrs, "dilation") : Pair{1, 1}};
  expect_least("kernel", windows.kernel, 1);
  expect_least("stride", windows.stride, 1);
  expect_least("padding", windows.padding, 0);
  expect_least("dilation", windows.dilation, 1);
  return windows;
}

Pair Windows::count(Pair size, const std::string& operand) const {
  Pair result{};
  for (size_t d = 0; d < 2; ++d) {
    if (is_pointwise(d)) {
      result[d] = size[d];
      continue;
    }
    const int64_t reach = dilation[d] * (kernel[d] - 1) + 1;
    const int64_t padded = size[d] + 2 * padding[d];
    if (reach > padded) {
      throw PlanError("the kernel " + text_of(kernel) + " with dilation " + text_of(dilation) + " reaches over " +
                      std::to_string(reach) + " elements, but " + operand + ", which is " + std::to_string(padded) +
                      " with padding " + text_of(padding) + "; a smaller kernel or more padding would do");
    }
    result[d] = (padded - reach) / stride[d] + 1;
  }
  return result;
}

bool Windows::is_pointwise(size_t d) const { return kernel[d] == 1 && stride[d] == 1 && padding[d] == 0; }

Pair size_of_plane(const Shape& shape) { return {shape[2], shape[3]}; }

void expect_planes(const OpArgs& args, int operand, const char* name) {
  if (args.rank(operand) == 4) return;
  throw PlanError(operand_text(args, operand, name) + ", but must have four dims [samples,channels,height,width]");
}

PlaneNames::PlaneNames(const Windows& windows) {
  for (size_t d = 0; d < 2; ++d) {
    const std::string from = d == 0 ? "h" : "w", to = windows.is_pointwise(d) ? from : d == 0 ? "p" : "q";
    before += (d == 0 ? "" : " ") + from;
    after += (d == 0 ? "" : " ") + to;
    if (!windows.is_pointwise(d)) notes += ", !" + from + ", !" + to;
  }
}

}  // namespace troupe
