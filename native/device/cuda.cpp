// CUDA behind the interfaces of this folder: what the driver says, and graphs.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <sstream>

#include "device/accelerators.h"
#include "device/recorded.h"
#include "device/uploader.h"

namespace cots::device {
namespace {

/// "80,90a" -> {80, 90}: what CMake was told to build the kernels for.
std::vector<int> built_architectures() {
  std::vector<int> result;
  std::istringstream list(COTS_CUDA_ARCHITECTURES);
  for (std::string one; std::getline(list, one, ',');) result.push_back(std::stoi(one));
  return result;
}

class Graph final : public Recorded {
 public:
  Graph(c10::Device device, at::cuda::MempoolId_t pool, const std::function<void()>& work,
        int warm_ups)
      : device_(device) {
    const c10::cuda::CUDAGuard on_device(device_);
    // What fills the inputs runs on the current stream; a capture must be on one of its own.
    c10::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(false, device.index());
    const c10::cuda::CUDAStreamGuard on_stream(stream);
    for (int i = 0; i < warm_ups; ++i) work();
    stream.synchronize();
    graph_.capture_begin(pool);
    try {
      work();
    } catch (...) {
      end_failed_capture();
      throw;
    }
    graph_.capture_end();
  }

  void replay() override {
    const c10::cuda::CUDAGuard on_device(device_);
    graph_.replay();  // on the current stream
  }

 private:
  /// A capture has to end before the failure may go on; what ending it then says is of no use.
  void end_failed_capture() {
    try {
      graph_.capture_end();
    } catch (...) {
    }
  }

  c10::Device device_;
  at::cuda::CUDAGraph graph_;
};

class GraphRecorder final : public Recorder {
 public:
  explicit GraphRecorder(c10::Device device) : device_(device) {}
  std::unique_ptr<Recorded> record(std::function<void()> work, int warm_ups) override {
    return std::make_unique<Graph>(device_, pool_, work, warm_ups);
  }

 private:
  c10::Device device_;
  at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

/// Host to pinned memory, then over a stream of its own to memory from which take() copies within
/// the device: what the step reads is not overwritten while it runs.
class PinnedUploader final : public Uploader {
 public:
  explicit PinnedUploader(c10::Device device)
      : device_(device), stream_(c10::cuda::getStreamFromPool(false, device.index())) {}

  void begin(const std::vector<at::Tensor>& host) override {
    const c10::cuda::CUDAGuard on_device(device_);
    copied_.synchronize();  // pinned memory is free again
    pinned_.resize(host.size());
    staged_.resize(host.size());
    for (size_t i = 0; i < host.size(); ++i) {
      if (!pinned_[i].defined() || pinned_[i].sizes() != host[i].sizes() ||
          pinned_[i].scalar_type() != host[i].scalar_type()) {
        pinned_[i] = at::empty(host[i].sizes(), host[i].options().pinned_memory(true));
        staged_[i] = at::empty(host[i].sizes(), host[i].options().device(device_));
      }
      pinned_[i].copy_(host[i]);
    }
    taken_.block(stream_);  // staged memory has been read
    const c10::cuda::CUDAStreamGuard on_stream(stream_);
    for (size_t i = 0; i < host.size(); ++i) staged_[i].copy_(pinned_[i], /*non_blocking=*/true);
    copied_.record(stream_);
  }

  void take(const std::vector<at::Tensor>& inputs) override {
    const c10::cuda::CUDAGuard on_device(device_);
    const c10::cuda::CUDAStream current = c10::cuda::getCurrentCUDAStream();
    copied_.block(current);
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].copy_(staged_[i]);
    taken_.record(current);
  }

 private:
  c10::Device device_;
  c10::cuda::CUDAStream stream_;
  std::vector<at::Tensor> pinned_, staged_;
  at::cuda::CUDAEvent copied_, taken_;
};

}  // namespace

// Declared where they are called: accelerators.cpp, recorded.cpp and uploader.cpp.
void read_driver(AcceleratorFacts& facts);
std::unique_ptr<Recorder> make_graph_recorder(c10::Device device);
std::unique_ptr<Uploader> make_pinned_uploader(c10::Device device);

void read_driver(AcceleratorFacts& facts) {
  facts.architectures = built_architectures();
  cudaRuntimeGetVersion(&facts.runtime);
  cudaDriverGetVersion(&facts.driver);
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted != cudaSuccess && counted != cudaErrorNoDevice) {
    facts.failure = cudaGetErrorString(counted);
    cudaGetLastError();  // it is told; later calls shall not find it
    return;
  }
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, index) != cudaSuccess) continue;
    facts.devices.push_back({properties.name, 10 * properties.major + properties.minor,
                             static_cast<int64_t>(properties.totalGlobalMem)});
  }
}

std::unique_ptr<Recorder> make_graph_recorder(c10::Device device) {
  return std::make_unique<GraphRecorder>(device);
}

std::unique_ptr<Uploader> make_pinned_uploader(c10::Device device) {
  return std::make_unique<PinnedUploader>(device);
}

}  // namespace cots::device
