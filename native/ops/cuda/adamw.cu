// The launch of adamw_ on a stream; the kernel is in adamw.cuh.
#include "ops/cuda/adamw.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_adamw(const AdamWArguments& arguments, Stream stream) {
  adamw_launches(arguments, StreamLaunch{stream});
}

}  // namespace cots::cuda
