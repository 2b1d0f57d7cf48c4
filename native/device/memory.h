// Memory of a device: what running out of it looks like, and giving back what is kept for reuse.
#pragma once

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <cstdint>

namespace cots::device {

/// Whether a failure of libtorch says that a device, or the CPU, had not as much memory.
bool is_out_of_memory(const c10::Error& error);

/// Gives memory that a device's allocator keeps for reuse back to the device. Nothing on a CPU.
void release_cached_memory(c10::Device device);

/// Most bytes that tensors have had on a device at once in this process; 0 on a CPU.
int64_t peak_bytes(c10::Device device);

}  // namespace cots::device
