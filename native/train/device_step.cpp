#include "train/device_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "device/fixed_order.h"
#include "device/memory.h"
#include "train/schedule.h"
#include "train/settings.h"

namespace cots {

DeviceStep::DeviceStep(const TrainConfig& config, const StepState& state)
    : config_(config),
      state_(state),
      pixels_(pixel_scale(config)),
      recorder_(device::make_recorder(config.placement.device)),
      uploader_(device::make_uploader(config.placement.device)) {}

StepReport DeviceStep::run(const Batch& batch, int64_t step, const Batch* next) {
  const device::FixedOrder fixed_order(config_.placement.device);
  if (!staged_ || staged_->step != step || !at::equal(staged_->sample_B, batch.sample_B))
    stage(batch, step);
  Bucket& bucket = buckets_.at(staged_->shape);
  uploader_->take(tensors_of(bucket.inputs));
  staged_.reset();
  bucket.inputs.rate_2.copy_(at::tensor(
      {learning_rate(config_.optimizer, step), static_cast<double>(state_.optimizer.updates() + 1)},
      at::kDouble));
  if (!bucket.recorded) {
    const StepPhase now = phase(step);
    if (bucket.has_run && is_settled(now, step)) {
      device::release_cached_memory(config_.placement.device);  // recorded work has its own
      bucket.recorded =
          recorder_->record([this, &bucket, now] { work(bucket, now); }, /*warm_ups=*/0);
    } else {
      work(bucket, now);
      bucket.has_run = true;
    }
  }
  if (bucket.recorded) bucket.recorded->replay();
  if (next != nullptr) stage_ahead(*next, step + 1);
  state_.group.await(config_.placement.device);
  StepReport report = read_report(bucket.report, all_pairs(batch.ids_BL.size(0)));
  if (report.any_kept && report.finite) state_.optimizer.count_update();
  return report;
}

void DeviceStep::forget() {
  for (auto& [shape, bucket] : buckets_) {
    bucket.recorded.reset();
    bucket.has_run = false;
  }
  staged_.reset();
}

size_t DeviceStep::recorded() const {
  return static_cast<size_t>(std::count_if(buckets_.begin(), buckets_.end(), [](const auto& entry) {
    return entry.second.recorded != nullptr;
  }));
}

/// Of all ranks, which have as many each.
int64_t DeviceStep::all_pairs(int64_t own) const { return own * state_.group.world(); }

/// Asks the device for the queue's counts.
StepPhase DeviceStep::phase(int64_t step) const {
  return {state_.queue.filled(), state_.queue.valid(), task_weight(config_.loss, step)};
}

/// Whether later steps will have the same constants: a queue that is full of real pairs stays so.
bool DeviceStep::is_settled(const StepPhase& phase, int64_t step) const {
  return phase.filled == state_.queue.capacity() && phase.valid == state_.queue.capacity() &&
         step > config_.loss.task_warmup_steps;
}

void DeviceStep::stage(const Batch& batch, int64_t step) {
  const StepInputs host = step_inputs(config_, batch, step);
  const StepShape shape = step_shape(config_, batch);
  if (!buckets_.contains(shape)) {
    const at::Device device = config_.placement.device;
    Bucket bucket;  // in the map only when it is whole: memory may run out
    bucket.inputs = empty_like(host, device);
    bucket.report = at::zeros({report_size(all_pairs(shape.pairs))},
                              at::TensorOptions(at::kDouble).device(device));
    buckets_.emplace(shape, std::move(bucket));
  }
  uploader_->begin(tensors_of(host));
  staged_ = {step, batch.sample_B, shape};
}

/// What fails here fails again when the batch's own step stages it, before any work: the step that
/// is under way has changed the weights already and must end.
void DeviceStep::stage_ahead(const Batch& batch, int64_t step) {
  try {
    stage(batch, step);
  } catch (const std::exception&) {
    staged_.reset();
  }
}

void DeviceStep::work(const Bucket& bucket, const StepPhase& phase) const {
  step_work(config_, pixels_, state_, bucket.inputs, phase, bucket.report);
}

}  // namespace cots
