// The launches of vocabulary_cross_entropy on a stream; the kernels are in the .cuh.
#include "ops/cuda/vocabulary_cross_entropy.cuh"

#include "ops/cuda/launch.cuh"

namespace cots::cuda {

void launch_softmax_rows(const SoftmaxRowsArguments& arguments, Stream stream) {
  softmax_rows_launches(arguments, StreamLaunch{stream});
}

void launch_add_losses(const double* loss_R, int64_t R, double* loss, Stream stream) {
  add_losses_launches(loss_R, R, loss, StreamLaunch{stream});
}

}  // namespace cots::cuda
