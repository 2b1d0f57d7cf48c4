// One head of one sequence at a time: its keys and values go into panels once (ops/cpu/tile.h),
// then blocks of queries pass over them. Backward forms the probabilities of a block again and sums
// the gradients of keys and values over the blocks in the thread's own memory. Legend: l queries of
// a block, L keys, w head width.
#include "ops/attention.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <tuple>

#include "ops/cancel.h"
#include "ops/cpu/products.h"
#include "ops/cpu/tasks.h"

namespace cots::ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int64_t kQueryBlock = 48;  // whole tiles; scores of 577 keys take 110 KiB
constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Columns of one head in a matrix whose rows are `stride` apart.
struct HeadRows {
  const float* data;
  int64_t stride;
};

struct Head {
  HeadRows q, k, v, grad;  // grad: of the result, in backward
  float *out, *grad_q, *grad_k, *grad_v;
  int64_t out_stride, grad_q_stride, grad_stride;
  int64_t queries, keys, width;
  bool causal;
  float* memory;

  int64_t padded_keys() const { return panels_of(keys) * kLanes; }
  int64_t padded_width() const { return panels_of(width) * kLanes; }
  float scale() const { return 1 / std::sqrt(static_cast<float>(width)); }
};

/// Rows as the columns of panels, [rows / 16][w][16], times `scale`.
inline void pack_as_columns(const HeadRows& from, int64_t rows, int64_t width, float scale,
                            float* panels) {
  for (int64_t first = 0; first < rows; first += kLanes) {
    float* panel = panels + first * width;
    const int64_t count = std::min(kLanes, rows - first);
    for (int64_t l = 0; l < kLanes; ++l)
      for (int64_t j = 0; j < width; ++j)
        panel[j * kLanes + l] = l < count ? from.data[(first + l) * from.stride + j] * scale : 0;
  }
}

/// Rows as the rows of panels, [w / 16][rows][16].
inline void pack_as_rows(const HeadRows& from, int64_t rows, int64_t width, float* panels) {
  for (int64_t first = 0; first < width; first += kLanes)
    cut_panel(from.data, from.stride, rows, first, width, panels + first * rows);
}

/// Where the pieces of a head lie in its thread's memory.
class Layout {
 public:
  explicit Layout(float* memory) : next_(memory) {}
  float* take(int64_t floats) {
    float* const here = next_;
    next_ += (floats + kLanes - 1) / kLanes * kLanes;
    return here;
  }

 private:
  float* next_;
};

/// to[r][c] = A[r, :] B_c for `rows` rows of A, side by side, K long; columns in whole panels.
template <class Floats>
COTS_INLINE void multiply_rows(const float* A, int64_t rows, int64_t lda, const float* panels,
                               int64_t count, int64_t K, float* to) {
  each_tile<Floats>(
      rows, count,
      [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_tile<Floats, kRows, kPanels>(A + row * lda, lda, panels + panel * K * kLanes,
                                              K * kLanes, K, tile);
        for (int r = 0; r < kRows; ++r)
          for (int p = 0; p < kPanels; ++p)
            store(to + (row + r) * count * kLanes + (panel + p) * kLanes, tile[r][p]);
      });
}

/// sum[c][:] += A^T[c, :] B for the `columns` columns of A, whose K rows are `lda` apart.
template <class Floats>
COTS_INLINE void add_transposed(const float* A, int64_t columns, int64_t lda, const float* panels,
                                int64_t count, int64_t K, float* sum) {
  each_tile<Floats>(
      columns, count,
      [&]<int kRows, int kPanels>(int64_t row, int64_t panel) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_transposed_tile<Floats, kRows, kPanels>(A + row, lda, panels + panel * K * kLanes,
                                                         K * kLanes, K, tile);
        for (int r = 0; r < kRows; ++r)
          for (int p = 0; p < kPanels; ++p) {
            float* const at = sum + (row + r) * count * kLanes + (panel + p) * kLanes;
            store(at, load<Floats>(at) + tile[r][p]);
          }
      });
}

/// Probabilities of one row of scores, in place; `place` is the query's among the keys.
template <class Floats>
COTS_INLINE void softmax_row(const Head& h, int64_t place, float* row) {
  const int64_t visible = h.causal ? std::min(h.keys, place + 1) : h.keys, stride = h.padded_keys();
  for (int64_t c = visible; c < stride; ++c) row[c] = kNever;
  Floats most = splat<Floats>(kNever);
  for (int64_t c = 0; c < stride; c += kLanes) most = maximum(most, load<Floats>(row + c));
  const float largest = reduce_max(most);
  Floats sum{};
  for (int64_t c = 0; c < stride; c += kLanes) {
    const Floats p = exponential(load<Floats>(row + c) - largest);  // 0 where there is no key
    store(row + c, p);
    sum += p;
  }
  const float inverse = static_cast<float>(1 / reduce_sum(sum));
  for (int64_t c = 0; c < stride; c += kLanes) store(row + c, load<Floats>(row + c) * inverse);
}

/// Probabilities [rows, L to 16] of the queries [first, first + rows).
template <class Floats>
COTS_INLINE void probabilities(const Head& h, int64_t first, int64_t rows, const float* key_columns,
                               float* query_rows, float* scores) {
  const int64_t panels = panels_of(h.keys);
  for (int64_t r = 0; r < rows; ++r)  // rows of q are far apart: they would contend for the cache
    std::memcpy(query_rows + r * h.width, h.q.data + (first + r) * h.q.stride,
                static_cast<size_t>(h.width) * sizeof(float));
  multiply_rows<Floats>(query_rows, rows, h.width, key_columns, panels, h.width, scores);
  for (int64_t r = 0; r < rows; ++r)
    softmax_row<Floats>(h, first + r, scores + r * panels * kLanes);
}

/// `rows` rows of w numbers, of padded memory, to rows `stride` apart.
inline void write_rows(const float* from, int64_t rows, const Head& h, float* to, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(to + r * stride, from + r * h.padded_width(),
                static_cast<size_t>(h.width) * sizeof(float));
}

int64_t forward_memory(int64_t keys, int64_t width) {
  const int64_t L = panels_of(keys) * kLanes, w = panels_of(width) * kLanes;
  return 2 * L * w + kQueryBlock * (L + 2 * w) + 8 * kLanes;
}

template <class Floats>
COTS_INLINE void attend_body(const Head& h) {
  Layout memory(h.memory);
  const int64_t L = h.padded_keys(), w = h.padded_width();
  float *const key_columns = memory.take(L * h.width), *const value_rows = memory.take(w * h.keys),
               *const query_rows = memory.take(kQueryBlock * h.width),
               *const scores = memory.take(kQueryBlock * L),
               *const mixed = memory.take(kQueryBlock * w);
  pack_as_columns(h.k, h.keys, h.width, h.scale(), key_columns);
  pack_as_rows(h.v, h.keys, h.width, value_rows);
  for (int64_t first = 0; first < h.queries; first += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, h.queries - first);
    probabilities<Floats>(h, first, rows, key_columns, query_rows, scores);
    multiply_rows<Floats>(scores, rows, L, value_rows, panels_of(h.width), h.keys, mixed);
    write_rows(mixed, rows, h, h.out + first * h.out_stride, h.out_stride);
  }
}
COTS_LANE_VERSIONS(void, attend, (const Head& h), (h))

int64_t backward_memory(int64_t keys, int64_t width) {
  const int64_t L = panels_of(keys) * kLanes, w = panels_of(width) * kLanes;
  return 5 * L * w + kQueryBlock * (2 * L + 5 * w) + 16 * kLanes;
}

/// dS = P (dP - sum_j P dP) a row, in place of dP.
template <class Floats>
COTS_INLINE void softmax_row_backward(const float* p, int64_t stride, float* grad) {
  Floats sum{};
  for (int64_t c = 0; c < stride; c += kLanes) sum += load<Floats>(p + c) * load<Floats>(grad + c);
  const float mean = static_cast<float>(reduce_sum(sum));
  for (int64_t c = 0; c < stride; c += kLanes)
    store(grad + c, load<Floats>(p + c) * (load<Floats>(grad + c) - mean));
}

template <class Floats>
COTS_INLINE void attend_backward_body(const Head& h) {
  Layout memory(h.memory);
  const int64_t L = h.padded_keys(), w = h.padded_width(), columns = panels_of(h.width);
  float *const key_columns = memory.take(L * h.width),
               *const value_columns = memory.take(L * h.width),
               *const key_rows = memory.take(w * h.keys), *const grad_k = memory.take(L * w),
               *const grad_v = memory.take(L * w), *const p = memory.take(kQueryBlock * L),
               *const grad_s = memory.take(kQueryBlock * L),
               *const query_rows = memory.take(kQueryBlock * h.width),
               *const grad_rows = memory.take(kQueryBlock * h.width),
               *const query_panels = memory.take(kQueryBlock * w),
               *const grad_panels = memory.take(kQueryBlock * w),
               *const grad_q = memory.take(kQueryBlock * w);
  pack_as_columns(h.k, h.keys, h.width, h.scale(), key_columns);
  pack_as_columns(h.v, h.keys, h.width, 1, value_columns);
  pack_as_rows(h.k, h.keys, h.width, key_rows);
  std::fill_n(grad_k, L * w, 0.0F);
  std::fill_n(grad_v, L * w, 0.0F);
  for (int64_t first = 0; first < h.queries; first += kQueryBlock) {
    const int64_t rows = std::min(kQueryBlock, h.queries - first);
    const HeadRows q{h.q.data + first * h.q.stride, h.q.stride},
        grad{h.grad.data + first * h.grad.stride, h.grad.stride};
    probabilities<Floats>(h, first, rows, key_columns, query_rows, p);
    for (int64_t r = 0; r < rows; ++r)
      std::memcpy(grad_rows + r * h.width, grad.data + r * grad.stride,
                  static_cast<size_t>(h.width) * sizeof(float));
    multiply_rows<Floats>(grad_rows, rows, h.width, value_columns, panels_of(h.keys), h.width,
                          grad_s);
    for (int64_t r = 0; r < rows; ++r) softmax_row_backward<Floats>(p + r * L, L, grad_s + r * L);
    pack_as_rows(q, rows, h.width, query_panels);
    pack_as_rows(grad, rows, h.width, grad_panels);
    multiply_rows<Floats>(grad_s, rows, L, key_rows, columns, h.keys, grad_q);
    add_transposed<Floats>(grad_s, h.keys, L, query_panels, columns, rows, grad_k);
    add_transposed<Floats>(p, h.keys, L, grad_panels, columns, rows, grad_v);
    for (int64_t i = 0; i < rows * w; ++i) grad_q[i] *= h.scale();
    write_rows(grad_q, rows, h, h.grad_q + first * h.grad_q_stride, h.grad_q_stride);
  }
  for (int64_t i = 0; i < h.keys * w; ++i) grad_k[i] *= h.scale();
  write_rows(grad_k, h.keys, h, h.grad_k, h.grad_stride);
  write_rows(grad_v, h.keys, h, h.grad_v, h.grad_stride);
}
COTS_LANE_VERSIONS(void, attend_backward, (const Head& h), (h))

// ------------------------------------------------------------------------------------- tensors

/// The matrices of a call, and the head of sequence s in them.
struct Sequences {
  Tensor rows, query, starts, grad, out, grad_rows, grad_query;  // contiguous; some undefined
  int64_t heads, width;                                          // of all heads together
  bool causal;

  int64_t count() const { return starts.numel() - 1; }
  bool first_only() const { return query.defined(); }
  Head head(int64_t s, int64_t index) const {
    const int64_t* start = starts.const_data_ptr<int64_t>() + s;
    const int64_t w = width / heads, column = index * w, parts = first_only() ? 2 : 3,
                  stride = parts * width, from = start[0] * stride + column,
                  result = (first_only() ? s : start[0]) * width + column;
    const auto at = [](const Tensor& t, int64_t place) {
      return t.defined() ? t.mutable_data_ptr<float>() + place : nullptr;
    };
    Head h{};
    h.q = first_only() ? HeadRows{at(query, result), width} : HeadRows{at(rows, from), stride};
    h.k = {at(rows, from + (parts - 2) * width), stride};
    h.v = {at(rows, from + (parts - 1) * width), stride};
    h.grad = {at(grad, result), width};
    h.out = at(out, result);
    h.out_stride = width;
    h.grad_q = first_only() ? at(grad_query, result) : at(grad_rows, from);
    h.grad_q_stride = first_only() ? width : stride;
    h.grad_k = at(grad_rows, from + (parts - 2) * width);
    h.grad_v = at(grad_rows, from + (parts - 1) * width);
    h.grad_stride = stride;
    h.keys = start[1] - start[0];
    h.queries = first_only() ? 1 : h.keys;
    h.width = w;
    h.causal = causal;
    return h;
  }
};

Sequences sequences_of(const Tensor& rows, const OptionalTensor& query, const Tensor& starts,
                       int64_t heads, bool causal) {
  const int64_t parts = query ? 2 : 3;
  TORCH_CHECK(rows.dim() == 2 && rows.scalar_type() == at::kFloat && heads > 0 &&
                  rows.size(1) % (parts * heads) == 0,
              "attention: expected rows as float32 [M, ", parts, " d] with d a multiple of ", heads,
              " heads, got ", rows.scalar_type(), " ", rows.sizes());
  TORCH_CHECK(starts.dim() == 1 && starts.scalar_type() == at::kLong && starts.numel() > 0 &&
                  starts.is_contiguous(),
              "attention: expected starts as int64 [S + 1], got ", starts.scalar_type(), " ",
              starts.sizes());
  const int64_t width = rows.size(1) / parts, S = starts.numel() - 1;
  const int64_t* start = starts.const_data_ptr<int64_t>();
  TORCH_CHECK(start[0] == 0 && start[S] == rows.size(0) &&
                  std::adjacent_find(start, start + S + 1, std::greater_equal<>()) == start + S + 1,
              "attention: expected starts that rise from 0 to ", rows.size(0));
  TORCH_CHECK(!query || (query->sizes() == at::IntArrayRef({S, width}) &&
                         query->scalar_type() == at::kFloat),
              "attention: expected a query as float32 [", S, ", ", width, "]");
  Sequences sequences{};
  sequences.rows = rows.contiguous();
  if (query) sequences.query = query->contiguous();
  sequences.starts = starts;
  sequences.heads = heads, sequences.width = width, sequences.causal = causal;
  return sequences;
}

template <class F>
void for_each_head(const Sequences& sequences, int64_t (*memory)(int64_t, int64_t), const F& f) {
  check_cancelled();
  for_each_task(sequences.count() * sequences.heads, [&](int64_t task) {
    Head head = sequences.head(task / sequences.heads, task % sequences.heads);
    head.memory = scratch(memory(head.keys, head.width));
    f(head);
  });
}

Tensor attention_cpu(const Tensor& rows, const OptionalTensor& query, const Tensor& starts,
                     int64_t heads, bool causal) {
  Sequences sequences = sequences_of(rows, query, starts, heads, causal);
  sequences.out =
      at::empty({query ? sequences.count() : rows.size(0), sequences.width}, rows.options());
  for_each_head(sequences, forward_memory, [](const Head& head) { attend(head); });
  return sequences.out;
}

std::tuple<Tensor, Tensor> attention_backward_cpu(const Tensor& grad, const Tensor& rows,
                                                  const OptionalTensor& query, const Tensor& starts,
                                                  int64_t heads, bool causal) {
  Sequences sequences = sequences_of(rows, query, starts, heads, causal);
  sequences.grad = grad.contiguous();
  sequences.grad_rows = at::empty(rows.sizes(), rows.options());
  if (query) sequences.grad_query = at::empty(query->sizes(), query->options());
  for_each_head(sequences, backward_memory, [](const Head& head) { attend_backward(head); });
  return {sequences.grad_rows, sequences.grad_query};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) {
  m.impl("attention", attention_cpu);
  m.impl("attention_backward", attention_backward_cpu);
}

}  // namespace cots::ops
