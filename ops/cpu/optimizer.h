// Optimizer updates, in place, in one pass; the semantics of torch.optim.
//
// T: float, double. The gradient is multiplied by `grad_scale` first (clipping, loss scale, division by the
// weight). All functions are re-entrant. An element's bits do not depend on its position: a split update
// equals the whole.
#pragma once

#include <cstdint>

namespace troupe::cpu {

struct SgdOptions {
  double lr = 0.0;
  double momentum = 0.0;
  double dampening = 0.0;
  double weight_decay = 0.0;
  bool nesterov = false;
};

// step counts from 1; at step 1 the momentum buffer is set to the gradient. `momentum_buffer` may be null if
// momentum is 0.
template <typename T>
void sgd(T* param, T* momentum_buffer, const T* grad, int64_t n, const SgdOptions& options, int64_t step,
         double grad_scale);

struct AdamOptions {
  double lr = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;
  bool decoupled = true;  // AdamW (Loshchilov and Hutter 2019); false: Adam, decay added to the gradient
};

// step counts from 1. m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// param = param (1 - lr wd) - lr / (1-b1^step) * m / (sqrt(v) / sqrt(1-b2^step) + eps).
template <typename T>
void adamw(T* param, T* m, T* v, const T* grad, int64_t n, const AdamOptions& options, int64_t step, double grad_scale);

// The moments as adamw's; direction = m / (1-b1^step) / (sqrt(v) / sqrt(1-b2^step) + eps) + wd param (You et al. 2020,
// algorithm 2). `direction` may be `grad`. options.lr and options.decoupled are not read.
template <typename T>
void lamb(T* direction, T* m, T* v, const T* param, const T* grad, int64_t n, const AdamOptions& options, int64_t step,
          double grad_scale);

// b = momentum b + (1-momentum) g; direction = b or, with Nesterov, momentum b + (1-momentum) g (Jordan et al. 2024).
// `direction` may be `grad`.
template <typename T>
void muon_momentum(T* direction, T* momentum_buffer, const T* grad, int64_t n, double momentum, bool nesterov,
                   double grad_scale);

// param = param shrink - rate direction.
template <typename T>
void apply_update(T* param, const T* direction, int64_t n, double shrink, double rate);

}  // namespace troupe::cpu
