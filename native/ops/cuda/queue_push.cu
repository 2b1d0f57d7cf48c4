// The launches of queue_push_ on a stream; the kernels are in queue_push.cuh.
#include "ops/cuda/queue_push.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_queue_push(const PushArguments& arguments, Stream stream) {
  queue_push_launches(arguments, StreamLaunch{stream});
}

}  // namespace cots::cuda
