// The launches of queue_contrast on a stream; the kernels are in queue_contrast.cuh.
#include "ops/cuda/queue_contrast.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

ContrastDevice current_contrast_device() {
  int device = 0;
  C10_CUDA_CHECK(cudaGetDevice(&device));
  const auto ask = [device](cudaDeviceAttr attribute) {
    int value = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
    return value;
  };
  return {ask(cudaDevAttrMultiProcessorCount),
          static_cast<size_t>(ask(cudaDevAttrMaxSharedMemoryPerBlockOptin)),
          10 * ask(cudaDevAttrComputeCapabilityMajor) + ask(cudaDevAttrComputeCapabilityMinor)};
}

int64_t contrast_chunks(int64_t B, int64_t n, int D, bool is_bf16, const ContrastDevice& device) {
  return contrast_chunks_for(B, n, D, is_bf16, device);
}

void launch_queue_contrast(const ContrastArguments& arguments, bool is_bf16, size_t shared_bytes,
                           Stream stream) {
  queue_contrast_launches(arguments, is_bf16, shared_bytes, StreamLaunch{stream});
}

}  // namespace cots::cuda
