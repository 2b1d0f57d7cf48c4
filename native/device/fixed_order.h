// Sums in a fixed order on a device, so that a run that is resumed gives the same bits.
#pragma once

#include <c10/core/Device.h>

namespace cots::device {

/// While it lives libtorch takes deterministic kernels for the whole process, and an operation that
/// has none fails. Nothing on a CPU, whose kernels have a fixed order.
class FixedOrder {
 public:
  explicit FixedOrder(c10::Device device);
  ~FixedOrder();
  FixedOrder(const FixedOrder&) = delete;

 private:
  bool active_, was_deterministic_ = false, was_warning_ = false, was_filling_ = false;
};

}  // namespace cots::device
