// CUDA behind the interfaces of this folder: what the driver says, and graphs.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <sstream>

#include "device/accelerators.h"
#include "device/recorded.h"

namespace cots::device {
namespace {

constexpr int kWarmUps = 3;  // PyTorch's own advice before a capture

/// "80,90a" -> {80, 90}: what CMake was told to build the kernels for.
std::vector<int> built_architectures() {
  std::vector<int> result;
  std::istringstream list(COTS_CUDA_ARCHITECTURES);
  for (std::string one; std::getline(list, one, ',');) result.push_back(std::stoi(one));
  return result;
}

class Graph final : public Recorded {
 public:
  Graph(c10::Device device, at::cuda::MempoolId_t pool, const std::function<void()>& work)
      : device_(device) {
    const c10::cuda::CUDAGuard on_device(device_);
    // What fills the inputs runs on the current stream; a capture must be on one of its own.
    c10::cuda::getCurrentCUDAStream().synchronize();
    const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(false, device.index());
    const c10::cuda::CUDAStreamGuard on_stream(stream);
    for (int i = 0; i < kWarmUps; ++i) work();
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
  std::unique_ptr<Recorded> record(std::function<void()> work) override {
    return std::make_unique<Graph>(device_, pool_, work);
  }

 private:
  c10::Device device_;
  at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

}  // namespace

// Declared where they are called: accelerators.cpp and recorded.cpp.
void read_driver(AcceleratorFacts& facts);
std::unique_ptr<Recorder> make_graph_recorder(c10::Device device);

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

}  // namespace cots::device
