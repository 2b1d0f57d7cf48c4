// Sums and gathers among the devices of several processes.
#pragma once

#include <c10/core/Device.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace cots::device {

/// The collectives of the ranks' devices, one device a rank; `store` is where they meet. On CUDA by
/// NCCL, on a stream of their own: what does not wait for one runs beside it, and work that is
/// recorded has its collectives recorded with it. Waiting for one keeps the current stream waiting,
/// never the host. Throws ERR_COTS_DEVICE where this build has no such device.
c10::intrusive_ptr<c10d::Backend> connect(c10::Device device,
                                          const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                          int world);

/// Waits until the device has done what it was given, at most so long; whether it has.
bool is_done_within(c10::Device device, std::chrono::milliseconds timeout);

}  // namespace cots::device
