// The draws of ops/philox.h: a thread makes the four of one counter, so every element has the bits
// that it has on a CPU. Legend: B rows (one key each), n elements a row.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/keyed_random.h"
#include "ops/philox.h"

namespace cots::cuda {

constexpr int kRandomThreads = 256;

/// Calls use(offset, high bits) for every element of this thread.
template <class Use>
__device__ inline void for_each_draw(const int64_t* keys_B, int64_t site, int64_t B, int64_t n,
                                     const Use& use) {
  const int64_t quads = (n + 3) / 4;
  for (int64_t i = thread_index(); i < B * quads; i += thread_count()) {
    const int64_t row = i / quads, quad = i % quads;
    const auto words = ops::philox(static_cast<uint64_t>(keys_B[row]), static_cast<uint64_t>(site),
                                   static_cast<uint64_t>(quad));
    COTS_UNROLL for (int w = 0; w < 4; ++w) {
      const int64_t column = 4 * quad + w;
      if (column < n) use(row * n + column, ops::high_bits(words[static_cast<size_t>(w)]));
    }
  }
}

static __global__ void __launch_bounds__(kRandomThreads)
    keyed_uniform(const int64_t* keys_B, int64_t site, int64_t B, int64_t n, float* out_Bn) {
  for_each_draw(keys_B, site, B, n, [=](int64_t at, uint32_t bits) {
    out_Bn[at] = static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-24f;
  });
}

__device__ inline void set_element(float& out, float x) { out = x; }
__device__ inline void set_element(Bf16& out, float x) { out = to_bf16(x); }

template <class Element>
__global__ void __launch_bounds__(kRandomThreads) keyed_dropout(DropoutArguments p) {
  const auto* in = static_cast<const Element*>(p.in_Bn);
  auto* out = static_cast<Element*>(p.out_Bn);
  for_each_draw(p.keys_B, p.site, p.B, p.n, [=](int64_t at, uint32_t bits) {
    const bool stays = static_cast<int32_t>(bits) >= p.threshold;
    set_element(out[at], stays ? to_float(in[at]) * p.scale : 0.0f);
  });
}

template <class Launch>
void keyed_uniform_launches(const int64_t* keys_B, int64_t site, int64_t B, int64_t n,
                            float* out_Bn, const Launch& launch) {
  if (B * n == 0) return;
  launch(keyed_uniform, grid_for(B * ((n + 3) / 4), kRandomThreads), kRandomThreads, size_t{0},
         keys_B, site, B, n, out_Bn);
}

template <class Launch>
void keyed_dropout_launches(const DropoutArguments& p, bool is_bf16, const Launch& launch) {
  if (p.B * p.n == 0) return;
  const Grid grid = grid_for(p.B * ((p.n + 3) / 4), kRandomThreads);
  if (is_bf16)
    launch(keyed_dropout<Bf16>, grid, kRandomThreads, size_t{0}, p);
  else
    launch(keyed_dropout<float>, grid, kRandomThreads, size_t{0}, p);
}

}  // namespace cots::cuda
