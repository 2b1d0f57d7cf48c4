// How the process treats freed memory, and how much it has in use.
#pragma once

#include <cstdint>

namespace cots::io {

/// Makes libtorch keep large freed blocks for the next requests instead of giving them back to the
/// kernel. A training step frees and allocates the same few hundred blocks again and again; without
/// this every step pays a page fault for each 4 KB of them (13,800 faults a step at the demo's
/// size). They lie on huge pages. What is kept counts against a bound: together with what is in use
/// never more than 1/32 above what was in use at once lately. Once a process; idempotent.
void keep_freed_blocks();

/// Gives all memory that is not in use back to the kernel, e.g. when a trainer was disposed.
void release_freed_blocks();

/// How many bytes more than at its start the process had in use at once, of tensors of 64 KiB and
/// more where `keep_freed_blocks` was called. A newer watch ends an older one.
class BlockWatch {
 public:
  BlockWatch();
  int64_t most() const;

 private:
  int64_t start_;
};

}  // namespace cots::io
