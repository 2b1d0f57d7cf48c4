#include "device/fixed_order.h"

#include <ATen/Context.h>
#include <stdlib.h>

namespace cots::device {

FixedOrder::FixedOrder(c10::Device device) : active_(!device.is_cpu()) {
  if (!active_) return;
  // cuBLAS is deterministic with workspaces of a fixed size alone, and reads this once.
  static const int set = ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  (void)set;
  at::Context& context = at::globalContext();
  was_deterministic_ = context.deterministicAlgorithms();
  was_warning_ = context.deterministicAlgorithmsWarnOnly();
  was_filling_ = context.deterministicFillUninitializedMemory();
  // Not with a warning alone: attention's backward would keep its unordered sums.
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);
}

FixedOrder::~FixedOrder() {
  if (!active_) return;
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(was_deterministic_, was_warning_);
  context.setDeterministicFillUninitializedMemory(was_filling_);
}

}  // namespace cots::device
