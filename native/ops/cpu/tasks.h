// Work in pieces, each taken by the next free thread: a thread that another program holds up does
// not hold up the others.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace cots::ops {

/// f(0) .. f(count - 1) on the caller's pool, in no order.
template <class F>
void for_each_task(int64_t count, const F& f) {
  std::atomic<int64_t> next{0};
  const int64_t workers = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(task);
  });
}

/// Memory of a thread that is kept from call to call, on a cache line; what it holds is
/// unspecified.
inline float* scratch(int64_t floats) {
  static thread_local std::vector<float> memory;
  constexpr size_t kLine = 64 / sizeof(float);
  if (memory.size() < static_cast<size_t>(floats) + kLine)
    memory.resize(static_cast<size_t>(floats) + kLine);
  const size_t past = reinterpret_cast<uintptr_t>(memory.data()) / sizeof(float) % kLine;
  return memory.data() + (kLine - past) % kLine;
}

}  // namespace cots::ops
