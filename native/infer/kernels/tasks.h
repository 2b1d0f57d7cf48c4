// Work in pieces, each taken by the next free thread: a thread that another program holds up does
// not hold up the others.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace cots::kernels {

/// f(0) .. f(count - 1) on the caller's pool, in no order.
template <class F>
void for_each_task(int64_t count, const F& f) {
  std::atomic<int64_t> next{0};
  const int64_t workers = std::min<int64_t>(at::get_num_threads(), count);
  at::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) f(task);
  });
}

/// How many pieces to cut work into that is `pieces` already: enough for even use of the pool.
inline int64_t cuts(int64_t pieces, int64_t most) {
  constexpr int64_t kTasksAThread = 4;
  const int64_t wanted = kTasksAThread * at::get_num_threads();
  return std::clamp<int64_t>((wanted + pieces - 1) / std::max<int64_t>(pieces, 1), 1, most);
}

}  // namespace cots::kernels
