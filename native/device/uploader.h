// Batches on their way from the CPU's memory to a device's while the device is at work.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

namespace cots::device {

class Uploader {
 public:
  virtual ~Uploader() = default;
  /// Begins to copy tensors of the CPU; they are read before it returns. What was begun before and
  /// not taken is dropped.
  virtual void begin(const std::vector<at::Tensor>& host) = 0;
  /// Fills tensors of the same shapes and types with what was begun, before whatever the current
  /// stream does next.
  virtual void take(const std::vector<at::Tensor>& inputs) = 0;
};

/// On CUDA through pinned memory, on a stream of its own; elsewhere the tensors are kept until they
/// are taken.
std::unique_ptr<Uploader> make_uploader(c10::Device device);

}  // namespace cots::device
