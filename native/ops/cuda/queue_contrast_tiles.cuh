// What both sweeps of queue_contrast share: the sizes of a block, where a thread stands in it, how
// tiles of the queues stream through it, and the logits of a tile. Legend: queue_contrast.h; a:
// image to text, b: text to image.
#pragma once

#include "ops/cuda/queue_contrast.h"
#include "ops/cuda/tensor_core.cuh"

namespace cots::cuda {

/// The sizes of a sweep's block. kWidth >= D: the columns past D are zeros.
template <class Element_, int kWidth_, int kRows_, int kColumns_, int kStages_, int kWarps>
struct SweepShape {
  using Element = Element_;
  static constexpr int kWidth = kWidth_, kRows = kRows_, kColumns = kColumns_, kStages = kStages_;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kRowWarps = kRows / 16, kColumnWarps = kWarps / kRowWarps;
  static constexpr int kWarpColumns = kColumns / kColumnWarps;  // of a tile's logits
  static constexpr int kWarpWidth = kWidth / kColumnWarps;      // of the gradient
  static constexpr int kStride = kWidth + TensorCore<Element>::kPad;
  static constexpr int kGradientStride = kColumns + TensorCore<Element>::kPad;
  static_assert(kRowWarps * kColumnWarps == kWarps && kWarpColumns % 16 == 0 &&
                kWarpWidth % 16 == 0 && 2 * (kWarpColumns / 8) <= 32);

  struct Row {
    RowGradient gradient;
    float matched;
    bool active;
  };
  struct alignas(16) Shared {
    Element image[kRows * kStride], text[kRows * kStride];
    Element text_queue[kStages][kColumns * kStride], image_queue[kStages][kColumns * kStride];
    Element gradient_a[kRows * kGradientStride], gradient_b[kRows * kGradientStride];
    Row row[kRows];
    RowPart part[kColumnWarps][kRows];
  };
};

using Bf16Narrow = SweepShape<Bf16, 128, 64, 64, 2, 8>;
using Bf16Wide = SweepShape<Bf16, 256, 64, 32, 2, 8>;      // 163 KiB and more: sm_80
using Bf16WideDeep = SweepShape<Bf16, 256, 64, 64, 2, 8>;  // 227 KiB: sm_90
using FloatNarrow = SweepShape<float, 128, 32, 32, 1, 4>;
using FloatWide = SweepShape<float, 256, 32, 32, 1, 4>;

/// Calls use(shape) with the sizes for these inputs on a device that gives a block `shared_bytes`.
template <class Use>
inline auto with_sweep_shape(bool is_bf16, int D, size_t shared_bytes, const Use& use) {
  const bool is_narrow = D <= Bf16Narrow::kWidth;
  if (!is_bf16) return is_narrow ? use(FloatNarrow()) : use(FloatWide());
  if (is_narrow) return use(Bf16Narrow());
  if (shared_bytes >= sizeof(Bf16WideDeep::Shared)) return use(Bf16WideDeep());
  return use(Bf16Wide());
}

/// This thread's place in its block, and its rows g and g + 8 of the warp's 16.
template <class S>
struct Place {
  int warp, row_warp, column_warp, g, t;

  __device__ Place() {
    const int lane = threadIdx.x % kWarp;
    warp = threadIdx.x / kWarp;
    row_warp = warp % S::kRowWarps, column_warp = warp / S::kRowWarps;
    g = lane / 4, t = lane % 4;
  }
  __device__ int row(int half) const { return row_warp * 16 + g + 8 * half; }
};

/// The logits of a tile that a thread holds: [j][2 h + e] is row g + 8 h, column 8 j + 2 t + e.
template <class S>
struct Logits {
  static constexpr int kBlocks = S::kWarpColumns / 8;
  float a[kBlocks][4], b[kBlocks][4];
};

__device__ inline float scale_of(const ContrastArguments& p) {
  return static_cast<float>(exp(static_cast<double>(*p.log_scale)));
}

template <class S, int kBlocks>
__device__ inline void multiply_tile(float (&logits)[kBlocks][4], const typename S::Element* query,
                                     const typename S::Element* keys, const Place<S>& place,
                                     float scale) {
  using Core = TensorCore<typename S::Element>;
  constexpr int kSlab = 64;  // what tensor cores sum by themselves, before a rounded float32 sum
  const int row = place.row_warp * 16, column = place.column_warp * S::kWarpColumns;
  COTS_UNROLL for (int j = 0; j < kBlocks; ++j) {
    COTS_UNROLL for (int i = 0; i < 4; ++i) logits[j][i] = 0;
  }
  for (int slab = 0; slab < S::kWidth; slab += kSlab) {
    float part[kBlocks][4] = {};
    COTS_UNROLL for (int k = slab; k < slab + kSlab; k += Core::kDepth) {
      const auto left = Core::left(query, S::kStride, row, k);
      COTS_UNROLL for (int j = 0; j < kBlocks; j += 2) {
        typename Core::Right right[2];
        Core::right_from_rows(right, keys, S::kStride, column + 8 * j, k);
        Core::multiply(part[j], left, right[0]);
        Core::multiply(part[j + 1], left, right[1]);
      }
    }
    COTS_UNROLL for (int j = 0; j < kBlocks; ++j) {
      COTS_UNROLL for (int i = 0; i < 4; ++i) logits[j][i] += part[j][i];
    }
  }
  COTS_UNROLL for (int j = 0; j < kBlocks; ++j) {
    COTS_UNROLL for (int i = 0; i < 4; ++i) logits[j][i] *= scale;
  }
}

/// Calls visit(first column, stage) for every tile of this block's chunk, once the queries and the
/// tile are in shared memory.
template <class S, class Visit>
__device__ inline void for_each_tile(const ContrastArguments& p, typename S::Shared& shared,
                                     const Visit& visit) {
  using Element = typename S::Element;
  const auto copy_queries = [&](Element* to, const void* from) {
    copy_rows_async<S::kThreads, S::kRows, S::kWidth>(to, S::kStride,
                                                      static_cast<const Element*>(from),
                                                      int64_t{blockIdx.x} * S::kRows, p.B, p.D);
  };
  const auto copy_tile = [&](int64_t tile, int stage) {
    const auto copy = [&](Element* to, const void* from) {
      copy_rows_async<S::kThreads, S::kColumns, S::kWidth>(
          to, S::kStride, static_cast<const Element*>(from), tile * S::kColumns, p.n, p.D);
    };
    copy(shared.text_queue[stage], p.text_queue_nD);
    copy(shared.image_queue[stage], p.image_queue_nD);
    close_copies();
  };
  const int64_t tiles = (p.n + S::kColumns - 1) / S::kColumns;
  const int64_t begin = tiles * blockIdx.y / gridDim.y, end = tiles * (blockIdx.y + 1) / gridDim.y;
  copy_queries(shared.image, p.image_BD);
  copy_queries(shared.text, p.text_BD);
  copy_tile(begin, 0);
  for (int64_t tile = begin; tile < end; ++tile) {
    const int stage = static_cast<int>((tile - begin) % S::kStages);
    if constexpr (S::kStages > 1) {
      if (tile + 1 < end)
        copy_tile(tile + 1, (stage + 1) % S::kStages);
      else
        close_copies();  // an empty group, so that the wait below is for this tile
    }
    wait_for_copies<S::kStages - 1>();
    __syncthreads();
    visit(tile * S::kColumns, stage);
    __syncthreads();
    if (S::kStages == 1 && tile + 1 < end) copy_tile(tile + 1, 0);
  }
}

/// Which of a thread's columns of one row count: bit 2 j + e is column 8 j + 2 t + e of the warp.
struct Roles {
  uint32_t kept, matched;
};

template <class S>
__device__ inline Roles roles_of(const ContrastArguments& p, int64_t row, int64_t first_column,
                                 const Place<S>& place) {
  const int64_t first = first_column + place.column_warp * S::kWarpColumns + 2 * place.t;
  const bool has_ids = p.options.duplicate_policy != DuplicatePolicy::kKeep && row < p.B;
  const int64_t own =
      p.options.batch_key_column < 0 ? int64_t{-1} : p.options.batch_key_column + row;
  const int64_t id = has_ids ? p.id_B[row] : 0;
  Roles roles{0, 0};
  COTS_UNROLL for (int bit = 0; bit < S::kWarpColumns / 4; ++bit) {
    const int64_t column = first + bit / 2 * 8 + bit % 2;
    if (column >= p.n || column == own) continue;
    const bool same_image = has_ids && p.queue_id_n[column] == id;
    if (same_image && p.options.duplicate_policy == DuplicatePolicy::kMaskSameImage) continue;
    roles.kept |= 1u << bit;
    if (same_image) roles.matched |= 1u << bit;
  }
  return roles;
}

}  // namespace cots::cuda
