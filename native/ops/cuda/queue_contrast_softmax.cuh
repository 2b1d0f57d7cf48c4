// The online softmax of a row, as the threads of sweep 1 keep it and hand it to each other. Legend:
// queue_contrast.h; a: image to text, b: text to image.
#pragma once

#include "ops/cuda/queue_contrast_tiles.cuh"

namespace cots::cuda {

constexpr float kLowest = -3.0e38f;  // below every logit; finite, so that differences stay numbers

/// Online softmax of the columns that one thread has seen of one row. Long sums are float64.
struct ThreadState {
  float m_a = kLowest, m_b = kLowest;
  double l_a = 0, s_a = 0, l_b = 0, s_b = 0, matched_a = 0, matched_b = 0;
  int64_t matched = 0;

  template <int kBlocks>
  __device__ void add(const float (&a)[kBlocks][4], const float (&b)[kBlocks][4], int half,
                      const Roles& roles) {
    float top_a = m_a, top_b = m_b;
    COTS_UNROLL for (int bit = 0; bit < 2 * kBlocks; ++bit) {
      if (!(roles.kept >> bit & 1)) continue;
      top_a = fmaxf(top_a, a[bit / 2][2 * half + bit % 2]);
      top_b = fmaxf(top_b, b[bit / 2][2 * half + bit % 2]);
    }
    const double keep_a = exponential(m_a - top_a), keep_b = exponential(m_b - top_b);
    float sum_a = 0, sum_ad = 0, sum_b = 0, sum_bd = 0;
    COTS_UNROLL for (int bit = 0; bit < 2 * kBlocks; ++bit) {
      if (!(roles.kept >> bit & 1)) continue;
      const float x = a[bit / 2][2 * half + bit % 2], y = b[bit / 2][2 * half + bit % 2];
      const float d = x - y, e_a = exponential(x - top_a), e_b = exponential(y - top_b);
      sum_a += e_a, sum_ad += e_a * d;
      sum_b += e_b, sum_bd += e_b * d;
      if (roles.matched >> bit & 1) matched_a += x, matched_b += y, ++matched;
    }
    l_a = l_a * keep_a + sum_a, s_a = s_a * keep_a + sum_ad;
    l_b = l_b * keep_b + sum_b, s_b = s_b * keep_b + sum_bd;
    m_a = top_a, m_b = top_b;
  }

  __device__ RowPart part() const {
    return {{{m_a, l_a, s_a}, {m_b, l_b, s_b}, matched_a, matched_b}, matched};
  }
};

__device__ inline void merge(RowPart& part, const RowPart& other) {
  part.state.a.merge(other.state.a);
  part.state.b.merge(other.state.b);
  part.state.matched_a += other.state.matched_a;
  part.state.matched_b += other.state.matched_b;
  part.matched += other.matched;
}

/// The part of lane (own ^ mask).
__device__ inline RowPart shuffle_part(const RowPart& x, int mask) {
  const auto softmax = [mask](const OnlineSoftmax& o) {
    return OnlineSoftmax{shuffle_xor(o.m, mask), shuffle_xor(o.l, mask), shuffle_xor(o.s, mask)};
  };
  return {{softmax(x.state.a), softmax(x.state.b), shuffle_xor(x.state.matched_a, mask),
           shuffle_xor(x.state.matched_b, mask)},
          shuffle_xor(x.matched, mask)};
}

}  // namespace cots::cuda
