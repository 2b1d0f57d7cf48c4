// One head of one sequence at a time: its keys and values go into panels once
// (ops/cpu/tile.h), then blocks of queries pass over them: scores, softmax in place, and the
// mix of the values while the block is in the cache. Legend: l queries of a block, L keys, w head
// width.
#include "infer/kernels/attention.h"

#include <cmath>
#include <limits>

#include "infer/kernels/products.h"
#include "infer/kernels/tasks.h"

namespace cots::kernels {
namespace {

constexpr int64_t kQueryBlock = 48;  // whole tiles; scores of 577 keys take 110 KiB
constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kLog2E = 1.44269504088896341f;  // scores are kept in units of log 2
constexpr float kLeastPower = -126;             // 2^-126 is as good as 0

int64_t to_lanes(int64_t count) { return panels_of(count) * kLanes; }

/// One head of one sequence, and where its panels and scores lie. All memory is counted in floats,
/// which is enough for any number type.
struct Head {
  const float *q, *k, *v, *bias;  // bias: row of query place 0, or null
  float* out;
  int64_t q_stride, k_stride, v_stride, bias_stride, out_stride;
  int64_t keys, first_query, width;
  bool causal;
  float *key_panels, *value_panels;  // [L / 16][w][16], [w / 16][L][16]
  float *rows, *scores;              // queries of a block [48][w], or 16 keys; [48][L to 16]
};

template <class Products>
typename Products::Number* numbers(float* memory) {
  return reinterpret_cast<typename Products::Number*>(memory);
}
/// Cells that `count` numbers of the summed index take.
template <class Products>
constexpr int64_t cells_of(int64_t count) {
  return (count + Products::kTogether - 1) / Products::kTogether;
}

/// Asks for what a head reads of a row some rows on: rows lie too far apart for the hardware's own
/// prefetch.
COTS_INLINE void prefetch_row(const float* row, int64_t stride, int64_t width) {
  constexpr int64_t kRowsAhead = 12;
  for (int64_t j = 0; j < width; j += kLanes) __builtin_prefetch(row + kRowsAhead * stride + j);
}

/// x [width] times `scale` as numbers, filled up with zeros to whole lanes.
template <class Products>
COTS_INLINE void put_row(const float* x, int64_t width, float scale,
                         typename Products::Number* to) {
  for (int64_t j = 0; j < width; j += kLanes)
    Products::put(load_run<typename Products::Floats>(x + j, width - j) * scale, to + j);
}

/// The keys, by log2 e / sqrt(w), as panels; what is beyond them is zero.
template <class Products>
COTS_INLINE void pack_keys(const Head& h) {
  const float scale = kLog2E / std::sqrt(static_cast<float>(h.width));
  const int64_t stride = to_lanes(h.width), cells = cells_of<Products>(stride),
                panel_size = cells_of<Products>(h.width) * kLanes;
  auto* rows = numbers<Products>(h.rows);
  for (int64_t first = 0, panel = 0; first < h.keys; first += kLanes, ++panel) {
    const int64_t count = std::min(kLanes, h.keys - first);
    for (int64_t l = 0; l < count; ++l) {
      const float* key = h.k + (first + l) * h.k_stride;
      prefetch_row(key, h.k_stride, h.width);
      put_row<Products>(key, h.width, scale, rows + l * stride);
    }
    std::fill(rows + count * stride, rows + kLanes * stride, typename Products::Number{});
    transpose_cells(rows, cells, cells_of<Products>(h.width), h.key_panels + panel * panel_size);
  }
}

template <class Products>
COTS_INLINE void pack_values(const Head& h) {
  using Floats = typename Products::Floats;
  const int64_t steps = cells_of<Products>(h.keys);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t key = step * Products::kTogether;
    for (int64_t i = 0; i < Products::kTogether; ++i)
      prefetch_row(h.v + (key + i) * h.v_stride, h.v_stride, h.width);
    for (int64_t first = 0, panel = 0; first < h.width; first += kLanes, ++panel) {
      Floats rows[Products::kTogether] = {};
      for (int64_t i = 0; i < Products::kTogether && key + i < h.keys; ++i)
        rows[i] = load_run<Floats>(h.v + (key + i) * h.v_stride + first, h.width - first);
      Products::join(rows, numbers<Products>(h.value_panels + (panel * steps + step) * kLanes));
    }
  }
}

/// scores[r][c] of kRows queries and kPanels panels of keys.
template <class Products, int kRows, int kPanels>
COTS_INLINE void score_tile(const Head& h, int64_t row, int64_t panel, int64_t stride) {
  typename Products::Floats sum[kRows][kPanels];
  const int64_t steps = cells_of<Products>(h.width), row_size = to_lanes(h.width);
  Products::multiply(numbers<Products>(h.rows) + row * row_size, row_size,
                     numbers<Products>(h.key_panels + panel * steps * kLanes),
                     steps * kLanes * Products::kTogether, steps, sum);
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kPanels; ++c)
      store(h.scores + (row + r) * stride + (panel + c) * kLanes, sum[r][c]);
}

/// 2^(s - max) of one row, in place as numbers; returns 1 / their sum.
template <class Products>
COTS_INLINE float softmax_row(const Head& h, int64_t place, float* row, int64_t stride) {
  using Floats = typename Products::Floats;
  constexpr int kTerms = Products::kExponentialTerms;
  const int64_t visible = h.causal ? std::min(h.keys, place + 1) : h.keys,
                whole = visible / kLanes * kLanes;
  if (h.bias != nullptr) {
    const float* bias = h.bias + place * h.bias_stride;
    for (int64_t c = 0; c < visible; ++c) row[c] += kLog2E * bias[c];
  }
  for (int64_t c = visible; c < stride; ++c) row[c] = kNever;
  Floats most = splat<Floats>(kNever);
  for (int64_t c = 0; c < stride; c += kLanes) most = maximum(most, load<Floats>(row + c));
  const float largest = reduce_max(most);
  const Floats least = splat<Floats>(kLeastPower);
  Floats sum{};
  auto* to = numbers<Products>(row);  // a number never lies behind its score
  for (int64_t c = 0; c < whole; c += kLanes) {
    const Floats p = exp2<kTerms>(maximum(load<Floats>(row + c) - largest, least));
    Products::put(p, to + c);
    sum += p;
  }
  for (int64_t c = whole; c < stride; c += kLanes) {
    const Floats p = exp2_or_zero<kTerms>(load<Floats>(row + c) - largest);
    Products::put(p, to + c);
    sum += p;
  }
  return 1 / reduce_sum_fast(sum);
}

template <class Products, int kRows, int kPanels>
COTS_INLINE void mix_tile(const Head& h, int64_t query, int64_t row, int64_t panel, int64_t stride,
                          const float* inverse_sums) {
  typename Products::Floats sum[kRows][kPanels];
  const int64_t steps = cells_of<Products>(h.keys);
  const int64_t row_size = stride * static_cast<int64_t>(sizeof(float)) /
                           static_cast<int64_t>(sizeof(typename Products::Number));
  Products::multiply(numbers<Products>(h.scores + row * stride), row_size,
                     numbers<Products>(h.value_panels + panel * steps * kLanes),
                     steps * kLanes * Products::kTogether, steps, sum);
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kPanels; ++c) {
      const int64_t column = (panel + c) * kLanes, count = std::min(kLanes, h.width - column);
      float* to = h.out + (query + row + r) * h.out_stride + column;
      store_run(to, count, sum[r][c] * inverse_sums[row + r]);
    }
}

/// The queries [query, query_end) of one head.
template <class Products>
COTS_INLINE void attend_by(const Head& h, int64_t query, int64_t query_end) {
  using Tile = typename Products::Tile;
  pack_keys<Products>(h);
  pack_values<Products>(h);
  const int64_t key_panels = panels_of(h.keys), stride = key_panels * kLanes;
  float inverse_sums[kQueryBlock];
  for (; query < query_end; query += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, query_end - query);
    for (int64_t r = 0; r < rows;
         ++r) {  // rows of q lie far apart: they would contend for the cache
      const float* from = h.q + (query + r) * h.q_stride;
      prefetch_row(from, h.q_stride, h.width);
      put_row<Products>(from, h.width, 1, numbers<Products>(h.rows) + r * to_lanes(h.width));
    }
    each_tile<Tile>(
        rows, key_panels,
        [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
          score_tile<Products, kRows, kPanels>(h, row, panel, stride);
        });
    for (int64_t r = 0; r < rows; ++r)
      inverse_sums[r] =
          softmax_row<Products>(h, h.first_query + query + r, h.scores + r * stride, stride);
    each_tile<Tile>(
        rows, panels_of(h.width),
        [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
          mix_tile<Products, kRows, kPanels>(h, query, row, panel, stride, inverse_sums);
        });
  }
}
template <class Floats>
COTS_INLINE void attend_body(const Head& h, int64_t query, int64_t query_end) {
  attend_by<FloatProducts<Floats>>(h, query, query_end);
}
COTS_LANE_VERSIONS(void, attend, (const Head& h, int64_t query, int64_t query_end),
                   (h, query, query_end))

void attend_halves_portable(const Head& h, int64_t query, int64_t query_end) {
  attend_by<HalfProducts<PlainDot2>>(h, query, query_end);
}
#ifdef COTS_HAS_BFLOAT16_DOTS
COTS_AVX512_BFLOAT16 void attend_halves_avx512(const Head& h, int64_t query, int64_t query_end) {
  attend_by<HalfProducts<Avx512Dot2>>(h, query, query_end);
}
#endif

void attend_as(const AttentionShape& shape, const Head& h, int64_t query, int64_t query_end) {
  if (shape.products == AttentionProducts::kFloat32) return attend(h, query, query_end);
#ifdef COTS_HAS_BFLOAT16_DOTS
  if (shape.path == Dot2Path::kAvx512Bf16) return attend_halves_avx512(h, query, query_end);
#endif
  attend_halves_portable(h, query, query_end);
}

/// Head `head` of a sequence, with its scratch memory.
Head head_of(const AttentionShape& shape, const AttentionSequence& s, int64_t head) {
  const int64_t column = head * shape.head_width, length = shape.bias_length;
  const int64_t keys_size = to_lanes(s.keys) * shape.head_width,
                values_size = to_lanes(shape.head_width) * s.keys,
                rows_size = kQueryBlock * to_lanes(shape.head_width),
                scores_size = kQueryBlock * to_lanes(s.keys);
  float* memory = scratch(keys_size + values_size + rows_size + scores_size);
  return {.q = s.q.data + column,
          .k = s.k.data + column,
          .v = s.v.data + column,
          .bias = shape.bias == nullptr ? nullptr : shape.bias + head * length * length,
          .out = s.out + column,
          .q_stride = s.q.stride,
          .k_stride = s.k.stride,
          .v_stride = s.v.stride,
          .bias_stride = length,
          .out_stride = s.out_stride,
          .keys = s.keys,
          .first_query = s.first_query,
          .width = shape.head_width,
          .causal = shape.causal,
          .key_panels = memory,
          .value_panels = memory + keys_size,
          .rows = memory + keys_size + values_size,
          .scores = memory + keys_size + values_size + rows_size};
}

}  // namespace

void attention(const AttentionShape& shape, const std::vector<AttentionSequence>& sequences) {
  const int64_t heads = static_cast<int64_t>(sequences.size()) * shape.heads;
  int64_t longest = 0;
  for (const AttentionSequence& s : sequences) longest = std::max(longest, s.queries);
  // A long sequence alone is cut by its queries too; each piece packs the keys for itself.
  const int64_t pieces = cuts(heads, std::max<int64_t>(longest / (2 * kQueryBlock), 1));
  for_each_task(heads * pieces, [&](int64_t task) {
    const AttentionSequence& s = sequences[task / pieces / shape.heads];
    const int64_t blocks = (s.queries + kQueryBlock - 1) / kQueryBlock,
                  size = (blocks + pieces - 1) / pieces * kQueryBlock,
                  first = std::min(s.queries, task % pieces * size);
    if (first < s.queries)
      attend_as(shape, head_of(shape, s, task / pieces % shape.heads), first,
                std::min(s.queries, first + size));
  });
}

}  // namespace cots::kernels
