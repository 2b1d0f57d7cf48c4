#include "ops/cancel.h"

namespace cots::ops {
namespace {

thread_local const std::atomic<bool>* flag_of_thread = nullptr;

}  // namespace

CancelScope::CancelScope(const std::atomic<bool>* flag) : previous_(flag_of_thread) {
  flag_of_thread = flag;
}

CancelScope::~CancelScope() { flag_of_thread = previous_; }

const std::atomic<bool>* cancel_flag() { return flag_of_thread; }

void check_cancelled() {
  if (flag_of_thread && flag_of_thread->load(std::memory_order_relaxed)) throw Cancelled();
}

}  // namespace cots::ops
