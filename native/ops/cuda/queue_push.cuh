// Two launches: one block numbers the rows that are kept and moves the cursor, then a warp a row
// writes. Places are distinct, so the order of the warps does not matter. Legend: queue_push.h.
#pragma once

#include "ops/cuda/device.cuh"
#include "ops/cuda/queue_push.h"

namespace cots::cuda {

constexpr int kPlaceThreads = 1024, kPushThreads = 256;

/// The sum of `value` over all threads of the block up to this one, this one included. `scratch` is
/// shared memory of 2 kThreads values.
template <int kThreads>
__device__ inline int block_running_sum(int value, int* scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  int* from = scratch;
  int* to = scratch + kThreads;
  from[thread] = value;
  __syncthreads();
  for (int step = 1; step < kThreads; step *= 2) {
    to[thread] = from[thread] + (thread >= step ? from[thread - step] : 0);
    __syncthreads();
    int* const swap = from;
    from = to, to = swap;
  }
  return from[thread];
}

/// place_B: where a row goes, -1 for one that is not kept or that later ones of the batch replace.
static __global__ void __launch_bounds__(kPlaceThreads) queue_places(PushArguments p) {
  auto* scratch = reinterpret_cast<int*>(shared_memory());
  // A thread counts neighboring rows, so that the numbers follow the order of the batch.
  const int64_t share = (p.B + kPlaceThreads - 1) / kPlaceThreads, first = threadIdx.x * share;
  const int64_t end = first + share < p.B ? first + share : p.B;
  int count = 0;
  for (int64_t row = first; row < end; ++row) count += p.keep_B[row] ? 1 : 0;
  const int until = block_running_sum<kPlaceThreads>(count, scratch);
  int* const total = scratch + 2 * kPlaceThreads;
  if (threadIdx.x == kPlaceThreads - 1) *total = until;
  __syncthreads();
  const int64_t pushed = *total, next = p.cursor_2[0];
  int64_t number = until - count;
  for (int64_t row = first; row < end; ++row) {
    if (!p.keep_B[row]) {
      p.place_B[row] = -1;
      continue;
    }
    p.place_B[row] = number >= pushed - p.N ? (next + number) % p.N : -1;
    ++number;
  }
  __syncthreads();  // all have read the cursor
  if (threadIdx.x != 0) return;
  const int64_t filled = p.cursor_2[1] + pushed;
  p.cursor_2[0] = (next + pushed) % p.N;
  p.cursor_2[1] = filled < p.N ? filled : p.N;
}

static __global__ void __launch_bounds__(kPushThreads) queue_write(PushArguments p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t row = thread_index() / kWarp; row < p.B; row += thread_count() / kWarp) {
    const int64_t place = p.place_B[row];
    if (place < 0) continue;
    for (int64_t word = lane; word < p.words; word += kWarp) {
      p.image_N[place * p.words + word] = p.image_B[row * p.words + word];
      p.text_N[place * p.words + word] = p.text_B[row * p.words + word];
    }
    if (lane != 0) continue;
    p.score_N[place] = p.score_B[row];
    p.id_N[place] = p.id_B[row];
    p.valid_N[place] = true;
  }
}

template <class Launch>
void queue_push_launches(const PushArguments& p, const Launch& launch) {
  if (p.B == 0) return;
  launch(queue_places, Grid{}, kPlaceThreads, sizeof(int) * (2 * kPlaceThreads + 1), p);
  launch(queue_write, grid_for(p.B * kWarp, kPushThreads), kPushThreads, 0, p);
}

}  // namespace cots::cuda
