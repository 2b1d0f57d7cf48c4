// Products over register tiles (ops/cpu/tile.h), the input transformed a block of rows at a time
// while it is in the cache. Backward goes over chunks of rows: first, a block of rows at a time,
// the gradient of the input, and f(x) and the gradient as panels; then, a block of the weight at a
// time, what the chunk adds to the weight's gradient, chunk after chunk, so that the sums are the
// same with any number of threads. Legend: M rows, K inputs, N outputs.
#include "ops/linear.h"

#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

#include "ops/cancel.h"
#include "ops/cpu/linear_rows.h"
#include "ops/cpu/products.h"
#include "ops/cpu/tasks.h"

namespace cots::ops {
namespace {

using OptionalTensor = std::optional<Tensor>;

constexpr int64_t kRowBlock = 96;         // of forward: whole tiles whose inputs stay in the cache
constexpr int64_t kBackwardRows = 48;     // the same with two rows of inputs, f(x) and its gradient
constexpr int64_t kInnerRows = 512;       // summed in registers, then added to what lies in memory
constexpr int64_t kChunkBytes = 8 << 20;  // panels of f(x) and of the gradient
constexpr int64_t kTasksAThread = 4;

int64_t blocks_of(int64_t count, int64_t size) { return (count + size - 1) / size; }

// ------------------------------------------------------------------------------------- forward

struct Forward {
  const float* x;
  int64_t M, K, N;
  RowTransform f;
  const float *panels, *bias;  // [N / 16][K][16], [N to 16]
  const float* residual;       // [M, N] or null
  float* y;
};

/// The rows [row, row_end) of the panels [panel, panel_end); `memory` holds that many rows of f(x).
template <class Floats>
COTS_INLINE void forward_piece_body(const Forward& p, int64_t row, int64_t row_end, int64_t panel,
                                    int64_t panel_end, float* memory) {
  const float* input = p.x + row * p.K;
  if (!p.f.identity()) {
    for (int64_t r = 0; r < row_end - row; ++r)
      transform_row<Floats>(p.f, input + r * p.K, p.K, memory + r * p.K);
    input = memory;
  }
  each_tile<Floats>(
      row_end - row, panel_end - panel,
      [&]<int kRows, int kPanels>(int64_t r, int64_t c) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_tile<Floats, kRows, kPanels>(
            input + r * p.K, p.K, p.panels + (panel + c) * p.K * kLanes, p.K * kLanes, p.K, tile);
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kPanels; ++j) {
            const int64_t at = (row + r + i) * p.N, column = (panel + c + j) * kLanes;
            Floats y = tile[i][j] + load<Floats>(p.bias + column);
            if (p.residual != nullptr)
              y = y + load_run<Floats>(p.residual + at + column, std::min(kLanes, p.N - column));
            store_tile_row(p.y + at, p.N, column, y, /*add=*/false);
          }
      });
}
COTS_LANE_VERSIONS(void, forward_piece,
                   (const Forward& p, int64_t row, int64_t row_end, int64_t panel,
                    int64_t panel_end, float* memory),
                   (p, row, row_end, panel, panel_end, memory))

void run_forward(const Forward& p) {
  const int64_t row_blocks = blocks_of(p.M, kRowBlock), panels = panels_of(p.N);
  // Few rows are cut by outputs too.
  const int64_t wanted = blocks_of(kTasksAThread * at::get_num_threads(), row_blocks),
                wide = std::max<int64_t>(2, blocks_of(panels, wanted)),
                column_blocks = blocks_of(panels, wide);
  for_each_task(row_blocks * column_blocks, [&](int64_t task) {
    const int64_t row = task / column_blocks * kRowBlock, panel = task % column_blocks * wide;
    forward_piece(p, row, std::min(p.M, row + kRowBlock), panel, std::min(panels, panel + wide),
                  p.f.identity() ? nullptr : scratch(kRowBlock * p.K));
  });
}

// ------------------------------------------------------------------------------------ backward

struct Backward {
  const float *grad, *x;
  int64_t M, K, N;
  RowTransform f;
  const float* weight_panels;   // [K / 16][N][16]
  float *grad_x, *grad_weight;  // null where not wanted
  int64_t chunk;                // rows of the panels below
  float* input_panels;          // [K / 16][chunk][16] of f(x)
  float* grad_panels;           // [N / tile rows][chunk][tile rows]
};

/// Sums of a block of rows, [N] and [K]; the norm's null where there is none.
struct BlockSums {
  float* bias;
  NormGradient norm;
};

/// The gradient of f(x): grad W, `rows` rows from `row` into `to` [rows, K].
template <class Floats>
COTS_INLINE void input_gradient(const Backward& p, int64_t row, int64_t rows, float* to) {
  each_tile<Floats>(
      rows, panels_of(p.K),
      [&]<int kRows, int kPanels>(int64_t r, int64_t c) __attribute__((always_inline)) {
        Floats tile[kRows][kPanels];
        multiply_tile<Floats, kRows, kPanels>(p.grad + (row + r) * p.N, p.N,
                                              p.weight_panels + c * p.N * kLanes, p.N * kLanes, p.N,
                                              tile);
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kPanels; ++j)
            store_tile_row(to + (r + i) * p.K, p.K, (c + j) * kLanes, tile[i][j], /*add=*/false);
      });
}

/// f(x) and the gradient of the rows as panels, from `place` of the chunk, and the bias's sum.
template <class Floats>
COTS_INLINE void cut_panels(const Backward& p, int64_t row, int64_t rows, int64_t place,
                            const float* input, float* bias_sum) {
  constexpr int kRows = TileShape<Floats>::kRows;
  const float* grad = p.grad + row * p.N;
  for (int64_t k = 0; k < p.K; k += kLanes)
    cut_panel(input, p.K, rows, k, p.K, p.input_panels + k * p.chunk + place * kLanes);
  for (int64_t n = 0; n < p.N; n += kRows) {
    float* panel = p.grad_panels + n * p.chunk + place * kRows;
    const int64_t count = std::min<int64_t>(kRows, p.N - n);
    for (int64_t r = 0; r < rows; ++r, panel += kRows)
      for (int64_t i = 0; i < kRows; ++i) panel[i] = i < count ? grad[r * p.N + n + i] : 0;
  }
  each_run(
      p.N, [&](int64_t n, int64_t count) __attribute__((always_inline)) {
        Floats sum{};
        for (int64_t r = 0; r < rows; ++r) sum += load_run<Floats>(grad + r * p.N + n, count);
        store_run(bias_sum + n, count, sum);
      });
}

/// `memory` holds two times [rows, K].
template <class Floats>
COTS_INLINE void backward_rows_body(const Backward& p, int64_t row, int64_t rows, int64_t place,
                                    const BlockSums& sums, float* memory) {
  float *const input = memory, *const inner = memory + rows * p.K;
  float* const grad_x = p.grad_x == nullptr ? nullptr : p.grad_x + row * p.K;
  const float* x = p.x + row * p.K;
  if (grad_x != nullptr) input_gradient<Floats>(p, row, rows, p.f.identity() ? grad_x : inner);
  for (int64_t r = 0; r < rows * p.K && !p.f.identity(); r += p.K) {
    if (grad_x == nullptr)
      transform_row<Floats>(p.f, x + r, p.K, input + r);
    else if (p.f.norm_weight != nullptr)
      norm_row_backward<Floats>(p.f, x + r, p.K, inner + r, input + r, grad_x + r, sums.norm);
    else
      activation_row_backward<Floats>(p.f, x + r, p.K, inner + r, input + r, grad_x + r);
  }
  if (p.grad_weight != nullptr)
    cut_panels<Floats>(p, row, rows, place, p.f.identity() ? x : input, sums.bias);
}
COTS_LANE_VERSIONS(void, backward_rows,
                   (const Backward& p, int64_t row, int64_t rows, int64_t place,
                    const BlockSums& sums, float* memory),
                   (p, row, rows, place, sums, memory))

/// Adds a chunk of `rows` rows to the weight's gradient: outputs [n, n_end), inputs of the panels
/// [panel, panel + 1 or + 2).
template <class Floats, int kPanels>
COTS_INLINE void add_weight_tiles(const Backward& p, int64_t rows, int64_t n, int64_t n_end,
                                  int64_t panel) {
  constexpr int kRows = TileShape<Floats>::kRows;
  for (int64_t first = 0; first < rows; first += kInnerRows) {
    const int64_t count = std::min(kInnerRows, rows - first);
    for (int64_t output = n; output < n_end; output += kRows) {
      Floats tile[kRows][kPanels];
      multiply_transposed_tile<Floats, kRows, kPanels>(
          p.grad_panels + output * p.chunk + first * kRows, kRows,
          p.input_panels + (panel * p.chunk + first) * kLanes, p.chunk * kLanes, count, tile);
      const int64_t outputs = std::min<int64_t>(kRows, p.N - output);
      for (int64_t i = 0; i < outputs; ++i)
        for (int j = 0; j < kPanels; ++j)
          store_tile_row(p.grad_weight + (output + i) * p.K, p.K, (panel + j) * kLanes, tile[i][j],
                         /*add=*/true);
    }
  }
}

/// The same for tiles [tile, tile_end) of the outputs and all panels in [panel, panel_end).
template <class Floats>
COTS_INLINE void weight_block_body(const Backward& p, int64_t rows, int64_t block, int64_t blocks,
                                   int64_t panel, int64_t panel_end) {
  constexpr int kRows = TileShape<Floats>::kRows, kPanels = TileShape<Floats>::kPanels;
  const int64_t tiles = (p.N + kRows - 1) / kRows, n = tiles * block / blocks * kRows,
                n_end = tiles * (block + 1) / blocks * kRows;
  for (; panel + kPanels <= panel_end; panel += kPanels)
    add_weight_tiles<Floats, kPanels>(p, rows, n, n_end, panel);
  for (; panel < panel_end; ++panel) add_weight_tiles<Floats, 1>(p, rows, n, n_end, panel);
}
COTS_LANE_VERSIONS(void, weight_block,
                   (const Backward& p, int64_t rows, int64_t block, int64_t blocks, int64_t panel,
                    int64_t panel_end),
                   (p, rows, block, blocks, panel, panel_end))

void add_to_weight(const Backward& p, int64_t rows) {
  constexpr int64_t kPanelsATask = 2;
  const int64_t panels = panels_of(p.K), columns = blocks_of(panels, kPanelsATask),
                blocks = blocks_of(kTasksAThread * at::get_num_threads(), columns);
  for_each_task(columns * blocks, [&](int64_t task) {
    const int64_t panel = task / blocks * kPanelsATask;
    weight_block(p, rows, task % blocks, blocks, panel, std::min(panels, panel + kPanelsATask));
  });
}

/// bias_sums [blocks, N] and norm_sums [blocks, 2, K] of the blocks of kBackwardRows rows.
void run_backward(const Backward& p, float* bias_sums, float* norm_sums) {
  for (int64_t begin = 0; begin < p.M; begin += p.chunk) {
    check_cancelled();
    const int64_t rows = std::min(p.chunk, p.M - begin);
    for_each_task(blocks_of(rows, kBackwardRows), [&](int64_t task) {
      const int64_t place = task * kBackwardRows, block = begin / kBackwardRows + task,
                    count = std::min(kBackwardRows, rows - place);
      float* const norm = norm_sums + 2 * block * p.K;
      backward_rows(p, begin + place, count, place, {bias_sums + block * p.N, {norm, norm + p.K}},
                    scratch(2 * count * p.K));
    });
    if (p.grad_weight != nullptr) add_to_weight(p, rows);
  }
}

// ------------------------------------------------------------------------------------- tensors

RowTransform transform_of(const OptionalTensor& norm_weight, const OptionalTensor& norm_bias,
                          double eps, int64_t activation) {
  const auto data = [](const OptionalTensor& t) {
    return t ? t->const_data_ptr<float>() : nullptr;
  };
  return {data(norm_weight), data(norm_bias), eps, static_cast<InputActivation>(activation)};
}

void check_arguments(const Tensor& x, const Tensor& weight_NK, const OptionalTensor& norm_weight,
                     const OptionalTensor& norm_bias) {
  TORCH_CHECK(x.dim() >= 1 && weight_NK.dim() == 2 && x.size(-1) == weight_NK.size(1),
              "linear: expected x [.., K] and weight [N, K], got ", x.sizes(), " and ",
              weight_NK.sizes());
  const int64_t K = weight_NK.size(1);
  const at::IntArrayRef width(K);
  TORCH_CHECK(norm_weight.has_value() == norm_bias.has_value(),
              "linear: expected a norm's weight and bias, got one of them");
  TORCH_CHECK(!norm_weight || (norm_weight->sizes() == width && norm_bias->sizes() == width &&
                               norm_weight->is_contiguous() && norm_bias->is_contiguous()),
              "linear: expected a norm's weight and bias of shape ", width);
}

/// [N / 16][K][16].
Tensor pack_outputs(const Tensor& weight_NK) {
  const Tensor weight = weight_NK.contiguous();
  const int64_t N = weight.size(0), K = weight.size(1), panels = panels_of(N);
  Tensor packed = at::empty({panels, K, kLanes}, weight.options());
  const float* from = weight.const_data_ptr<float>();
  float* to = packed.mutable_data_ptr<float>();
  for_each_task(panels, [&](int64_t panel) {
    const int64_t first = panel * kLanes;
    pack_panel(from + first * K, std::min(kLanes, N - first), K, to + first * K);
  });
  return packed;
}

/// [K / 16][N][16].
Tensor pack_inputs(const Tensor& weight_NK) {
  const Tensor weight = weight_NK.contiguous();
  const int64_t N = weight.size(0), K = weight.size(1), panels = panels_of(K);
  Tensor packed = at::empty({panels, N, kLanes}, weight.options());
  const float* from = weight.const_data_ptr<float>();
  float* to = packed.mutable_data_ptr<float>();
  for_each_task(panels, [&](int64_t panel) {
    cut_panel(from, K, N, panel * kLanes, K, to + panel * N * kLanes);
  });
  return packed;
}

Tensor linear_cpu(const Tensor& x, const Tensor& weight_NK, const Tensor& bias_N,
                  const OptionalTensor& norm_weight, const OptionalTensor& norm_bias, double eps,
                  int64_t activation, const OptionalTensor& residual) {
  check_arguments(x, weight_NK, norm_weight, norm_bias);
  check_cancelled();
  const int64_t N = weight_NK.size(0), K = weight_NK.size(1);
  TORCH_CHECK(bias_N.sizes() == at::IntArrayRef{N}, "linear: expected bias [", N, "], got ",
              bias_N.sizes());
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = N;
  TORCH_CHECK(!residual || residual->sizes() == at::IntArrayRef(shape),
              "linear: expected a residual of shape ", shape);
  Tensor y = at::empty(shape, x.options());
  if (y.numel() == 0) return y;
  const Tensor input = x.contiguous(), panels = pack_outputs(weight_NK),
               added = residual ? residual->contiguous() : Tensor();
  Tensor bias = at::zeros({panels.size(0) * kLanes}, x.options());
  bias.narrow(0, 0, N).copy_(bias_N);
  run_forward({.x = input.const_data_ptr<float>(),
               .M = y.numel() / N,
               .K = K,
               .N = N,
               .f = transform_of(norm_weight, norm_bias, eps, activation),
               .panels = panels.const_data_ptr<float>(),
               .bias = bias.const_data_ptr<float>(),
               .residual = residual ? added.const_data_ptr<float>() : nullptr,
               .y = y.mutable_data_ptr<float>()});
  return y;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> linear_backward_cpu(
    const Tensor& grad, const Tensor& x, const Tensor& weight_NK, const OptionalTensor& norm_weight,
    const OptionalTensor& norm_bias, double eps, int64_t activation, std::array<bool, 2> wanted) {
  check_arguments(x, weight_NK, norm_weight, norm_bias);
  const int64_t N = weight_NK.size(0), K = weight_NK.size(1),
                M = x.numel() / std::max<int64_t>(K, 1);
  const Tensor grads = grad.contiguous(), input = x.contiguous(),
               panels = wanted[0] ? pack_inputs(weight_NK) : Tensor();
  const auto options = x.options();
  Tensor grad_x = wanted[0] ? at::empty(x.sizes(), options) : Tensor(),
         grad_weight = wanted[1] ? at::zeros({N, K}, options) : Tensor();
  const int64_t blocks = blocks_of(M, kBackwardRows),
                fit = kChunkBytes / (4 * (K + N)) / kBackwardRows * kBackwardRows,
                chunk =
                    std::clamp(fit, kBackwardRows, std::max(blocks, int64_t{1}) * kBackwardRows);
  const Tensor input_panels = at::empty({wanted[1] ? chunk * panels_of(K) * kLanes : 0}, options),
               grad_panels = at::empty({wanted[1] ? chunk * (N + kLanes) : 0}, options),
               bias_sums = at::empty({blocks, wanted[1] ? N : 0}, options),
               norm_sums = at::zeros({blocks, 2, norm_weight ? K : 0}, options);
  const auto data = [](const Tensor& t) {
    return t.defined() ? t.mutable_data_ptr<float>() : nullptr;
  };
  if (M * N * K > 0)
    run_backward({.grad = grads.const_data_ptr<float>(),
                  .x = input.const_data_ptr<float>(),
                  .M = M,
                  .K = K,
                  .N = N,
                  .f = transform_of(norm_weight, norm_bias, eps, activation),
                  .weight_panels = wanted[0] ? panels.const_data_ptr<float>() : nullptr,
                  .grad_x = data(grad_x),
                  .grad_weight = data(grad_weight),
                  .chunk = chunk,
                  .input_panels = data(input_panels),
                  .grad_panels = data(grad_panels)},
                 data(bias_sums), data(norm_sums));
  const Tensor norm_sum = norm_weight ? norm_sums.sum(0) : Tensor();
  return {grad_x, grad_weight, wanted[1] ? bias_sums.sum(0) : Tensor(),
          norm_weight ? norm_sum[0] : Tensor(), norm_weight ? norm_sum[1] : Tensor()};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) {
  m.impl("linear", linear_cpu);
  m.impl("linear_backward", linear_backward_cpu);
}

}  // namespace cots::ops
