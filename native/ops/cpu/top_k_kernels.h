// What a search does with a block of rows in memory: scores, the largest norm, and which scores are
// worth a second look. Legend: T rows, D embedding, Q queries, C queries filled up to whole panels.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/cpu/lanes.h"
#include "ops/cpu/tile.h"

namespace cots::ops {
namespace {

template <class Floats>
COTS_INLINE float dot(const float* x, const float* y, int64_t D) {
  Floats sum{};
  const int64_t whole = D / kLanes * kLanes;
  for (int64_t k = 0; k < whole; k += kLanes) {
    __builtin_prefetch(reinterpret_cast<const char*>(y + k) + kPrefetchBytes);
    sum += load<Floats>(x + k) * load<Floats>(y + k);
  }
  if (whole < D)
    sum += load_part<Floats>(x + whole, D - whole, 0) * load_part<Floats>(y + whole, D - whole, 0);
  return reduce_sum_fast(sum);
}

/// scores[t] = q . gallery row t for t < T.
template <class Floats>
COTS_INLINE void score_rows_body(const float* q, const float* gallery, int64_t T, int64_t D,
                                 float* scores) {
  for (int64_t t = 0; t < T; ++t) scores[t] = dot<Floats>(q, gallery + t * D, D);
}
COTS_LANE_VERSIONS(void, score_rows,
                   (const float* q, const float* gallery, int64_t T, int64_t D, float* scores),
                   (q, gallery, T, D, scores))

template <class Floats>
COTS_INLINE float largest_square_body(const float* gallery, int64_t T, int64_t D) {
  float largest = 0;
  for (int64_t t = 0; t < T; ++t) {
    const float square = dot<Floats>(gallery + t * D, gallery + t * D, D);
    if (!(square <= largest)) largest = square;  // NaN stays: nothing compares with it
  }
  return largest;
}
COTS_LANE_VERSIONS(float, largest_square, (const float* gallery, int64_t T, int64_t D),
                   (gallery, T, D))

/// Places of the scores that are not below their thresholds (NaN is not below); returns how many.
/// threshold(i) is that of scores[i].
template <class Threshold>
COTS_INLINE int64_t collect(const float* scores, int64_t n, const Threshold& threshold,
                            int32_t* places) {
  constexpr int64_t kBlock = 4 * kLanes;
  int64_t found = 0, i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    int32_t below[kBlock], all = -1;
    for (int64_t l = 0; l < kBlock; ++l) below[l] = scores[i + l] < threshold(i + l) ? -1 : 0;
    for (int64_t l = 0; l < kBlock; ++l) all &= below[l];
    if (all) continue;
    for (int64_t l = 0; l < kBlock; ++l)
      if (!below[l]) places[found++] = static_cast<int32_t>(i + l);
  }
  for (; i < n; ++i)
    if (!(scores[i] < threshold(i))) places[found++] = static_cast<int32_t>(i);
  return found;
}

COTS_INLINE int64_t collect_rows_body(const float* scores, int64_t T, float threshold,
                                      int32_t* places) {
  return collect(
      scores, T, [&](int64_t) { return threshold; }, places);
}
/// Of one query: places of rows.
COTS_VERSIONS(int64_t, collect_rows,
              (const float* scores, int64_t T, float threshold, int32_t* places),
              (scores, T, threshold, places))

COTS_INLINE int64_t collect_queries_body(const float* scores, int64_t C, const float* thresholds,
                                         int32_t* places) {
  return collect(
      scores, C, [&](int64_t c) { return thresholds[c]; }, places);
}
/// Of one row: places of queries.
COTS_VERSIONS(int64_t, collect_queries,
              (const float* scores, int64_t C, const float* thresholds, int32_t* places),
              (scores, C, thresholds, places))

/// scores [T, C] of gallery rows [T, D] and queries in panels [C / 16][D][16].
template <class Floats>
COTS_INLINE void score_panels_body(const float* gallery, int64_t T, int64_t D, const float* panels,
                                   int64_t C, float* scores) {
  each_tile<Floats>(
      T, C / kLanes,
      [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
        Floats sum[kRows][kPanels];
        multiply_tile(gallery + row * D, D, panels + panel * D * kLanes, D * kLanes, D, sum);
        float* out = scores + row * C + panel * kLanes;
        for (int r = 0; r < kRows; ++r)
          for (int p = 0; p < kPanels; ++p) store(out + r * C + p * kLanes, sum[r][p]);
      });
}
COTS_LANE_VERSIONS(void, score_panels,
                   (const float* gallery, int64_t T, int64_t D, const float* panels, int64_t C,
                    float* scores),
                   (gallery, T, D, panels, C, scores))

/// [Q, D] as panels [C / 16][D][16], filled up with zeros.
std::vector<float> pack_queries(const float* queries, int64_t Q, int64_t D) {
  std::vector<float> panels(static_cast<size_t>(panels_of(Q) * kLanes * D));
  for (int64_t q = 0; q < Q; q += kLanes)
    pack_panel(queries + q * D, std::min(kLanes, Q - q), D, panels.data() + q * D);
  return panels;
}

}  // namespace
}  // namespace cots::ops
