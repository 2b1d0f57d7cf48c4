// The launches of keyed_random on a stream; the kernels are in keyed_random.cuh.
#include "ops/cuda/keyed_random.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_keyed_uniform(const int64_t* keys_B, int64_t site, int64_t B, int64_t n, float* out_Bn,
                          Stream stream) {
  keyed_uniform_launches(keys_B, site, B, n, out_Bn, StreamLaunch{stream});
}

void launch_keyed_dropout(const DropoutArguments& arguments, bool is_bf16, Stream stream) {
  keyed_dropout_launches(arguments, is_bf16, StreamLaunch{stream});
}

}  // namespace cots::cuda
