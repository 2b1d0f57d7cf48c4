// Both InfoNCE directions and the symmetric KL in two sweeps over the queues (SPEC 3.5), five
// launches and no [B, n] matrix. A block holds kRows pairs of queries in shared memory and streams
// its chunk of both queues past them, kColumns entries at a time, the next tile on its way while
// this one is multiplied. Of every tile it forms the logits of both directions in registers, each
// warp the same columns of both, so that d = a - b costs nothing.
//
//   softmax_sweep    tile -> online softmax (m, l, s) of each row and direction     [C, B]
//   finish_rows      chunks merged in order, the positive joined -> losses, coefficients   [B]
//   gradient_sweep   tile -> logits again -> G_a, G_b (to shared memory) -> G times tile   [C, B,
//   D] combine_chunks   chunks added in order, the positive's part, f . g   [B, D] add_rows the
//   four losses and the gradient of ln(1 / tau)
//
// Memory traffic: each block row reads the queues twice, B / kRows * 4 n D elements from L2 and, as
// long as the row tiles run side by side, 4 n D from memory, where logits kept in memory would be
// written and read several times over at 2 B n floats each. No atomics: sums have one fixed order,
// so a run repeats bit for bit on one kind of device. Legend: queue_contrast.h; a: image to text,
// b: text to image.
#pragma once

#include "ops/cuda/queue_contrast_softmax.cuh"
#include "ops/cuda/queue_contrast_tiles.cuh"

namespace cots::cuda {

constexpr int kRowThreads = 256;  // of the kernels between and after the sweeps, a warp a row

/// Sweep 1: the state of every row over this block's chunk of columns.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) softmax_sweep(ContrastArguments p) {
  auto& shared = *reinterpret_cast<typename S::Shared*>(shared_memory());
  const Place<S> place;
  const float scale = scale_of(p);
  const int64_t first_row = int64_t{blockIdx.x} * S::kRows;
  ThreadState state[2];
  for_each_tile<S>(p, shared, [&](int64_t first_column, int stage) {
    Logits<S> x;
    multiply_tile<S>(x.a, shared.image, shared.text_queue[stage], place, scale);
    multiply_tile<S>(x.b, shared.text, shared.image_queue[stage], place, scale);
    COTS_UNROLL for (int half = 0; half < 2; ++half) state[half].add(
        x.a, x.b, half, roles_of(p, first_row + place.row(half), first_column, place));
  });
  // The four threads of a row, then the warps that hold its other columns.
  COTS_UNROLL for (int half = 0; half < 2; ++half) {
    RowPart part = state[half].part();
    for (int mask = 1; mask < 4; mask *= 2) merge(part, shuffle_part(part, mask));
    if (place.t == 0) shared.part[place.column_warp][place.row(half)] = part;
  }
  __syncthreads();
  for (int row = threadIdx.x; row < S::kRows; row += S::kThreads) {
    if (first_row + row >= p.B) break;
    RowPart part = shared.part[0][row];
    for (int w = 1; w < S::kColumnWarps; ++w) merge(part, shared.part[w][row]);
    p.part_CB[blockIdx.y * p.B + first_row + row] = part;
  }
}

/// Dot product of two rows of D elements, in every lane of the warp.
template <class Element>
__device__ inline double warp_dot(const Element* x, const Element* y, int D) {
  double sum = 0;
  for (int k = threadIdx.x % kWarp; k < D; k += kWarp)
    sum += static_cast<double>(to_float(x[k])) * static_cast<double>(to_float(y[k]));
  return warp_sum(sum);
}

/// A row a warp: merges the chunks, joins the positive and finishes the row.
template <class Element>
__global__ void __launch_bounds__(kRowThreads) finish_rows(ContrastArguments p) {
  const int lane = threadIdx.x % kWarp;
  const int64_t row = thread_index() / kWarp;
  if (row >= p.B) return;
  const auto of_row = [&](const void* matrix) {
    return static_cast<const Element*>(matrix) + row * p.D;
  };
  const double share = p.weights_B[row] / p.options.normalizer;
  RowResult result;  // a row of weight 0 may hold NaN: nothing of it is used
  if (share != 0) {
    RowPart part{};
    for (int64_t c = lane; c < p.chunks; c += kWarp) merge(part, p.part_CB[c * p.B + row]);
    for (int mask = 1; mask < kWarp; mask *= 2) merge(part, shuffle_part(part, mask));
    const double scale = scale_of(p);
    const double a0 = scale * warp_dot(of_row(p.image_BD), of_row(p.text_key_BD), p.D);
    const double b0 = scale * warp_dot(of_row(p.text_BD), of_row(p.image_key_BD), p.D);
    result = finish_row(part.state, a0, b0, 1 + part.matched, share, p.options);
  }
  if (lane == 0) p.result_B[row] = result;
}

/// Replaces a thread's logits of one row by their gradients.
template <class Row, int kBlocks>
__device__ inline void form_gradient(float (&a)[kBlocks][4], float (&b)[kBlocks][4], int half,
                                     const Roles& roles, const Row& row) {
  const RowGradient& g = row.gradient;
  COTS_UNROLL for (int bit = 0; bit < 2 * kBlocks; ++bit) {
    float &x = a[bit / 2][2 * half + bit % 2], &y = b[bit / 2][2 * half + bit % 2];
    const float d = x - y, e_a = exponential(x - g.m_a), e_b = exponential(y - g.m_b);
    const float matched = roles.matched >> bit & 1 ? row.matched : 0.0f;
    const float grad_a = e_a * (g.a_one + g.a_d * (d - g.mean_a)) - g.a_other * e_b - matched;
    const float grad_b = e_b * (g.b_one - g.b_d * (d - g.mean_b)) - g.b_other * e_a - matched;
    const bool counts = row.active && roles.kept >> bit & 1;
    x = counts ? grad_a : 0.0f;
    y = counts ? grad_b : 0.0f;
  }
}

/// sum += G tile: this warp's 16 rows and kWarpWidth columns.
template <class S, int kBlocks>
__device__ inline void add_gradient(float (&sum)[kBlocks][4], const typename S::Element* gradient,
                                    const typename S::Element* keys, const Place<S>& place) {
  using Core = TensorCore<typename S::Element>;
  constexpr int kSteps = S::kColumns / Core::kDepth;
  typename Core::Left left[kSteps];
  COTS_UNROLL for (int step = 0; step < kSteps; ++step) left[step] =
      Core::left(gradient, S::kGradientStride, place.row_warp * 16, step * Core::kDepth);
  COTS_UNROLL for (int j = 0; j < kBlocks; j += 2) {
    float part[2][4] = {};
    COTS_UNROLL for (int step = 0; step < kSteps; ++step) {
      typename Core::Right right[2];
      Core::right(right, keys, S::kStride, step * Core::kDepth,
                  place.column_warp * S::kWarpWidth + 8 * j);
      Core::multiply(part[0], left[step], right[0]);
      Core::multiply(part[1], left[step], right[1]);
    }
    COTS_UNROLL for (int i = 0; i < 4; ++i) {
      sum[j][i] += part[0][i];
      sum[j + 1][i] += part[1][i];
    }
  }
}

/// Sweep 2: the gradient of this block's chunk of columns, one [B, D] a side and chunk.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) gradient_sweep(ContrastArguments p) {
  using Core = TensorCore<typename S::Element>;
  auto& shared = *reinterpret_cast<typename S::Shared*>(shared_memory());
  const Place<S> place;
  const float scale = scale_of(p);
  const int64_t first_row = int64_t{blockIdx.x} * S::kRows;
  for (int row = threadIdx.x; row < S::kRows; row += S::kThreads) {
    shared.row[row] = {};
    if (first_row + row >= p.B) continue;
    const RowResult& result = p.result_B[first_row + row];
    shared.row[row] = {result.gradient, static_cast<float>(result.matched),
                       p.weights_B[first_row + row] != 0};
  }  // for_each_tile waits before the first tile
  constexpr int kBlocks = S::kWarpWidth / 8;
  float image[kBlocks][4] = {}, text[kBlocks][4] = {};
  for_each_tile<S>(p, shared, [&](int64_t first_column, int stage) {
    Logits<S> x;
    multiply_tile<S>(x.a, shared.image, shared.text_queue[stage], place, scale);
    multiply_tile<S>(x.b, shared.text, shared.image_queue[stage], place, scale);
    COTS_UNROLL for (int half = 0; half < 2; ++half) {
      const int row = place.row(half);
      const Roles roles = roles_of(p, first_row + row, first_column, place);
      form_gradient(x.a, x.b, half, roles, shared.row[row]);
      COTS_UNROLL for (int j = 0; j < Logits<S>::kBlocks; ++j) {
        const int at =
            row * S::kGradientStride + place.column_warp * S::kWarpColumns + 8 * j + 2 * place.t;
        Core::store_pair(shared.gradient_a + at, x.a[j][2 * half], x.a[j][2 * half + 1]);
        Core::store_pair(shared.gradient_b + at, x.b[j][2 * half], x.b[j][2 * half + 1]);
      }
    }
    __syncthreads();
    add_gradient<S>(image, shared.gradient_a, shared.text_queue[stage], place);
    add_gradient<S>(text, shared.gradient_b, shared.image_queue[stage], place);
  });
  COTS_UNROLL for (int j = 0; j < kBlocks; ++j) {
    COTS_UNROLL for (int i = 0; i < 4; ++i) {
      const int64_t row = first_row + place.row(i / 2);
      const int column = place.column_warp * S::kWarpWidth + 8 * j + 2 * place.t + i % 2;
      if (row >= p.B || column >= p.D) continue;
      const int64_t at = (blockIdx.y * p.B + row) * p.D + column;
      p.image_CBD[at] = scale * image[j][i];
      p.text_CBD[at] = scale * text[j][i];
    }
  }
}

/// A row a warp: adds the chunks in order and the positive's part.
template <class Element>
__global__ void __launch_bounds__(kRowThreads) combine_chunks(ContrastArguments p) {
  const int64_t row = thread_index() / kWarp;
  if (row >= p.B) return;
  const bool active = p.weights_B[row] != 0;
  const RowResult& result = p.result_B[row];
  const float scale = scale_of(p);
  const auto side = [&](const float* part_CBD, float* grad_BD, const void* query_BD,
                        const void* key_BD, double positive) {
    double product = 0;  // f . g
    for (int k = threadIdx.x % kWarp; k < p.D; k += kWarp) {
      const int64_t at = row * p.D + k;
      float sum = 0;
      for (int64_t c = 0; c < p.chunks; ++c) sum += part_CBD[c * p.B * p.D + at];
      const float key = to_float(static_cast<const Element*>(key_BD)[at]);
      const float query = to_float(static_cast<const Element*>(query_BD)[at]);
      const float grad = active ? sum + static_cast<float>(scale * positive) * key : 0.0f;
      grad_BD[at] = grad;
      if (active) product += static_cast<double>(query) * static_cast<double>(grad);
    }
    return warp_sum(product);
  };
  const double image =
      side(p.image_CBD, p.grad_image_BD, p.image_BD, p.text_key_BD, result.positive_a);
  const double text =
      side(p.text_CBD, p.grad_text_BD, p.text_BD, p.image_key_BD, result.positive_b);
  if (threadIdx.x % kWarp == 0) p.log_scale_B[row] = image + text;
}

/// One block: the sums over the rows.
static __global__ void __launch_bounds__(kRowThreads) add_rows(ContrastArguments p) {
  auto* scratch = reinterpret_cast<double*>(shared_memory());
  double image_to_text = 0, text_to_image = 0, task = 0, log_scale = 0;
  for (int64_t row = threadIdx.x; row < p.B; row += kRowThreads) {
    const RowResult& result = p.result_B[row];
    image_to_text += result.image_to_text;
    text_to_image += result.text_to_image;
    task += result.task;
    log_scale += p.log_scale_B[row];
  }
  image_to_text = block_sum<kRowThreads>(image_to_text, scratch);
  text_to_image = block_sum<kRowThreads>(text_to_image, scratch);
  task = block_sum<kRowThreads>(task, scratch);
  log_scale = block_sum<kRowThreads>(log_scale, scratch);
  if (threadIdx.x != 0) return;
  p.losses_4[0] = static_cast<float>(p.options.instance_weight * (image_to_text + text_to_image) +
                                     p.options.task_weight * task);
  p.losses_4[1] = static_cast<float>(image_to_text);
  p.losses_4[2] = static_cast<float>(text_to_image);
  p.losses_4[3] = static_cast<float>(task);
  *p.grad_log_scale = static_cast<float>(log_scale);
}

/// The five launches in order.
template <class Launch>
void queue_contrast_launches(const ContrastArguments& p, bool is_bf16, size_t shared_bytes,
                             const Launch& launch) {
  with_sweep_shape(is_bf16, p.D, shared_bytes, [&]<class S>(S) {
    const Grid tiles{static_cast<unsigned>((p.B + S::kRows - 1) / S::kRows),
                     static_cast<unsigned>(p.chunks)};
    const Grid rows = exact_grid((p.B * kWarp + kRowThreads - 1) / kRowThreads);
    const bool has_tiles = p.B > 0 && p.n > 0;
    if (has_tiles) launch(softmax_sweep<S>, tiles, S::kThreads, sizeof(typename S::Shared), p);
    if (p.B > 0) launch(finish_rows<typename S::Element>, rows, kRowThreads, size_t{0}, p);
    if (has_tiles) launch(gradient_sweep<S>, tiles, S::kThreads, sizeof(typename S::Shared), p);
    if (p.B > 0) launch(combine_chunks<typename S::Element>, rows, kRowThreads, size_t{0}, p);
    launch(add_rows, Grid{}, kRowThreads, sizeof(double) * (kRowThreads / kWarp), p);
  });
}

inline int64_t contrast_chunks_for(int64_t B, int64_t n, int D, bool is_bf16,
                                   const ContrastDevice& device) {
  constexpr int64_t kGradientBytes = 64 << 20;  // of all chunks together
  if (B == 0 || n == 0) return 0;
  return with_sweep_shape(is_bf16, D, device.shared_bytes, [&]<class S>(S) {
    const int64_t row_tiles = (B + S::kRows - 1) / S::kRows;
    const int64_t tiles = (n + S::kColumns - 1) / S::kColumns;
    const int64_t fit = std::max<int64_t>(kGradientBytes / (2 * 4 * B * D), 1);
    const int64_t wanted = std::max<int64_t>(device.multiprocessors / row_tiles, 1);
    return std::min({tiles, fit, wanted});
  });
}

}  // namespace cots::cuda
