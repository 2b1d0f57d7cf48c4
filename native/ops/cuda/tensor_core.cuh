// Products of tiles in shared memory on tensor cores, a warp at a time. A warp forms 16 x 16 blocks
// of a product from fragments: lane 4 g + t holds, of every 16 x 8 block of sums, columns 2 t and
// 2 t + 1 of rows g and g + 8.
//
// bfloat16 is one product. float32 is three TensorFloat-32 products: x = big + small up to 2^-22
// |x| (11 significant bits each), and of big big + big small + small big only small small, again
// 2^-22, is left out. A dot product of rows x and y is off by at most 3 * 2^-22 sum |x_k y_k| and
// the rounding of its sums, where a plain float32 loop has 2^-24 sum |x_k y_k| and its own.
#pragma once

#include "ops/cuda/device.cuh"

namespace cots::cuda {

template <class Element>
struct TensorCore;

template <>
struct TensorCore<Bf16> {
  static constexpr int kDepth = 16;  // of one product
  static constexpr int kPad = 8;     // elements after a row: eight rows then lie in different banks

  struct Left {
    uint32_t part[4];
  };
  struct Right {
    uint32_t part[2];
  };

  /// Rows [row, row + 16) and columns [k, k + 16) of a row-major tile.
  __device__ static Left left(const Bf16* tile, int stride, int row, int k) {
    const int lane = threadIdx.x % kWarp;
    Left out;
    load_matrices(out.part, tile + (row + lane % 16) * stride + k + lane / 16 * 8);
    return out;
  }

  /// Two 16 x 8 right factors whose column j is row (row + j) of the tile, from column k on.
  __device__ static void right_from_rows(Right (&out)[2], const Bf16* tile, int stride, int row,
                                         int k) {
    const int lane = threadIdx.x % kWarp;
    uint32_t parts[4];
    load_matrices(parts, tile + (row + lane / 16 * 8 + lane % 8) * stride + k + lane / 8 % 2 * 8);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) out[i].part[j] = parts[2 * i + j];
  }

  /// Two 16 x 8 right factors: rows [row, row + 16) and columns [column, column + 16) as they lie.
  __device__ static void right(Right (&out)[2], const Bf16* tile, int stride, int row, int column) {
    const int lane = threadIdx.x % kWarp;
    uint32_t parts[4];
    load_matrices_transposed(parts, tile + (row + lane % 16) * stride + column + lane / 16 * 8);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j) out[i].part[j] = parts[2 * i + j];
  }

  __device__ static void multiply(float (&c)[4], const Left& a, const Right& b) {
    multiply_bf16(c, a.part, b.part);
  }

  __device__ static void store_pair(Bf16* at, float x, float y) {
    *reinterpret_cast<uint32_t*>(at) = pack_bf16(x, y);
  }
};

template <>
struct TensorCore<float> {
  static constexpr int kDepth = 8;
  static constexpr int kPad = 4;

  struct Left {
    uint32_t big[4], small[4];
  };
  struct Right {
    uint32_t big[2], small[2];
  };

  __device__ static void split(float x, uint32_t& big, uint32_t& small) {
    big = to_tf32(x);
    small = to_tf32(x - from_bits(big));
  }

  __device__ static Left left(const float* tile, int stride, int row, int k) {
    const int lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
    Left out;
    for (int i = 0; i < 4; ++i)
      split(tile[(row + g + i % 2 * 8) * stride + k + t + i / 2 * 4], out.big[i], out.small[i]);
    return out;
  }

  __device__ static void right_from_rows(Right (&out)[2], const float* tile, int stride, int row,
                                         int k) {
    const int lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        split(tile[(row + 8 * i + g) * stride + k + t + 4 * j], out[i].big[j], out[i].small[j]);
  }

  __device__ static void right(Right (&out)[2], const float* tile, int stride, int row,
                               int column) {
    const int lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        split(tile[(row + t + 4 * j) * stride + column + 8 * i + g], out[i].big[j],
              out[i].small[j]);
  }

  __device__ static void multiply(float (&c)[4], const Left& a, const Right& b) {
    multiply_tf32(c, a.small, b.big);  // what is small is summed first
    multiply_tf32(c, a.big, b.small);
    multiply_tf32(c, a.big, b.big);
  }

  __device__ static void store_pair(float* at, float x, float y) { at[0] = x, at[1] = y; }
};

/// Starts to copy rows [first, first + kRows) of a row-major [rows, width] matrix into a tile of
/// kRows x kWidth elements, `stride` apart; what lies outside becomes 0. width * sizeof(Element) is
/// a multiple of 16, and so is the matrix's address.
template <int kThreads, int kRows, int kWidth, class Element>
__device__ inline void copy_rows_async(Element* tile, int stride, const Element* matrix,
                                       int64_t first, int64_t rows, int width) {
  constexpr int kRun = 16 / sizeof(Element), kRuns = kWidth / kRun;
  for (int i = threadIdx.x; i < kRows * kRuns; i += kThreads) {
    const int row = i / kRuns, column = i % kRuns * kRun;
    const bool inside = first + row < rows && column < width;
    copy_16_async(tile + row * stride + column,
                  inside ? matrix + (first + row) * width + column : matrix, inside);
  }
}

}  // namespace cots::cuda
