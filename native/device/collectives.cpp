#include "device/collectives.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <thread>

#include "io/failure.h"

namespace cots::device {

#ifdef COTS_WITH_CUDA
c10::intrusive_ptr<c10d::Backend> connect_nccl(c10::Device device,
                                               const c10::intrusive_ptr<c10d::Store>& store,
                                               int rank, int world);  // nccl.cpp
#endif

c10::intrusive_ptr<c10d::Backend> connect(c10::Device device,
                                          const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                          int world) {
#ifdef COTS_WITH_CUDA
  if (device.is_cuda()) return connect_nccl(device, store, rank, world);
#endif
  (void)store, (void)rank, (void)world;
  throw Failure("ERR_COTS_DEVICE", "Expected a device whose collectives this build has, got " +
                                       device.str() + ". Set train.device=cpu.");
}

bool is_done_within(c10::Device device, std::chrono::milliseconds timeout) {
  if (!device.is_cuda()) return true;
  using Clock = std::chrono::steady_clock;
  constexpr auto kLook = std::chrono::microseconds(100);
  c10::Event done(device.type());
  done.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  for (const auto end = Clock::now() + timeout; !done.query(); std::this_thread::sleep_for(kLook))
    if (Clock::now() > end) return false;
  return true;
}

}  // namespace cots::device
