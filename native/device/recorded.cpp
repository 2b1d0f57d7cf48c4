#include "device/recorded.h"

#include <utility>

namespace cots::device {
namespace {

/// A device without graphs: replaying is doing it again.
class Repeated final : public Recorded {
 public:
  explicit Repeated(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

class Repeater final : public Recorder {
 public:
  std::unique_ptr<Recorded> record(std::function<void()> work, int /*warm_ups*/) override {
    return std::make_unique<Repeated>(std::move(work));
  }
};

}  // namespace

#ifdef COTS_WITH_CUDA
std::unique_ptr<Recorder> make_graph_recorder(c10::Device device);  // cuda.cpp
#endif

std::unique_ptr<Recorder> make_recorder(c10::Device device) {
#ifdef COTS_WITH_CUDA
  if (device.is_cuda()) return make_graph_recorder(device);
#endif
  (void)device;
  return std::make_unique<Repeater>();
}

}  // namespace cots::device
