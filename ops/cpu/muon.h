// Orthogonalisation of matrices by Newton-Schulz iterations (Jordan et al. 2024, "Muon").
//
// T: float, double. Re-entrant; a matrix's bits do not depend on how many others there are.
#pragma once

#include <cstdint>

namespace troupe::cpu {

struct NewtonSchulzOptions {
  double a = 3.4445;
  double b = -4.7750;
  double c = 2.0315;
  double eps = 1e-7;
  int64_t steps = 5;
};

// y[count, m, n]: every matrix of x[count, m, n] over its Frobenius norm (at least eps), then `steps` times
// X <- a X + (b G + c G^2) X with G = X X^T, or the same from the right with G = X^T X where m > n. y may be x.
// `scratch` holds newton_schulz_scratch(m, n) elements.
template <typename T>
void newton_schulz(T* y, const T* x, int64_t count, int64_t m, int64_t n, const NewtonSchulzOptions& options,
                   T* scratch);

// In elements.
int64_t newton_schulz_scratch(int64_t m, int64_t n);

}  // namespace troupe::cpu
