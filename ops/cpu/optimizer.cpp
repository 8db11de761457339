#include "ops/cpu/optimizer.h"

#include <cmath>

#include "ops/cpu/vector_math.h"

namespace troupe::cpu {
namespace {

// f(read, write) for every vector of n elements: read(tensor) is the tensor's vector, write(tensor, v) stores it. The
// tail works on zero-padded copies.
template <typename T, typename F>
void each_vector(int64_t n, F f) {
  constexpr int64_t lanes = kLanes<T>;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    f([i](const T* from) { return load(from + i); }, [i](T* to, Vec<T> v) { store(to + i, v); });
  }
  if (i < n) {
    const int64_t rest = n - i;
    f([i, rest](const T* from) { return load_part(from + i, rest); },
      [i, rest](T* to, Vec<T> v) { store_part(to + i, v, rest); });
  }
}

// f(g, vectors...) changes the vectors of the tensors; g is the gradient's.
template <typename T, typename F, typename... Tensor>
void update(int64_t n, const T* grad, F f, Tensor*... tensors) {
  each_vector<T>(n, [&](auto read, auto write) {
    [&](auto... v) {
      f(read(grad), v...);
      (write(tensors, v), ...);
    }(read(tensors)...);
  });
}

}  // namespace

template <typename T>
void sgd(T* param, T* momentum_buffer, const T* grad, int64_t n, const SgdOptions& options, int64_t step,
         double grad_scale) {
  const T lr = static_cast<T>(options.lr);
  const T decay = static_cast<T>(options.weight_decay);
  const T scale = static_cast<T>(grad_scale);
  if (options.momentum == 0.0) {
    update<T>(n, grad, [=](Vec<T> g, Vec<T>& p) { p = p - lr * (g * scale + decay * p); }, param);
    return;
  }
  const T momentum = step <= 1 ? T(0) : static_cast<T>(options.momentum);
  const T fresh = step <= 1 ? T(1) : static_cast<T>(1.0 - options.dampening);
  const T look_ahead = static_cast<T>(options.momentum);
  // At the first step the buffer may hold anything, also NaN: select rather than multiply by 0.
  const bool first = step <= 1;
  const bool nesterov = options.nesterov;
  update<T>(
      n, grad,
      [=](Vec<T> g, Vec<T>& p, Vec<T>& b) {
        const Vec<T> d = g * scale + decay * p;
        b = first ? d : momentum * b + fresh * d;
        p = p - lr * (nesterov ? d + look_ahead * b : b);
      },
      param, momentum_buffer);
}

template <typename T>
void adamw(T* param, T* m, T* v, const T* grad, int64_t n, const AdamOptions& options, int64_t step,
           double grad_scale) {
  const double t = static_cast<double>(step);
  const double correction1 = 1.0 - std::pow(options.beta1, t);
  const double correction2 = 1.0 - std::pow(options.beta2, t);
  const T step_size = static_cast<T>(options.lr / correction1);
  const T root_scale = static_cast<T>(1.0 / std::sqrt(correction2));
  const T eps = static_cast<T>(options.eps);
  const T beta1 = static_cast<T>(options.beta1);
  const T rest1 = static_cast<T>(1.0 - options.beta1);
  const T beta2 = static_cast<T>(options.beta2);
  const T rest2 = static_cast<T>(1.0 - options.beta2);
  const T shrink = static_cast<T>(options.decoupled ? 1.0 - options.lr * options.weight_decay : 1.0);
  const T decay = static_cast<T>(options.decoupled ? 0.0 : options.weight_decay);
  const T scale = static_cast<T>(grad_scale);
  update<T>(
      n, grad,
      [=](Vec<T> g, Vec<T>& p, Vec<T>& first, Vec<T>& second) {
        const Vec<T> d = g * scale + decay * p;
        first = beta1 * first + rest1 * d;
        second = beta2 * second + rest2 * (d * d);
        p = p * shrink - step_size * (first / (math::sqrt(second) * root_scale + eps));
      },
      param, m, v);
}

template <typename T>
void lamb(T* direction, T* m, T* v, const T* param, const T* grad, int64_t n, const AdamOptions& options, int64_t step,
          double grad_scale) {
  const double t = static_cast<double>(step);
  const T mean_scale = static_cast<T>(1.0 / (1.0 - std::pow(options.beta1, t)));
  const T root_scale = static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(options.beta2, t)));
  const T eps = static_cast<T>(options.eps);
  const T beta1 = static_cast<T>(options.beta1);
  const T rest1 = static_cast<T>(1.0 - options.beta1);
  const T beta2 = static_cast<T>(options.beta2);
  const T rest2 = static_cast<T>(1.0 - options.beta2);
  const T decay = static_cast<T>(options.weight_decay);
  const T scale = static_cast<T>(grad_scale);
  each_vector<T>(n, [=](auto read, auto write) {
    const Vec<T> d = read(grad) * scale;
    const Vec<T> first = beta1 * read(m) + rest1 * d;
    const Vec<T> second = beta2 * read(v) + rest2 * (d * d);
    write(m, first);
    write(v, second);
    write(direction, first * mean_scale / (math::sqrt(second) * root_scale + eps) + decay * read(param));
  });
}

template <typename T>
void muon_momentum(T* direction, T* momentum_buffer, const T* grad, int64_t n, double momentum, bool nesterov,
                   double grad_scale) {
  const T fresh = static_cast<T>(1.0 - momentum);
  const T look_ahead = static_cast<T>(momentum);
  const T scale = static_cast<T>(grad_scale);
  // No condition within: compilers join products and sums within straight code alone, and tails must do as the rest.
  const auto step = [=](auto look) {
    each_vector<T>(n, [=](auto read, auto write) {
      const Vec<T> g = read(grad) * scale;
      const Vec<T> old = read(momentum_buffer);
      const Vec<T> next = old + fresh * (g - old);
      write(momentum_buffer, next);
      write(direction, look(g, next));
    });
  };
  if (nesterov) return step([=](Vec<T> g, Vec<T> next) { return g + look_ahead * (next - g); });
  step([](Vec<T>, Vec<T> next) { return next; });
}

template <typename T>
void apply_update(T* param, const T* direction, int64_t n, double shrink, double rate) {
  const T kept = static_cast<T>(shrink);
  const T by = static_cast<T>(rate);
  update<T>(n, direction, [=](Vec<T> u, Vec<T>& p) { p = p * kept - by * u; }, param);
}

template <typename T>
struct OptimizerInstances {
  static constexpr auto o0 = sgd<T>;
  static constexpr auto o1 = adamw<T>;
  static constexpr auto o2 = lamb<T>;
  static constexpr auto o3 = muon_momentum<T>;
  static constexpr auto o4 = apply_update<T>;
};
template struct OptimizerInstances<float>;
template struct OptimizerInstances<double>;

}  // namespace troupe::cpu
