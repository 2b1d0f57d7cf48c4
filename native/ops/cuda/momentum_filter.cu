// The launch of momentum_filter on a stream; the kernel is in momentum_filter.cuh.
#include "ops/cuda/momentum_filter.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_momentum_filter(const FilterArguments& arguments, Stream stream) {
  momentum_filter_launches(arguments, StreamLaunch{stream});
}

}  // namespace cots::cuda
