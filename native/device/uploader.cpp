#include "device/uploader.h"

#include <ATen/ATen.h>

namespace cots::device {
namespace {

class Keeper final : public Uploader {
 public:
  void begin(const std::vector<at::Tensor>& host) override {
    kept_.clear();
    for (const at::Tensor& tensor : host) kept_.push_back(tensor.clone());
  }
  void take(const std::vector<at::Tensor>& inputs) override {
    TORCH_INTERNAL_ASSERT(inputs.size() == kept_.size());
    for (size_t i = 0; i < inputs.size(); ++i) inputs[i].copy_(kept_[i]);
    kept_.clear();
  }

 private:
  std::vector<at::Tensor> kept_;
};

}  // namespace

#ifdef COTS_WITH_CUDA
std::unique_ptr<Uploader> make_pinned_uploader(c10::Device device);  // cuda.cpp
#endif

std::unique_ptr<Uploader> make_uploader(c10::Device device) {
#ifdef COTS_WITH_CUDA
  if (device.is_cuda()) return make_pinned_uploader(device);
#endif
  (void)device;
  return std::make_unique<Keeper>();
}

}  // namespace cots::device
