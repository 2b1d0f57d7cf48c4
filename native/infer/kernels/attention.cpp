// One head of one sequence at a time: its keys and values go into panels once
// (ops/cpu/tile.h), then blocks of queries pass over them: scores, softmax in place, and the
// mix of the values while the block is in the cache. Legend: l queries of a block, L keys, w head
// width.
#include "infer/kernels/attention.h"

#include <cmath>
#include <limits>

#include "infer/kernels/tasks.h"
#include "ops/cpu/tile.h"

namespace cots::kernels {
namespace {

using namespace ops;  // the lanes and their tiles

constexpr int64_t kQueryBlock = 48;  // whole tiles; scores of 577 keys take 110 KiB
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Memory of a thread that is kept from call to call, on a cache line.
float* scratch(int64_t floats) {
  static thread_local std::vector<float> memory;
  constexpr size_t kLine = 64;
  if (memory.size() < static_cast<size_t>(floats) + kLanes)
    memory.resize(static_cast<size_t>(floats) + kLanes);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return memory.data() + ((address + kLine - 1) / kLine * kLine - address) / sizeof(float);
}

/// One head of one sequence, and where its panels and scores lie.
struct Head {
  const float *q, *k, *v, *bias;  // bias: row of query place 0, or null
  float* out;
  int64_t q_stride, k_stride, v_stride, bias_stride, out_stride;
  int64_t keys, first_query, width;
  bool causal;
  float *key_panels, *value_panels;  // [L / 16][w][16], [w / 16][L][16]
  float *queries, *scores;           // of a block: [48][w], [48][L to 16]
};

/// The keys over sqrt(w) as panels; what is beyond them is zero.
COTS_INLINE void pack_keys(const Head& h) {
  const float scale = 1 / std::sqrt(static_cast<float>(h.width));
  for (int64_t first = 0; first < h.keys; first += kLanes) {
    float* panel = h.key_panels + first * h.width;
    const int64_t count = std::min(kLanes, h.keys - first);
    for (int64_t l = 0; l < count; ++l) {
      const float* row = h.k + (first + l) * h.k_stride;
      for (int64_t j = 0; j < h.width; ++j) panel[j * kLanes + l] = row[j] * scale;
    }
    for (int64_t l = count; l < kLanes; ++l)
      for (int64_t j = 0; j < h.width; ++j) panel[j * kLanes + l] = 0;
  }
}

COTS_INLINE void pack_values(const Head& h) {
  for (int64_t first = 0; first < h.width; first += kLanes) {
    float* panel = h.value_panels + first * h.keys;
    const int64_t count = std::min(kLanes, h.width - first);
    for (int64_t key = 0; key < h.keys; ++key)
      for (int64_t l = 0; l < kLanes; ++l)
        panel[key * kLanes + l] = l < count ? h.v[key * h.v_stride + first + l] : 0;
  }
}

/// scores[r][c] of kRows queries and one panel of keys.
template <class Floats, int kRows, int kPanels>
COTS_INLINE void score_tile(const Head& h, int64_t row, int64_t panel, int64_t stride) {
  Floats sum[kRows][kPanels];
  const int64_t panel_size = h.width * kLanes;
  multiply_tile<Floats, kRows, kPanels>(h.queries + row * h.width, h.width,
                                        h.key_panels + panel * panel_size, panel_size, h.width,
                                        sum);
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kPanels; ++c)
      store(h.scores + (row + r) * stride + (panel + c) * kLanes, sum[r][c]);
}

/// e^(s - max) of one row in place; returns 1 / their sum.
template <class Floats>
COTS_INLINE float softmax_row(const Head& h, int64_t place, float* row, int64_t stride) {
  const int64_t visible = h.causal ? std::min(h.keys, place + 1) : h.keys,
                whole = visible / kLanes * kLanes;
  if (h.bias != nullptr) {
    const float* bias = h.bias + place * h.bias_stride;
    for (int64_t c = 0; c < visible; ++c) row[c] += bias[c];
  }
  for (int64_t c = visible; c < stride; ++c) row[c] = kNever;
  Floats most = splat<Floats>(kNever);
  for (int64_t c = 0; c < stride; c += kLanes) most = maximum(most, load<Floats>(row + c));
  const float largest = reduce_max(most);
  const Floats least = splat<Floats>(-87.3f);  // e^-87.3 is as good as 0
  Floats sum{};
  for (int64_t c = 0; c < whole; c += kLanes) {
    const Floats p = normal_exponential(maximum(load<Floats>(row + c) - largest, least));
    store(row + c, p);
    sum += p;
  }
  for (int64_t c = whole; c < stride; c += kLanes) {
    const Floats p = exponential(load<Floats>(row + c) - largest);  // 0 where there is no key
    store(row + c, p);
    sum += p;
  }
  return static_cast<float>(1 / reduce_sum(sum));
}

template <class Floats, int kRows, int kPanels>
COTS_INLINE void mix_tile(const Head& h, int64_t query, int64_t row, int64_t panel, int64_t stride,
                          const float* inverse_sums) {
  Floats sum[kRows][kPanels];
  const int64_t panel_size = h.keys * kLanes;
  multiply_tile<Floats, kRows, kPanels>(h.scores + row * stride, stride,
                                        h.value_panels + panel * panel_size, panel_size, h.keys,
                                        sum);
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kPanels; ++c) {
      const int64_t column = (panel + c) * kLanes, count = std::min(kLanes, h.width - column);
      float* to = h.out + (query + row + r) * h.out_stride + column;
      const Floats mixed = sum[r][c] * inverse_sums[row + r];
      if (count == kLanes)
        store(to, mixed);
      else
        store_part(to, count, mixed);
    }
}

/// The queries [query, query_end) of one head.
template <class Floats>
COTS_INLINE void attend_body(const Head& h, int64_t query, int64_t query_end) {
  pack_keys(h);
  pack_values(h);
  const int64_t key_panels = panels_of(h.keys), stride = key_panels * kLanes;
  float inverse_sums[kQueryBlock];
  for (; query < query_end; query += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, query_end - query);
    for (int64_t r = 0; r < rows; ++r)  // rows of q are far apart: they would contend for the cache
      std::memcpy(h.queries + r * h.width, h.q + (query + r) * h.q_stride,
                  static_cast<size_t>(h.width) * sizeof(float));
    each_tile<Floats>(
        rows, key_panels,
        [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
          score_tile<Floats, kRows, kPanels>(h, row, panel, stride);
        });
    for (int64_t r = 0; r < rows; ++r)
      inverse_sums[r] =
          softmax_row<Floats>(h, h.first_query + query + r, h.scores + r * stride, stride);
    each_tile<Floats>(
        rows, panels_of(h.width),
        [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
          mix_tile<Floats, kRows, kPanels>(h, query, row, panel, stride, inverse_sums);
        });
  }
}
COTS_LANE_VERSIONS(void, attend, (const Head& h, int64_t query, int64_t query_end),
                   (h, query, query_end))

/// Head `head` of a sequence, with its scratch memory.
Head head_of(const AttentionShape& shape, const AttentionSequence& s, int64_t head) {
  const int64_t column = head * shape.head_width, length = shape.bias_length;
  const int64_t keys_size = panels_of(s.keys) * kLanes * shape.head_width,
                values_size = panels_of(shape.head_width) * kLanes * s.keys,
                queries_size = kQueryBlock * panels_of(shape.head_width) * kLanes,
                scores_size = kQueryBlock * panels_of(s.keys) * kLanes;
  float* memory = scratch(keys_size + values_size + queries_size + scores_size);
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
          .queries = memory + keys_size + values_size,
          .scores = memory + keys_size + values_size + queries_size};
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
      attend(head_of(shape, s, task / pieces % shape.heads), first,
             std::min(s.queries, first + size));
  });
}

}  // namespace cots::kernels
