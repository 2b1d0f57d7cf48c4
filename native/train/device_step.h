// Steps on an accelerator: batches go to the device while it is at work, each shape's work is
// recorded once the run has settled and replayed from then on, and the host waits for nothing but
// the report at a step's end. Runs on a CPU too, where the tests hold it against Trainer's own
// step.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "device/recorded.h"
#include "device/uploader.h"
#include "train/step_work.h"

namespace cots {

class DeviceStep {
 public:
  DeviceStep(const TrainConfig& config, const StepState& state);

  /// Step number `step`, from 1. `next`: the batch of step + 1, if there is one already: it goes to
  /// the device meanwhile.
  StepReport run(const Batch& batch, int64_t step, const Batch* next = nullptr);

  /// The state was replaced, so what was recorded for a full queue may not fit it any more.
  void forget();
  /// Shapes that are replayed by now.
  size_t recorded() const;

 private:
  /// Inputs and report of one shape, and its recorded work once the run has settled.
  struct Bucket {
    StepInputs inputs;
    Tensor report;
    bool has_run = false;
    std::unique_ptr<device::Recorded> recorded;
  };
  /// A batch on its way to the device.
  struct Staged {
    int64_t step;
    Tensor sample_B;  // which pairs, on the host
    StepShape shape;
  };

  int64_t all_pairs(int64_t own) const;
  StepPhase phase(int64_t step) const;
  bool is_settled(const StepPhase& phase, int64_t step) const;
  void stage(const Batch& batch, int64_t step);
  void stage_ahead(const Batch& batch, int64_t step);
  void work(const Bucket& bucket, const StepPhase& phase) const;

  TrainConfig config_;
  StepState state_;
  ops::PixelScale pixels_;
  std::unique_ptr<device::Recorder> recorder_;
  std::unique_ptr<device::Uploader> uploader_;
  std::map<StepShape, Bucket> buckets_;
  std::optional<Staged> staged_;
};

}  // namespace cots
