// Moving tokens to the buffers of their experts and back. A buffer [experts, batch, places, dim] has for each row of
// the batch so many places per expert; choices and places [batch, seq, k] say where each token goes. A choice or a
// place outside the part of the buffer at hand goes nowhere: another part has it, or it was dropped.
#pragma once

#include <cstdint>
#include <span>

namespace troupe::cpu {

struct Routing {
  int64_t experts = 0, batch = 0, places = 0, dim = 0;  // of the buffer's part
  int64_t seq = 0, k = 0;
  int64_t first_expert = 0, first_place = 0;  // where the part begins
  const int32_t* choices = nullptr;
  const int32_t* place = nullptr;
};

// The place of each token in the buffer of each of its experts, or -1 where it is full: first choices come first, then
// tokens in order. `counts[e, row]`: how many tokens of the row chose expert first_expert + e, dropped ones too.
// `totals`: room for all experts.
struct Places {
  int64_t batch = 0, seq = 0, k = 0;
  int64_t capacity = 0;
  int64_t counted = 0, first_expert = 0;  // experts of `counts`
  std::span<int32_t> totals;
};
void expert_places(int32_t* counts, int32_t* place, const int32_t* choices, const Places& of);

// buffer[choice, row, place] += weight * x[row, token], zero at first; weights null: 1. T: float, double, BFloat16,
// Float16; W: the type of weights (and of sums).
template <typename T, typename W>
void dispatch(T* buffer, const T* x, const W* weights, const Routing& by);

// y[row, token] = the sum over k of weight * buffer[choice, row, place].
template <typename T, typename W>
void combine(T* y, const T* buffer, const W* weights, const Routing& by);

// y[row, token, k] = the sum over dim of buffer[choice, row, place] * x[row, token].
template <typename T, typename W>
void routed_dot(W* y, const T* buffer, const T* x, const Routing& by);

}  // namespace troupe::cpu
