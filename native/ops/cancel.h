// The cancel flag of the job that runs on this thread. Read between transformer layers and kernel
// blocks.
#pragma once

#include <atomic>
#include <stdexcept>

namespace cots::ops {

struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

/// Sets the flag that check_cancelled() reads on this thread for the lifetime of the guard.
class CancelScope {
 public:
  explicit CancelScope(const std::atomic<bool>* flag);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;

 private:
  const std::atomic<bool>* previous_;
};

/// Throws Cancelled if the flag of this thread is set.
void check_cancelled();

/// The flag of this thread, or null: a parallel region hands it to its workers with a CancelScope
/// of their own.
const std::atomic<bool>* cancel_flag();

}  // namespace cots::ops
