// NCCL by what libtorch itself exports of it: neither its headers nor its library are needed.
#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/csrc/cuda/nccl.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "device/collectives.h"

namespace cots::device {
namespace {

namespace nccl = torch::cuda::nccl;

/// Begun on another stream: done for the host, and wait() makes the current stream wait for it.
class StreamWork final : public c10d::Work {
 public:
  StreamWork(c10::Device device, std::shared_ptr<at::cuda::CUDAEvent> end)
      : device_(device), end_(std::move(end)) {
    finish();
  }
  bool wait(std::chrono::milliseconds) override {
    synchronize();
    return true;
  }
  void synchronize() override {
    const c10::cuda::CUDAGuard on_device(device_);
    end_->block(c10::cuda::getCurrentCUDAStream());
  }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    auto future = c10::make_intrusive<c10::ivalue::Future>(c10::NoneType::get());
    future->markCompleted();
    return future;
  }

 private:
  c10::Device device_;
  std::shared_ptr<at::cuda::CUDAEvent> end_;
};

class Nccl final : public c10d::Backend {
 public:
  Nccl(c10::Device device, const nccl::ncclUniqueId& id, int rank, int world)
      : c10d::Backend(rank, world),
        device_(device),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index())),
        communicator_(nccl::comm_init_rank(world, id, rank)) {}

  const std::string getBackendName() const override { return "nccl"; }

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions&) override {
    return beside([&] {
      nccl::all_reduce(tensors, tensors, static_cast<int>(nccl::ncclRedOp::Sum), streams(),
                       communicators());
    });
  }

  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& all, at::Tensor& own,
                                                 const c10d::AllgatherOptions&) override {
    return beside([&] {
      std::vector<at::Tensor> outputs = {all};
      nccl::all_gather({own}, outputs, streams(), communicators());
    });
  }

 private:
  /// After all that the current stream was given so far, and beside what it is given next. The
  /// tensors must live until the work is waited for, as Group's do.
  template <typename Collective>
  c10::intrusive_ptr<c10d::Work> beside(const Collective& collective) {
    const c10::cuda::CUDAGuard on_device(device_);
    at::cuda::CUDAEvent begin;
    begin.record(c10::cuda::getCurrentCUDAStream());
    begin.block(stream_);
    collective();
    auto end = std::make_shared<at::cuda::CUDAEvent>();
    end->record(stream_);
    return c10::make_intrusive<StreamWork>(device_, std::move(end));
  }

  nccl::stream_list streams() const { return {stream_}; }
  nccl::comm_list communicators() const { return {communicator_}; }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;
  // Not destroyed: that waits for the other ranks, one of which may have left.
  nccl::ncclComm_t communicator_;
};

}  // namespace

// Declared where it is called: collectives.cpp.
c10::intrusive_ptr<c10d::Backend> connect_nccl(c10::Device device,
                                               const c10::intrusive_ptr<c10d::Store>& store,
                                               int rank, int world);

c10::intrusive_ptr<c10d::Backend> connect_nccl(c10::Device device,
                                               const c10::intrusive_ptr<c10d::Store>& store,
                                               int rank, int world) {
  const c10::cuda::CUDAGuard on_device(device);
  nccl::ncclUniqueId id{};
  if (rank == 0) {
    nccl::get_unique_id(id);
    store->set("nccl-id", std::vector<uint8_t>(id.internal, id.internal + sizeof id.internal));
  } else {
    const std::vector<uint8_t> bytes = store->get("nccl-id");
    TORCH_CHECK(bytes.size() == sizeof id.internal, "the id of NCCL has ", bytes.size(), " bytes");
    std::memcpy(id.internal, bytes.data(), bytes.size());
  }
  return c10::make_intrusive<Nccl>(device, id, rank, world);
}

}  // namespace cots::device
