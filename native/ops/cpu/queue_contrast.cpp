// Two sweeps over tiles of the queue (SPEC 3.5): the first keeps an online softmax of each row and
// direction, the second forms the logits again and turns them into gradients at once. No [B, n]
// matrix: memory is a pair of logit tiles a thread and a [B, D] gradient a chunk of columns. Chunks
// depend on the shapes alone and their results are added in order, so a run repeats bit for bit
// with any number of threads. Legend: B pairs with
// a weight, n queue entries, D embedding, R rows and T columns of a tile, C chunks of columns; a:
// image to text, b: text to image.
#include "ops/queue_contrast.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cancel.h"
#include "ops/cpu/products.h"
#include "ops/cpu/queue_contrast_columns.h"
#include "ops/cpu/queue_contrast_rows.h"
#include "ops/cpu/tasks.h"
#include "ops/queue_contrast_row.h"

namespace cots::ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int64_t kTileRows = 256;
constexpr int64_t kTileFloats =
    1 << 16;  // two logit tiles and two queue tiles stay in a 2 MiB L2 cache
constexpr int64_t kChunkColumns = 1024;  // at least
constexpr int64_t kMaxChunks = 64;
constexpr int64_t kAccumulatorBytes = 32 << 20;  // of all chunks together

struct Problem {
  Tensor image_BD, text_BD, image_key_BD, text_key_BD, image_queue_nD,
      text_queue_nD;            // contiguous, weighted rows only
  std::vector<double> share_B;  // w_i / W
  double scale;
  ColumnLists masked, matched;
  ContrastOptions options;

  int64_t rows() const { return image_BD.size(0); }
  int64_t columns() const { return image_queue_nD.size(0); }
  int64_t width() const { return image_BD.size(1); }
  int64_t chunks() const {
    const int64_t fit = kAccumulatorBytes / std::max<int64_t>(2 * 4 * rows() * width(), 1);
    const int64_t wanted =
        std::clamp<int64_t>(std::min(columns() / kChunkColumns, fit), 1, kMaxChunks);
    return columns() == 0 ? 0 : wanted;
  }
};

struct Tile {
  int64_t chunk, row, rows, column, columns;
};

const float* at_row(const Tensor& matrix, int64_t row) {
  return matrix.const_data_ptr<float>() + row * matrix.size(1);
}

/// to[r, t] = scale * query[r, :] . queue[t, :]; `panels` gets the queue's rows as columns.
template <class Floats>
COTS_INLINE void form_logits_body(const float* query, int64_t R, const float* queue, int64_t T,
                                  int64_t D, float scale, float* panels, float* to) {
  for (int64_t t = 0; t < T; t += kLanes)
    pack_panel(queue + t * D, std::min(kLanes, T - t), D, panels + t * D);
  each_tile<Floats>(
      R, panels_of(T),
      [&]<int kRows, int kPanels>(int64_t r, int64_t c) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_tile<Floats, kRows, kPanels>(query + r * D, D, panels + c * D * kLanes, D * kLanes,
                                              D, tile);
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kPanels; ++j)
            store_tile_row(to + (r + i) * T, T, (c + j) * kLanes, tile[i][j] * scale,
                           /*add=*/false);
      });
}
COTS_LANE_VERSIONS(void, form_logits,
                   (const float* query, int64_t R, const float* queue, int64_t T, int64_t D,
                    float scale, float* panels, float* to),
                   (query, R, queue, T, D, scale, panels, to))

/// sum[r, :] += scale * g[r, :] queue; `panels` gets the queue's rows as rows.
template <class Floats>
COTS_INLINE void add_products_body(const float* g, int64_t R, const float* queue, int64_t T,
                                   int64_t D, float scale, float* panels, float* sum) {
  for (int64_t k = 0; k < D; k += kLanes) cut_panel(queue, D, T, k, D, panels + k * T);
  each_tile<Floats>(
      R, panels_of(D),
      [&]<int kRows, int kPanels>(int64_t r, int64_t c) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_tile<Floats, kRows, kPanels>(g + r * T, T, panels + c * T * kLanes, T * kLanes, T,
                                              tile);
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kPanels; ++j)
            store_tile_row(sum + (r + i) * D, D, (c + j) * kLanes, tile[i][j] * scale,
                           /*add=*/true);
      });
}
COTS_LANE_VERSIONS(void, add_products,
                   (const float* g, int64_t R, const float* queue, int64_t T, int64_t D,
                    float scale, float* panels, float* sum),
                   (g, R, queue, T, D, scale, panels, sum))

void mask_columns(const ColumnLists& masked, const Tile& t, float* a, float* b) {
  if (masked.empty()) return;
  for (int64_t r = 0; r < t.rows; ++r)
    for (const int64_t j : masked.within(t.row + r, t.column, t.column + t.columns))
      a[r * t.columns + j - t.column] = b[r * t.columns + j - t.column] = kMaskedLogit;
}

/// Calls visit(tile, a_RT, b_RT, panels) with the logits of every tile and memory for its columns
/// of the queue as panels; chunks in parallel, the tiles of a chunk in order.
template <class F>
void for_each_tile(const Problem& p, const F& visit) {
  const int64_t B = p.rows(), n = p.columns(), C = p.chunks(), D = p.width();
  const int64_t rows = std::min(B, kTileRows);
  const int64_t tile = std::clamp<int64_t>(kTileFloats / std::max<int64_t>(rows, 1), 64, 1024);
  const auto scale = static_cast<float>(p.scale);
  const std::atomic<bool>* cancel = cancel_flag();
  at::parallel_for(0, C, 1, [&](int64_t begin, int64_t end) {
    const CancelScope scope(cancel);
    const int64_t logits = rows * tile, panels = panels_of(tile) * panels_of(D) * kLanes * kLanes;
    float *const a = scratch(2 * logits + panels), *const b = a + logits,
                 *const packed = b + logits;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t last = n * (chunk + 1) / C;
      for (int64_t column = n * chunk / C; column < last; column += tile) {
        check_cancelled();
        for (int64_t row = 0; row < B; row += rows) {
          const Tile t{chunk, row, std::min(rows, B - row), column, std::min(tile, last - column)};
          form_logits(at_row(p.image_BD, row), t.rows, at_row(p.text_queue_nD, column), t.columns,
                      D, scale, packed, a);
          form_logits(at_row(p.text_BD, row), t.rows, at_row(p.image_queue_nD, column), t.columns,
                      D, scale, packed, b);
          mask_columns(p.masked, t, a, b);
          visit(t, a, b, packed);
        }
      }
    }
  });
}

/// Sweep 1: the state of every row over the whole queue.
std::vector<RowState> softmax_sweep(const Problem& p) {
  const int64_t B = p.rows(), C = p.chunks();
  std::vector<RowState> state_CB(static_cast<size_t>(C * B));
  for_each_tile(p, [&](const Tile& t, const float* a, const float* b, float*) {
    for (int64_t r = 0; r < t.rows; ++r, a += t.columns, b += t.columns) {
      RowState& state = state_CB[static_cast<size_t>(t.chunk * B + t.row + r)];
      const TileSums sums = row_sums(a, b, t.columns);
      state.a.merge({sums.m_a, sums.l_a, sums.s_a});
      state.b.merge({sums.m_b, sums.l_b, sums.s_b});
      for (const int64_t j : p.matched.within(t.row + r, t.column, t.column + t.columns)) {
        state.matched_a += a[j - t.column];
        state.matched_b += b[j - t.column];
      }
    }
  });
  std::vector<RowState> state_B(static_cast<size_t>(B));
  for (int64_t i = 0; i < B; ++i) {
    if (p.masked.count(i) == p.columns()) continue;  // nothing but masked columns: an empty queue
    RowState& state = state_B[static_cast<size_t>(i)];
    for (int64_t c = 0; c < C; ++c) {
      const RowState& part = state_CB[static_cast<size_t>(c * B + i)];
      state.a.merge(part.a);
      state.b.merge(part.b);
      state.matched_a += part.matched_a;
      state.matched_b += part.matched_b;
    }
  }
  return state_B;
}

double dot(const float* x, const float* y, int64_t n) {
  double sum = 0;
  for (int64_t k = 0; k < n; ++k) sum += static_cast<double>(x[k]) * static_cast<double>(y[k]);
  return sum;
}

std::vector<RowResult> finish_rows(const Problem& p, const std::vector<RowState>& state_B) {
  const int64_t D = p.width();
  const float *image = p.image_BD.const_data_ptr<float>(),
              *text = p.text_BD.const_data_ptr<float>();
  const float *image_key = p.image_key_BD.const_data_ptr<float>(),
              *text_key = p.text_key_BD.const_data_ptr<float>();
  std::vector<RowResult> result_B(state_B.size());
  for (int64_t i = 0; i < p.rows(); ++i) {
    const auto row = static_cast<size_t>(i);
    const double a0 = p.scale * dot(image + i * D, text_key + i * D, D);
    const double b0 = p.scale * dot(text + i * D, image_key + i * D, D);
    result_B[row] =
        finish_row(state_B[row], a0, b0, 1 + p.matched.count(i), p.share_B[row], p.options);
  }
  return result_B;
}

struct Gradients {
  Tensor image_BD, text_BD;
};

/// Sweep 2: the gradient of the queue's columns, a [C, B, D] sum a side.
Gradients gradient_sweep(const Problem& p, const std::vector<RowResult>& result_B) {
  const int64_t B = p.rows(), D = p.width(), C = p.chunks();
  const Tensor image_CBD = at::zeros({C, B, D}, p.image_BD.options()),
               text_CBD = at::zeros_like(image_CBD);
  for_each_tile(p, [&](const Tile& t, float* a_RT, float* b_RT, float* panels) {
    float *a = a_RT, *b = b_RT;
    for (int64_t r = 0; r < t.rows; ++r, a += t.columns, b += t.columns) {
      const RowResult& row = result_B[static_cast<size_t>(t.row + r)];
      row_gradient(a, b, t.columns, row.gradient);
      for (const int64_t j : p.matched.within(t.row + r, t.column, t.column + t.columns)) {
        a[j - t.column] -= static_cast<float>(row.matched);
        b[j - t.column] -= static_cast<float>(row.matched);
      }
    }
    const auto add = [&](const Tensor& sum_CBD, const float* g_RT, const Tensor& queue_nD) {
      add_products(g_RT, t.rows, at_row(queue_nD, t.column), t.columns, D,
                   static_cast<float>(p.scale), panels,
                   sum_CBD.mutable_data_ptr<float>() + (t.chunk * B + t.row) * D);
    };
    add(image_CBD, a_RT, p.text_queue_nD);
    add(text_CBD, b_RT, p.image_queue_nD);
  });
  return {C == 1 ? image_CBD[0] : image_CBD.sum(0), C == 1 ? text_CBD[0] : text_CBD.sum(0)};
}

/// Adds the positives' part and returns sum_i f_i . g_i, the gradient of ln(1 / tau).
double add_positives(const Problem& p, const std::vector<RowResult>& result_B, Gradients& g) {
  const int64_t D = p.width();
  const float *image = p.image_BD.const_data_ptr<float>(),
              *text = p.text_BD.const_data_ptr<float>();
  const float *image_key = p.image_key_BD.const_data_ptr<float>(),
              *text_key = p.text_key_BD.const_data_ptr<float>();
  float *grad_image = g.image_BD.mutable_data_ptr<float>(),
        *grad_text = g.text_BD.mutable_data_ptr<float>();
  double grad_log_scale = 0;
  for (int64_t i = 0; i < p.rows(); ++i) {
    const RowResult& row = result_B[static_cast<size_t>(i)];
    const auto a = static_cast<float>(p.scale * row.positive_a),
               b = static_cast<float>(p.scale * row.positive_b);
    for (int64_t k = i * D; k < (i + 1) * D; ++k) {
      grad_image[k] += a * text_key[k];
      grad_text[k] += b * image_key[k];
    }
    grad_log_scale +=
        dot(image + i * D, grad_image + i * D, D) + dot(text + i * D, grad_text + i * D, D);
  }
  return grad_log_scale;
}

void check_matrix(const Tensor& x, const char* name, int64_t rows, int64_t columns) {
  TORCH_CHECK(
      x.dim() == 2 && x.scalar_type() == at::kFloat && x.size(0) == rows && x.size(1) == columns,
      "queue_contrast: expected ", name, " as float32 [", rows, ", ", columns, "], got ",
      x.scalar_type(), " ", x.sizes());
}

void check_ids(const OptionalTensor& id, const char* name, int64_t count) {
  TORCH_CHECK(id && id->scalar_type() == at::kLong && id->dim() == 1 && id->size(0) == count,
              "queue_contrast: a duplicate policy needs ", name, " as int64 [", count, "]");
}

void check_tensors(const Problem& p, const Tensor& weights_B) {
  TORCH_CHECK(p.image_BD.dim() == 2 && p.image_queue_nD.dim() == 2,
              "queue_contrast: expected image [B, D] and queue [n, D], got ", p.image_BD.sizes(),
              " and ", p.image_queue_nD.sizes());
  const int64_t B = p.rows(), D = p.width(), n = p.columns();
  check_matrix(p.image_BD, "image", B, D);
  check_matrix(p.text_BD, "text", B, D);
  check_matrix(p.image_key_BD, "image_key", B, D);
  check_matrix(p.text_key_BD, "text_key", B, D);
  check_matrix(p.image_queue_nD, "image_queue", n, D);
  check_matrix(p.text_queue_nD, "text_queue", n, D);
  TORCH_CHECK(weights_B.dim() == 1 && weights_B.size(0) == B, "queue_contrast: expected weights [",
              B, "], got ", weights_B.sizes());
}

/// Keeps the rows active_A. Rows of weight 0 are selected away, not multiplied: they may hold NaN.
void select_rows(Problem& p, const Tensor& weights_B, const Tensor& active_A) {
  const bool all = active_A.size(0) == weights_B.size(0);
  const auto rows = [&](const Tensor& x) {
    return all ? x.contiguous() : x.index_select(0, active_A);
  };
  for (Tensor* x : {&p.image_BD, &p.text_BD, &p.image_key_BD, &p.text_key_BD}) *x = rows(*x);
  for (Tensor* x : {&p.image_queue_nD, &p.text_queue_nD}) *x = x->contiguous();
  const Tensor share_A = rows(weights_B).to(at::kDouble) / p.options.normalizer;
  const double* share = share_A.const_data_ptr<double>();
  p.share_B.assign(share, share + share_A.size(0));
}

Tensor losses_of(const Problem& p, const std::vector<RowResult>& result_B) {
  double i2t = 0, t2i = 0, task = 0;
  for (const RowResult& row : result_B)
    i2t += row.image_to_text, t2i += row.text_to_image, task += row.task;
  const double total = p.options.instance_weight * (i2t + t2i) + p.options.task_weight * task;
  return at::tensor({total, i2t, t2i, task}, p.image_BD.options());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> queue_contrast_cpu(
    const Tensor& image_BD, const Tensor& text_BD, const Tensor& image_key_BD,
    const Tensor& text_key_BD, const Tensor& image_queue_nD, const Tensor& text_queue_nD,
    const Tensor& weights_B, const Tensor& log_scale, const OptionalTensor& id_B,
    const OptionalTensor& queue_id_n, double normalizer, double instance_weight, double task_weight,
    bool include_positive, bool stopgrad_target, int64_t duplicate_policy,
    int64_t batch_key_column) {
  TORCH_CHECK(normalizer > 0, "queue_contrast: expected a normalizer > 0, got ", normalizer);
  Problem p{image_BD,
            text_BD,
            image_key_BD,
            text_key_BD,
            image_queue_nD,
            text_queue_nD,
            {},
            std::exp(log_scale.item<double>()),
            {},
            {},
            {normalizer, instance_weight, task_weight, include_positive, stopgrad_target,
             static_cast<DuplicatePolicy>(duplicate_policy), batch_key_column}};
  check_tensors(p, weights_B);
  const int64_t B = p.rows(), n = p.columns();
  if (p.options.duplicate_policy != DuplicatePolicy::kKeep)
    check_ids(id_B, "id", B), check_ids(queue_id_n, "queue_id", n);
  const Tensor active_A = weights_B.nonzero().squeeze(1);
  select_rows(p, weights_B, active_A);
  std::tie(p.masked, p.matched) = column_lists(active_A, n, id_B, queue_id_n, p.options);

  const std::vector<RowResult> result_B = finish_rows(p, softmax_sweep(p));
  Gradients g = gradient_sweep(p, result_B);
  const double grad_log_scale = add_positives(p, result_B, g);

  const auto all_rows = [&](const Tensor& x) {
    return p.rows() == B ? x : at::zeros(image_BD.sizes(), x.options()).index_copy_(0, active_A, x);
  };
  return {losses_of(p, result_B), all_rows(g.image_BD), all_rows(g.text_BD),
          at::scalar_tensor(grad_log_scale, image_BD.options())};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("queue_contrast", queue_contrast_cpu); }

}  // namespace cots::ops
