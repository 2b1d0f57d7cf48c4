// Device work of fixed shapes that is run again and again on the same memory.
#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace cots::device {

/// Work whose kernels are launched by one call.
class Recorded {
 public:
  virtual ~Recorded() = default;
  /// Runs the work once more, on what its input tensors hold now. On an accelerator it returns
  /// before the work is done.
  virtual void replay() = 0;
};

/// Records work of one device: on CUDA as a graph, elsewhere it is kept and called.
class Recorder {
 public:
  virtual ~Recorder() = default;
  /// Runs `work` `warm_ups` times, so that libraries have chosen their algorithms, then records it
  /// (on a CPU it is kept, and not run). 0: it has run before.
  /// `work` reads and writes tensors that were made before and outlive the result; what it
  /// allocates lives in memory that all work of this recorder shares, so a replay begins when the
  /// one before has been read. It asks for no value on the host.
  virtual std::unique_ptr<Recorded> record(std::function<void()> work, int warm_ups = kWarmUps) = 0;
  static constexpr int kWarmUps = 3;  // PyTorch's own advice before a capture
};

std::unique_ptr<Recorder> make_recorder(c10::Device device);

}  // namespace cots::device
