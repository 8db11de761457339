#include "ops/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/gemm.h"
#include "ops/cpu/row_sums.h"

namespace troupe::cpu {
namespace {

// Scores are computed for so many queries and keys at a time: two such blocks of floats stay in the
// second-level cache.
constexpr int64_t kQueryBlock = 64;
constexpr int64_t kKeyBlock = 1024;

int64_t key_block(const AttentionShape& shape) { return std::min(kKeyBlock, std::max<int64_t>(shape.kv_len, 1)); }

// Keys that query i sees: [0, this).
int64_t visible_keys(const AttentionShape& shape, int64_t query) {
  if (!shape.causal) return shape.kv_len;
  return std::clamp<int64_t>(query + shape.q_offset + 1, 0, shape.kv_len);
}

int64_t lse_step(const AttentionShape& shape) { return shape.lse_step > 0 ? shape.lse_step : shape.q_len; }

// Of one batch; null: none.
const uint8_t* mask_of(const AttentionShape& shape, int64_t batch) {
  return shape.key_mask == nullptr ? nullptr
                                   : shape.key_mask + batch * (shape.mask_step > 0 ? shape.mask_step : shape.kv_len);
}

template <typename T>
void hide(T* scores, const uint8_t* mask, int64_t count) {
  for (int64_t j = 0; j < count; ++j) scores[j] = mask[j] != 0 ? scores[j] : -std::numeric_limits<T>::infinity();
}

template <typename T>
T larger_or_nan(T a, T b) {
  return a > b || a != a ? a : b;
}

template <typename T>
const T* head(const T* tensor, const HeadStrides& strides, int64_t batch, int64_t index) {
  return tensor + batch * strides.batch + index * strides.head;
}
template <typename T>
T* head(T* tensor, const HeadStrides& strides, int64_t batch, int64_t index) {
  return tensor + batch * strides.batch + index * strides.head;
}

// One block of queries [begin, end) of one head: the softmax is carried along the blocks of keys, as running
// maximum and sum, and what is in `out` is rescaled when the maximum grows.
template <typename T>
void forward_block(T* out, int64_t out_step, T* lse, const T* q, int64_t q_step, const T* k, int64_t k_step, const T* v,
                   int64_t v_step, const AttentionShape& shape, const uint8_t* mask, T scale, int64_t begin,
                   int64_t end, T* scores) {
  const int64_t rows = end - begin;
  const int64_t dim = shape.head_dim;
  const int64_t keys = visible_keys(shape, end - 1);
  T maximum[kQueryBlock];
  double sum[kQueryBlock];
  std::fill(maximum, maximum + rows, -std::numeric_limits<T>::infinity());
  std::fill(sum, sum + rows, 0.0);
  for (int64_t first = 0; first < keys; first += kKeyBlock) {
    const int64_t count = std::min(kKeyBlock, keys - first);
    gemm<T>(false, true, rows, count, dim, scale, q + begin * q_step, q_step, k + first * k_step, k_step, T(0), scores,
            count);
    for (int64_t i = 0; i < rows; ++i) {
      T* row = scores + i * count;
      int64_t seen = std::clamp<int64_t>(visible_keys(shape, begin + i) - first, 0, count);
      if (mask != nullptr) hide(row, mask + first, seen);
      const T before = maximum[i];
      const T now = seen > 0 ? larger_or_nan(before, row_maximum(row, seen)) : before;
      if (mask != nullptr && now == -std::numeric_limits<T>::infinity()) seen = 0;
      T keep = T(1);
      if (seen > 0) {
        keep = sum[i] == 0.0 ? T(0) : std::exp(before - now);
        sum[i] = sum[i] * static_cast<double>(keep) + exp_and_sum(row, row, now, seen);
        maximum[i] = now;
      }
      std::fill(row + seen, row + count, T(0));
      if (first > 0 && keep != T(1)) {
        T* to = out + (begin + i) * out_step;
        map(dim, to, [keep](Vec<T> x) { return x * keep; }, static_cast<const T*>(to));
      }
    }
    gemm<T>(false, false, rows, dim, count, T(1), scores, count, v + first * v_step, v_step, first > 0 ? T(1) : T(0),
            out + begin * out_step, out_step);
  }
  for (int64_t i = 0; i < rows; ++i) {
    T* to = out + (begin + i) * out_step;
    if (sum[i] == 0.0) {  // no key: the largest of some adds 1
      std::fill(to, to + dim, T(0));
      lse[begin + i] = -std::numeric_limits<T>::infinity();
      continue;
    }
    const T factor = static_cast<T>(1.0 / sum[i]);
    map(dim, to, [factor](Vec<T> x) { return x * factor; }, static_cast<const T*>(to));
    lse[begin + i] = static_cast<T>(static_cast<double>(maximum[i]) + std::log(sum[i]));
  }
}

// p = exp(p - lse) and ds = p (ds - delta) scale for the visible part of a row of scores and of dout v^T; 0
// elsewhere.
template <typename T>
void backward_row(T* p, T* ds, T lse, T delta, T scale, int64_t seen, int64_t count) {
  constexpr int64_t lanes = kLanes<T>;
  for (int64_t j = 0; j < seen; j += lanes) {
    const int64_t part = std::min(lanes, seen - j);
    if (part == lanes) {
      const Vec<T> e = math::exp(load(p + j) - lse);
      store(p + j, e);
      store(ds + j, e * ((load(ds + j) - delta) * scale));
    } else {
      const Vec<T> e = math::exp(load_part(p + j, part) - lse);
      store_part(p + j, e, part);
      store_part(ds + j, e * ((load_part(ds + j, part) - delta) * scale), part);
    }
  }
  std::fill(p + seen, p + count, T(0));
  std::fill(ds + seen, ds + count, T(0));
}

template <typename T>
void clear_rows(T* x, int64_t step, int64_t rows, int64_t dim) {
  for (int64_t i = 0; i < rows; ++i) std::fill(x + i * step, x + i * step + dim, T(0));
}

}  // namespace

template <typename T>
int64_t attention_forward_scratch_bytes(const AttentionShape& shape) {
  return kQueryBlock * key_block(shape) * static_cast<int64_t>(sizeof(T));
}

template <typename T>
void attention_forward(T* out, HeadStrides out_strides, T* lse, const T* q, HeadStrides q_strides, const T* k,
                       HeadStrides k_strides, const T* v, HeadStrides v_strides, const AttentionShape& shape, T scale,
                       void* scratch) {
  const int64_t group = shape.kv_heads > 0 ? shape.heads / shape.kv_heads : 1;
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t h = 0; h < shape.heads; ++h) {
      for (int64_t begin = 0; begin < shape.q_len; begin += kQueryBlock) {
        forward_block(head(out, out_strides, b, h), out_strides.seq, lse + (b * shape.heads + h) * lse_step(shape),
                      head(q, q_strides, b, h), q_strides.seq, head(k, k_strides, b, h / group), k_strides.seq,
                      head(v, v_strides, b, h / group), v_strides.seq, shape, mask_of(shape, b), scale, begin,
                      std::min(begin + kQueryBlock, shape.q_len), static_cast<T*>(scratch));
      }
    }
  }
}

template <typename T>
int64_t attention_backward_scratch_bytes(const AttentionShape& shape) {
  return 2 * attention_forward_scratch_bytes<T>(shape);
}

template <typename T>
void attention_backward(T* dq, HeadStrides dq_strides, T* dk, HeadStrides dk_strides, T* dv, HeadStrides dv_strides,
                        const T* dout, HeadStrides dout_strides, const T* q, HeadStrides q_strides, const T* k,
                        HeadStrides k_strides, const T* v, HeadStrides v_strides, const T* out, HeadStrides out_strides,
                        const T* lse, const AttentionShape& shape, T scale, bool adds, void* scratch) {
  const int64_t dim = shape.head_dim;
  const int64_t group = shape.kv_heads > 0 ? shape.heads / shape.kv_heads : 1;
  const int64_t blocks = (shape.q_len + kQueryBlock - 1) / kQueryBlock;
  T* p = static_cast<T*>(scratch);
  T* ds = p + kQueryBlock * key_block(shape);
  for (int64_t b = 0; b < shape.batch; ++b) {
    const uint8_t* mask = mask_of(shape, b);
    for (int64_t h = 0; h < shape.heads; ++h) {
      const T* qh = head(q, q_strides, b, h);
      const T* kh = head(k, k_strides, b, h / group);
      const T* vh = head(v, v_strides, b, h / group);
      const T* doh = head(dout, dout_strides, b, h);
      const T* oh = head(out, out_strides, b, h);
      const T* lseh = lse + (b * shape.heads + h) * lse_step(shape);
      T* dqh = head(dq, dq_strides, b, h);
      T* dkh = head(dk, dk_strides, b, h / group);
      T* dvh = head(dv, dv_strides, b, h / group);
      // Query heads that share a key head add to it in order.
      if (h % group == 0 && !adds) {
        clear_rows(dkh, dk_strides.seq, shape.kv_len, dim);
        clear_rows(dvh, dv_strides.seq, shape.kv_len, dim);
      }
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t begin = block * kQueryBlock;
        const int64_t rows = std::min(kQueryBlock, shape.q_len - begin);
        const int64_t keys = visible_keys(shape, begin + rows - 1);
        const T* qb = qh + begin * q_strides.seq;
        const T* dob = doh + begin * dout_strides.seq;
        T* dqb = dqh + begin * dq_strides.seq;
        T delta[kQueryBlock];
        for (int64_t i = 0; i < rows; ++i) {
          delta[i] = static_cast<T>(row_sum<T>(
              dim, [](Vec<T> x, Vec<T> y) { return x * y; }, dob + i * dout_strides.seq,
              oh + (begin + i) * out_strides.seq));
        }
        if (keys == 0) clear_rows(dqb, dq_strides.seq, rows, dim);
        for (int64_t first = 0; first < keys; first += kKeyBlock) {
          const int64_t count = std::min(kKeyBlock, keys - first);
          const T* kb = kh + first * k_strides.seq;
          const T* vb = vh + first * v_strides.seq;
          gemm<T>(false, true, rows, count, dim, scale, qb, q_strides.seq, kb, k_strides.seq, T(0), p, count);
          gemm<T>(false, true, rows, count, dim, T(1), dob, dout_strides.seq, vb, v_strides.seq, T(0), ds, count);
          for (int64_t i = 0; i < rows; ++i) {
            const bool any = lseh[begin + i] != -std::numeric_limits<T>::infinity();
            const int64_t seen = any ? std::clamp<int64_t>(visible_keys(shape, begin + i) - first, 0, count) : 0;
            if (mask != nullptr) hide(p + i * count, mask + first, seen);
            backward_row(p + i * count, ds + i * count, lseh[begin + i], delta[i], scale, seen, count);
          }
          gemm<T>(true, false, count, dim, rows, T(1), p, count, dob, dout_strides.seq, T(1),
                  dvh + first * dv_strides.seq, dv_strides.seq);
          gemm<T>(true, false, count, dim, rows, T(1), ds, count, qb, q_strides.seq, T(1), dkh + first * dk_strides.seq,
                  dk_strides.seq);
          gemm<T>(false, false, rows, dim, count, T(1), ds, count, kb, k_strides.seq, first > 0 ? T(1) : T(0), dqb,
                  dq_strides.seq);
        }
      }
    }
  }
}

template <typename T>
struct AttentionInstances {
  static constexpr auto a0 = attention_forward<T>;
  static constexpr auto a1 = attention_backward<T>;
  static constexpr auto a2 = attention_forward_scratch_bytes<T>;
  static constexpr auto a3 = attention_backward_scratch_bytes<T>;
};
template struct AttentionInstances<float>;
template struct AttentionInstances<double>;

}  // namespace troupe::cpu
