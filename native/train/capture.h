// A checkpoint as the state is now, written while the run goes on. What the run is about to change
// is copied just before, and of that only what is not written yet: where a disk is quicker than a
// forward and backward pass nothing is.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "train/checkpoint_part.h"

namespace cots {

class Capture {
 public:
  /// Shares the memory of contiguous tensors of the host and copies all others.
  explicit Capture(const CheckpointPart& part);

  /// Once, on any thread. Each file is complete and synced when this returns.
  void write(const std::string& directory);

  /// Copies what is not written: after it the tensors may change, and write() still writes what
  /// they were. On the thread that changes them.
  void detach();

 private:
  struct Entry {
    const uint8_t* data = nullptr;  // where to read it: the tensor's memory, or the copy's
    Tensor copy;                    // undefined while the memory is shared
    uint64_t written = 0;           // bytes
  };

  void send(const std::string& name, const Tensor& tensor, const io::TakeBytes& take);

  CheckpointPart part_;
  std::mutex mutex_;  // guards what follows
  std::map<std::string, Entry> entries_;
};

}  // namespace cots
