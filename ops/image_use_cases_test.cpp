// Uses of the ops on images.

#include <tuple>

#include "ops/test_operands.h"

namespace troupe {
namespace {

Attrs windows(Ints stride, Ints padding, Ints dilation = {1, 1}) {
  return {{"stride", stride}, {"padding", padding}, {"dilation", dilation}};
}
Attrs with(Attrs attrs, const char* name, const Attr& attr) {
  attrs.set(name, attr);
  return attrs;
}

void add_convolutions(std::vector<UseCase>& cases) {
  const Attrs plain = windows({1, 1}, {0, 0}), uneven = windows({2, 1}, {1, 2}, {1, 2});
  cases.push_back({"conv2d", {real({4, 5, 5, 6}), real({4, 5, 3, 2}), real({4})}, uneven});
  cases.push_back({"conv2d", {real({4, 5, 4, 5}), real({6, 5, 1, 1})}, plain});
  // Six groups, which three devices share; four, which they cannot; groups of one channel, cut anywhere.
  cases.push_back({"conv2d", {real({4, 12, 4, 4}), real({6, 2, 3, 3}), real({6})}, windows({1, 1}, {1, 1})});
  cases.push_back({"conv2d", {real({4, 8, 3, 3}), real({8, 2, 2, 2})}, plain});
  cases.push_back({"conv2d", {real({4, 5, 3, 3}), real({5, 1, 3, 3})}, windows({1, 1}, {1, 1})});
  const auto input_gradient = [](Attrs attrs, Ints size, int64_t group_out) {
    return with(with(attrs, "size", size), "group_out", group_out);
  };
  cases.push_back(
      {"conv2d_input_gradient", {real({4, 4, 3, 6}), real({4, 5, 3, 3})}, input_gradient(uneven, {5, 6}, 0)});
  cases.push_back(
      {"conv2d_input_gradient", {real({4, 6, 4, 5}), real({6, 5, 1, 1})}, input_gradient(plain, {4, 5}, 0)});
  cases.push_back(
      {"conv2d_input_gradient", {real({4, 6, 2, 2}), real({6, 2, 3, 3})}, input_gradient(plain, {4, 4}, 1)});
  cases.push_back(
      {"conv2d_input_gradient", {real({4, 5, 2, 2}), real({5, 1, 3, 3})}, input_gradient(plain, {4, 4}, 1)});
  const auto weight_gradient = [](Attrs attrs, Ints kernel, int64_t group_in) {
    return with(with(attrs, "kernel", kernel), "group_in", group_in);
  };
  cases.push_back(
      {"conv2d_weight_gradient", {real({4, 5, 5, 6}), real({4, 4, 3, 6})}, weight_gradient(uneven, {3, 3}, 0)});
  cases.push_back(
      {"conv2d_weight_gradient", {real({4, 5, 4, 5}), real({4, 6, 4, 5})}, weight_gradient(plain, {1, 1}, 0)});
  cases.push_back(
      {"conv2d_weight_gradient", {real({4, 12, 4, 4}), real({4, 6, 2, 2})}, weight_gradient(plain, {3, 3}, 2)});
  cases.push_back(
      {"conv2d_weight_gradient", {real({4, 5, 4, 4}), real({4, 5, 2, 2})}, weight_gradient(plain, {3, 3}, 1)});
}

void add_pools(std::vector<UseCase>& cases) {
  const auto kernel = [](Ints size, Attrs attrs) { return with(attrs, "kernel", size); };
  const Attrs most = kernel({3, 2}, windows({2, 1}, {1, 0}, {1, 2}));
  cases.push_back({"max_pool2d", {real({4, 5, 5, 6})}, most});
  cases.push_back({"max_pool2d_gradient", {real({4, 5, 3, 4}), real({4, 5, 5, 6})}, most});
  const Attrs mean = kernel({3, 2}, {{"stride", Ints{2, 2}}, {"padding", Ints{1, 1}}});
  for (int64_t count_padding : {no, yes}) {
    const Attrs attrs = with(mean, "count_padding", count_padding);
    cases.push_back({"avg_pool2d", {real({4, 5, 5, 6})}, attrs});
    cases.push_back({"avg_pool2d_gradient", {real({4, 5, 3, 4})}, with(attrs, "size", Ints{5, 6})});
  }
  for (const Ints& size : {Ints{1, 1}, Ints{3, 4}}) {
    cases.push_back({"adaptive_avg_pool2d", {real({4, 5, 5, 6})}, {{"output_size", size}}});
    UseCase gradient{"adaptive_avg_pool2d_gradient", {real({4, 5, size[0], size[1]})}, {{"size", Ints{5, 6}}}};
    gradient.is_corner = size == Ints{1, 1};  // it only repeats a number
    cases.push_back(gradient);
  }
}

void add_batch_norms(std::vector<UseCase>& cases) {
  // One piece, and twelve of two samples, which devices can share.
  for (const auto& [n, samples, pieces] : {std::tuple{5, 0, 1}, {24, 2, 12}}) {
    Attrs attrs;
    if (samples > 0) attrs.set("samples", int64_t{samples});
    const Operand x = real({n, 4}), planes = real({n, 4, 2, 3}), statistics = real({pieces, 4}), channels = real({4});
    const Operand rstd = positive({pieces, 4});
    cases.push_back({"batch_norm", {planes, channels, channels}, with(attrs, "eps", 1e-5)});
    cases.push_back({"batch_norm", {x, channels, channels}, with(attrs, "eps", 1e-5)});
    cases.push_back({"batch_norm_gradient", {x, x, channels, statistics, rstd}, attrs});
    cases.push_back({"channel_sum", {planes}, attrs});
    cases.push_back({"channel_square_sum", {planes, statistics}, attrs});
    cases.push_back({"channel_product_sum", {x, x, statistics, rstd}, attrs});
    cases.push_back({"channel_normalize", {x, statistics, rstd, channels, channels}, attrs});
    cases.push_back({"batch_norm_input_gradient", {x, x, channels, statistics, rstd, statistics, statistics}, attrs});
  }
}

}  // namespace

void add_image_use_cases(std::vector<UseCase>& cases) {
  for (auto add : {add_convolutions, add_pools, add_batch_norms}) add(cases);
}

}  // namespace troupe
