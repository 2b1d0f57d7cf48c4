// The launch of scale_pixels on a stream; the kernel is in scale_pixels.cuh.
#include "ops/cuda/scale_pixels.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_scale_pixels(const ScalePixelsArguments& arguments, Stream stream) {
  scale_pixels_launches(arguments, StreamLaunch{stream});
}

}  // namespace cots::cuda
