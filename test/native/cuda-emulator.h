// Runs CUDA kernels on the host, for tests: the very sources of native/ops/cuda/*.cuh, one block
// after the other, each thread of a block on a stack of its own that is left at barriers, shuffles
// and tensor-core products. Include it before a kernel. What it checks on the way:
//  - a barrier or a warp's instruction that not every thread reaches is an error (a deadlock);
//  - shared memory begins as NaN, and an asynchronous copy lands only when it is waited for;
//  - addresses of 16-byte copies and of matrix rows must be aligned;
//  - shared memory is one heap block of the size asked for, so that the address sanitizer sees
//  every
//    access past it, as it does for tensors;
//  - threads can run forwards, backwards or shuffled: a race shows as a difference.
// Products of tensor cores are exact sums rounded to float32 once. Legend: lane 4 g + t of a warp.
#pragma once

#define COTS_CUDA_EMULATED

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#include "ops/cuda/launch.h"

#define __global__
#define __device__
#define __launch_bounds__(...)

namespace cots::emulator {

struct Index {
  unsigned x = 0, y = 0;
};

enum class Order { kForward, kBackward, kShuffled };

constexpr size_t kStackBytes = 256 << 10;
constexpr int kLanes = 32;

enum class State { kReady, kAtBarrier, kAtWarp, kDone };

struct Copy {
  void* to;
  const void* from;
  bool inside;
  int group;
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack;
  State state = State::kReady;
  std::vector<Copy> copies;
  int groups = 0, phase = 0;
  void* fake_stack = nullptr;  // of the address sanitizer
};

/// What a warp's lanes hand to each other; two phases, so that one wait an exchange is enough.
using Slots = std::array<std::array<std::array<std::byte, 64>, kLanes>, 2>;

/// The machine: one block at a time.
struct Machine {
  Index thread, block, block_size, grid_size;
  Order order = Order::kForward;
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Slots> slots;
  std::unique_ptr<std::byte[]> shared;
  std::function<void()> kernel;
  ucontext_t scheduler;
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  std::string failure;
};

inline Machine& machine() {
  static Machine instance;
  return instance;
}

inline Thread& current() { return *machine().threads[machine().thread.x]; }

inline void fail(const std::string& what) {
  if (machine().failure.empty()) machine().failure = what;
}

/// Leaves the current thread for the scheduler, in this state.
inline void leave(State state) {
  Thread& self = current();
  self.state = state;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(state == State::kDone ? nullptr : &self.fake_stack,
                                 machine().scheduler_stack, machine().scheduler_stack_bytes);
#endif
  swapcontext(&self.context, &machine().scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(self.fake_stack, nullptr, nullptr);
#endif
}

inline void thread_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine().scheduler_stack,
                                  &machine().scheduler_stack_bytes);
#endif
  machine().kernel();
  if (!current().copies.empty()) fail("a thread ended with copies that it did not wait for");
  leave(State::kDone);
}

inline void resume(unsigned index) {
  Machine& m = machine();
  m.thread.x = index;
  Thread& thread = *m.threads[index];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&m.scheduler_fake_stack, thread.stack.get(), kStackBytes);
#endif
  swapcontext(&m.scheduler, &thread.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(m.scheduler_fake_stack, nullptr, nullptr);
#endif
}

inline bool all_are(unsigned first, unsigned count, State state) {
  for (unsigned i = first; i < first + count; ++i)
    if (machine().threads[i]->state != state) return false;
  return true;
}

inline void make_ready(unsigned first, unsigned count) {
  for (unsigned i = first; i < first + count; ++i) machine().threads[i]->state = State::kReady;
}

/// Lets warps and the block pass where all of their threads have arrived; false when none has.
inline bool release() {
  Machine& m = machine();
  const unsigned threads = m.block_size.x;
  bool any = false;
  for (unsigned first = 0; first < threads; first += kLanes)
    if (all_are(first, std::min<unsigned>(kLanes, threads - first), State::kAtWarp))
      make_ready(first, std::min<unsigned>(kLanes, threads - first)), any = true;
  bool at_barrier = true, some = false;  // threads that have ended do not hold the others up
  for (const auto& t : m.threads) {
    at_barrier = at_barrier && (t->state == State::kAtBarrier || t->state == State::kDone);
    some = some || t->state == State::kAtBarrier;
  }
  if (!at_barrier || !some) return any;
  for (const auto& t : m.threads)
    if (t->state == State::kAtBarrier) t->state = State::kReady;
  return true;
}

inline std::vector<unsigned> thread_order(unsigned count) {
  static std::mt19937 random(1);
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (machine().order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (machine().order == Order::kShuffled) std::shuffle(order.begin(), order.end(), random);
  return order;
}

inline void run_block(unsigned threads, size_t shared_bytes) {
  Machine& m = machine();
  m.shared.reset(new std::byte[std::max<size_t>(shared_bytes, 1)]);
  std::memset(m.shared.get(), 0xff, shared_bytes);
  m.slots.resize((threads + kLanes - 1) / kLanes);
  while (m.threads.size() > threads) m.threads.pop_back();
  while (m.threads.size() < threads) {
    m.threads.push_back(std::make_unique<Thread>());
    m.threads.back()->stack.reset(new std::byte[kStackBytes]);
  }
  for (const auto& t : m.threads) {
    t->state = State::kReady, t->groups = t->phase = 0, t->copies.clear();
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack.get();
    t->context.uc_stack.ss_size = kStackBytes;
    t->context.uc_link = nullptr;
    makecontext(&t->context, thread_main, 0);
  }
  while (!all_are(0, threads, State::kDone)) {
    for (const unsigned i : thread_order(threads))
      if (m.threads[i]->state == State::kReady) resume(i);
    if (all_are(0, threads, State::kDone)) break;
    if (!release())
      throw std::logic_error("a barrier or a warp's instruction was not reached by all");
  }
}

/// Runs a kernel over a grid, as the launch sequences of native/ops/cuda ask for it.
struct Launch {
  template <class... Parameters, class... Arguments>
  void operator()(void (*kernel)(Parameters...), cuda::Grid grid, int threads, size_t shared_bytes,
                  const Arguments&... arguments) const {
    Machine& m = machine();
    m.grid_size = {grid.x, grid.y};
    m.block_size = {static_cast<unsigned>(threads), 1};
    m.kernel = [&] { kernel(Parameters(arguments)...); };
    for (m.block.y = 0; m.block.y < grid.y; ++m.block.y)
      for (m.block.x = 0; m.block.x < grid.x; ++m.block.x)
        run_block(static_cast<unsigned>(threads), shared_bytes);
    if (m.failure.empty()) return;
    const std::string what = std::exchange(m.failure, "");
    throw std::logic_error(what);
  }
};

/// What every lane of the warp gave, in every lane.
template <class T>
std::array<T, kLanes> exchange(const T& mine) {
  static_assert(sizeof(T) <= 64);
  Machine& m = machine();
  const unsigned index = m.thread.x;
  auto& slots = m.slots[index / kLanes][static_cast<size_t>(current().phase ^= 1)];
  std::memcpy(slots[index % kLanes].data(), &mine, sizeof(T));
  leave(State::kAtWarp);
  std::array<T, kLanes> all;
  for (size_t l = 0; l < kLanes; ++l) std::memcpy(&all[l], slots[l].data(), sizeof(T));
  return all;
}

}  // namespace cots::emulator

#define threadIdx (cots::emulator::machine().thread)
#define blockIdx (cots::emulator::machine().block)
#define blockDim (cots::emulator::machine().block_size)
#define gridDim (cots::emulator::machine().grid_size)
#define __syncthreads() cots::emulator::leave(cots::emulator::State::kAtBarrier)

#include "cuda-words.h"
