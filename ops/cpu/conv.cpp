#include "ops/cpu/conv.h"

#include <algorithm>
#include <map>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "ops/cpu/one_thread.h"
#include "ops/cpu/onednn.h"
#include "runtime/base/check.h"

namespace troupe::cpu {
namespace {

using dnnl::memory;

constexpr int64_t kAlign = 64;

struct Form {
  ConvPass pass;
  ConvSizes sizes;
  bool bias, bf16;
  auto operator<=>(const Form&) const = default;
};

memory::dims dims_of(const std::array<int64_t, 2>& values) { return {values[0], values[1]}; }

// The operands of a form as they lie in registers.
struct Descs {
  memory::desc x, w, y, bias;

  explicit Descs(const Form& form) {
    const ConvSizes& s = form.sizes;
    const auto type = form.bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    const bool wide = form.pass == ConvPass::weight_gradient;
    const auto w_type = wide ? memory::data_type::f32 : type;
    x = {{s.batch, s.channels, s.in_size[0], s.in_size[1]}, type, memory::format_tag::nchw};
    y = {{s.batch, s.out, s.out_size[0], s.out_size[1]}, type, memory::format_tag::nchw};
    const int64_t in = s.channels / s.groups;
    if (s.groups == 1) {
      w = {{s.out, in, s.kernel[0], s.kernel[1]}, w_type, memory::format_tag::oihw};
    } else {
      w = {{s.groups, s.out / s.groups, in, s.kernel[0], s.kernel[1]}, w_type, memory::format_tag::goihw};
    }
    if (form.bias) bias = {{s.out}, type, memory::format_tag::x};
  }
};

// The same operand in whatever form oneDNN computes fastest on.
memory::desc any(const memory::desc& desc, memory::data_type type) {
  return {desc.dims(), type, memory::format_tag::any};
}
memory::desc any(const memory::desc& desc) { return any(desc, desc.data_type()); }

// A pass of one form, made once per thread. Operands that oneDNN wants in another form are reordered in scratch.
class Convolution {
 public:
  explicit Convolution(const Form& form) {
    const Descs plain(form);
    const memory::dims stride = dims_of(form.sizes.stride), padding = dims_of(form.sizes.padding);
    const memory::dims dilation = {form.sizes.dilation[0] - 1, form.sizes.dilation[1] - 1};
    const auto direct = dnnl::algorithm::convolution_direct;
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    // Of one dtype, also where it is only the hint of a pass whose gradient is float32: else some CPUs have no such forward pass.
    const dnnl::convolution_forward::desc forward(dnnl::prop_kind::forward_training, direct, any(plain.x),
                                                  any(plain.w, plain.x.data_type()), plain.bias, any(plain.y), stride,
                                                  dilation, padding, padding);
    const dnnl::convolution_forward::primitive_desc made(forward, attr, onednn_engine());
    switch (form.pass) {
      case ConvPass::forward:
        add_input(DNNL_ARG_SRC, plain.x, made.src_desc());
        add_input(DNNL_ARG_WEIGHTS, plain.w, made.weights_desc());
        if (form.bias) add_input(DNNL_ARG_BIAS, plain.bias, plain.bias);
        set_output(DNNL_ARG_DST, plain.y, made.dst_desc());
        finish(dnnl::convolution_forward(made), made.scratchpad_desc());
        break;
      case ConvPass::input_gradient: {
        const dnnl::convolution_backward_data::desc desc(direct, any(plain.x), any(plain.w), any(plain.y), stride,
                                                         dilation, padding, padding);
        const dnnl::convolution_backward_data::primitive_desc back(desc, attr, onednn_engine(), made);
        add_input(DNNL_ARG_DIFF_DST, plain.y, back.diff_dst_desc());
        add_input(DNNL_ARG_WEIGHTS, plain.w, back.weights_desc());
        set_output(DNNL_ARG_DIFF_SRC, plain.x, back.diff_src_desc());
        finish(dnnl::convolution_backward_data(back), back.scratchpad_desc());
        break;
      }
      case ConvPass::weight_gradient: {
        const dnnl::convolution_backward_weights::desc desc(direct, any(plain.x), any(plain.w), any(plain.y), stride,
                                                            dilation, padding, padding);
        const dnnl::convolution_backward_weights::primitive_desc back(desc, attr, onednn_engine(), made);
        add_input(DNNL_ARG_SRC, plain.x, back.src_desc());
        add_input(DNNL_ARG_DIFF_DST, plain.y, back.diff_dst_desc());
        set_output(DNNL_ARG_DIFF_WEIGHTS, plain.w, back.diff_weights_desc());
        finish(dnnl::convolution_backward_weights(back), back.scratchpad_desc());
        break;
      }
    }
  }

  int64_t scratch_bytes() const { return scratch_bytes_; }

  // Inputs in the order of the pass: x, w, bias; dy, w; x, dy.
  void run(void* output, std::initializer_list<const void*> inputs, std::span<std::byte> scratch) {
    CHECK(static_cast<int64_t>(scratch.size()) >= scratch_bytes_, scratch.size(), scratch_bytes_);
    size_t next = 0;
    for (const void* input : inputs) {
      Operand& operand = inputs_[next++];
      operand.plain.set_data_handle(const_cast<void*>(input));
      place(operand, scratch);
      if (operand.is_reordered) operand.reorder.execute(onednn_stream(), operand.plain, operand.used);
    }
    output_.plain.set_data_handle(output);
    place(output_, scratch);
    scratchpad_.set_data_handle(scratch.data() + scratchpad_offset_);
    primitive_.execute(onednn_stream(), arguments_);
    if (output_.is_reordered) output_.reorder.execute(onednn_stream(), output_.used, output_.plain);
    onednn_stream().wait();
  }

 private:
  struct Operand {
    memory plain, used;  // the same memory unless reordered
    bool is_reordered = false;
    int64_t offset = 0;  // of `used`, in scratch
    dnnl::reorder reorder;
  };

  static void place(Operand& operand, std::span<std::byte> scratch) {
    operand.used.set_data_handle(operand.is_reordered ? scratch.data() + operand.offset
                                                      : operand.plain.get_data_handle());
  }

  int64_t take(int64_t bytes) {
    const int64_t offset = scratch_bytes_;
    scratch_bytes_ += (bytes + kAlign - 1) / kAlign * kAlign;
    return offset;
  }

  Operand operand(int name, const memory::desc& plain, const memory::desc& used) {
    Operand made{memory(plain, onednn_engine(), nullptr), memory(used, onednn_engine(), nullptr), plain != used, 0, {}};
    if (made.is_reordered) made.offset = take(static_cast<int64_t>(used.get_size()));
    arguments_.insert({name, made.used});
    return made;
  }

  void add_input(int name, const memory::desc& plain, const memory::desc& used) {
    Operand made = operand(name, plain, used);
    if (made.is_reordered) made.reorder = dnnl::reorder(made.plain, made.used);
    inputs_.push_back(made);
  }

  void set_output(int name, const memory::desc& plain, const memory::desc& used) {
    output_ = operand(name, plain, used);
    if (output_.is_reordered) output_.reorder = dnnl::reorder(output_.used, output_.plain);
  }

  void finish(dnnl::primitive primitive, const memory::desc& scratchpad) {
    primitive_ = std::move(primitive);
    scratchpad_ = memory(scratchpad, onednn_engine(), nullptr);
    scratchpad_offset_ = take(static_cast<int64_t>(scratchpad.get_size()));
    arguments_.insert({DNNL_ARG_SCRATCHPAD, scratchpad_});
  }

  std::vector<Operand> inputs_;
  Operand output_;
  memory scratchpad_;
  int64_t scratchpad_offset_ = 0;
  int64_t scratch_bytes_ = 0;
  std::unordered_map<int, memory> arguments_;
  dnnl::primitive primitive_;
};

// oneDNN chooses by the number of threads, so a pass is made as it is run.
Convolution& convolution_of(const Form& form) {
  constexpr size_t kMost = 1024;  // a plan has some dozen forms; a thread may see many plans
  static thread_local std::map<Form, Convolution> convolutions;
  const auto it = convolutions.find(form);
  if (it != convolutions.end()) return it->second;
  if (convolutions.size() >= kMost) convolutions.clear();
  return convolutions.try_emplace(form, form).first->second;
}

template <typename T>
constexpr bool kIsBf16 = std::is_same_v<T, BFloat16>;

template <typename T>
void run(ConvPass pass, const ConvSizes& sizes, bool bias, void* output, std::initializer_list<const void*> inputs,
         std::span<std::byte> scratch) {
  const OneThread one_thread;
  convolution_of({pass, sizes, bias, kIsBf16<T>}).run(output, inputs, scratch);
}

// Calls fn(index in x, index in w, index in y) for every product of a convolution, in one fixed order.
template <typename Fn>
void for_each_product(const ConvSizes& s, Fn fn) {
  const int64_t in = s.channels / s.groups, group_out = s.out / s.groups;
  const auto [kh, kw] = s.kernel;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t o = 0; o < s.out; ++o) {
      for (int64_t i = 0; i < s.out_size[0] * s.out_size[1]; ++i) {
        const int64_t y = (n * s.out + o) * s.out_size[0] * s.out_size[1] + i;
        const int64_t top = i / s.out_size[1] * s.stride[0] - s.padding[0];
        const int64_t left = i % s.out_size[1] * s.stride[1] - s.padding[1];
        for (int64_t k = 0; k < in * kh * kw; ++k) {
          const int64_t row = top + k / kw % kh * s.dilation[0], column = left + k % kw * s.dilation[1];
          if (row < 0 || row >= s.in_size[0] || column < 0 || column >= s.in_size[1]) continue;
          const int64_t channel = o / group_out * in + k / (kh * kw);
          fn(((n * s.channels + channel) * s.in_size[0] + row) * s.in_size[1] + column, o * in * kh * kw + k, y);
        }
      }
    }
  }
}

template <typename T>
void fill_channels(const ConvSizes& s, T* y, const T* bias) {
  const int64_t plane = s.out_size[0] * s.out_size[1];
  for (int64_t i = 0; i < s.batch * s.out; ++i) {
    std::fill_n(y + i * plane, plane, bias == nullptr ? T(0.0f) : bias[i % s.out]);
  }
}

int64_t input_elements(const ConvSizes& s) { return s.batch * s.channels * s.in_size[0] * s.in_size[1]; }
int64_t weight_elements(const ConvSizes& s) { return s.out * (s.channels / s.groups) * s.kernel[0] * s.kernel[1]; }

}  // namespace

int64_t conv_scratch_bytes(ConvPass pass, const ConvSizes& sizes, bool bias, bool bf16) {
  if (sizes.is_empty()) return 0;
  const OneThread one_thread;
  return convolution_of({pass, sizes, bias, bf16}).scratch_bytes();
}

template <typename T>
void conv(const ConvSizes& sizes, T* y, const T* x, const T* w, const T* bias, std::span<std::byte> scratch) {
  if (sizes.is_empty()) return fill_channels(sizes, y, bias);
  if constexpr (std::is_same_v<T, double>) {
    fill_channels(sizes, y, bias);
    for_each_product(sizes, [&](int64_t i, int64_t j, int64_t k) { y[k] += x[i] * w[j]; });
  } else if (bias != nullptr) {
    run<T>(ConvPass::forward, sizes, true, y, {x, w, bias}, scratch);
  } else {
    run<T>(ConvPass::forward, sizes, false, y, {x, w}, scratch);
  }
}

template <typename T>
void conv_input_gradient(const ConvSizes& sizes, T* dx, const T* dy, const T* w, std::span<std::byte> scratch) {
  if (sizes.is_empty() || std::is_same_v<T, double>) std::fill_n(dx, input_elements(sizes), T(0.0f));
  if (sizes.is_empty()) return;
  if constexpr (std::is_same_v<T, double>) {
    for_each_product(sizes, [&](int64_t i, int64_t j, int64_t k) { dx[i] += dy[k] * w[j]; });
  } else {
    run<T>(ConvPass::input_gradient, sizes, false, dx, {dy, w}, scratch);
  }
}

template <typename T, typename Dw>
void conv_weight_gradient(const ConvSizes& sizes, Dw* dw, const T* x, const T* dy, std::span<std::byte> scratch) {
  if (sizes.is_empty() || std::is_same_v<T, double>) std::fill_n(dw, weight_elements(sizes), Dw(0));
  if (sizes.is_empty()) return;
  if constexpr (std::is_same_v<T, double>) {
    for_each_product(sizes, [&](int64_t i, int64_t j, int64_t k) { dw[j] += x[i] * dy[k]; });
  } else {
    run<T>(ConvPass::weight_gradient, sizes, false, dw, {x, dy}, scratch);
  }
}

using Scratch = std::span<std::byte>;
template void conv<float>(const ConvSizes&, float*, const float*, const float*, const float*, Scratch);
template void conv<double>(const ConvSizes&, double*, const double*, const double*, const double*, Scratch);
template void conv<BFloat16>(const ConvSizes&, BFloat16*, const BFloat16*, const BFloat16*, const BFloat16*, Scratch);
template void conv_input_gradient<float>(const ConvSizes&, float*, const float*, const float*, Scratch);
template void conv_input_gradient<double>(const ConvSizes&, double*, const double*, const double*, Scratch);
template void conv_input_gradient<BFloat16>(const ConvSizes&, BFloat16*, const BFloat16*, const BFloat16*, Scratch);
template void conv_weight_gradient<float, float>(const ConvSizes&, float*, const float*, const float*, Scratch);
template void conv_weight_gradient<double, double>(const ConvSizes&, double*, const double*, const double*, Scratch);
template void conv_weight_gradient<BFloat16, float>(const ConvSizes&, float*, const BFloat16*, const BFloat16*,
                                                    Scratch);

}  // namespace troupe::cpu
