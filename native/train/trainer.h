// The state of a pre-training run and its one operation, step(): SPEC 3.6's order of one optimizer
// step.
#pragma once

#include <memory>
#include <string>

#include "loss/adaptive_filter.h"
#include "model/cots.h"
#include "model/image_tokenizer.h"
#include "model/momentum.h"
#include "model/queue.h"
#include "train/batch.h"
#include "train/capture.h"
#include "train/checkpoint_part.h"
#include "train/config.h"
#include "train/device_step.h"
#include "train/distributed.h"
#include "train/draws.h"
#include "train/gradient_buckets.h"
#include "train/key_exchange.h"
#include "train/key_pass.h"
#include "train/metrics.h"
#include "train/online_pass.h"
#include "train/optimizer.h"

namespace cots {

class Trainer {
 public:
  /// `tokenizer` may be null when loss.weight_cmvm is 0. With several ranks each makes the same
  /// calls with its own pairs of a batch; the metrics speak of the whole batch, in the order of the
  /// global sample index, and are the same on all, but for the times.
  Trainer(const TrainConfig& config, std::shared_ptr<const ImageTokenizer> tokenizer,
          const Group& group = {});

  /// EMA -> keys of all micro-batches -> filter -> online passes, losses, backward per micro-batch
  /// -> clip -> AdamW -> push. Only pairs that the filter keeps go through the online passes.
  /// Throws ops::Cancelled between layers when the job is cancelled: weights, queues and counters
  /// are then those of the step before, and the momentum encoder, which follows the weights once
  /// per change, is not moved twice when the step is repeated. When max_non_finite steps in a row
  /// were not finite, or the queue's scores have collapsed (SPEC 3.8), the metrics say `stop` and
  /// every later step throws ERR_COTS_NON_FINITE or ERR_COTS_COLLAPSED. With several ranks, one
  /// that has left ends the step with ERR_COTS_DISTRIBUTED, and so does one that is cancelled, on
  /// the others.
  /// `next`: the batch after it where it is there already; a device gets it meanwhile.
  StepMetrics step(const Batch& batch, const Batch* next = nullptr);

  /// Runs the momentum towers over a batch and pushes the keys, nothing else (queue.prefill).
  void prefill(const Batch& batch);

  int64_t steps() const { return step_; }
  Cots& model() { return model_; }
  Momentum& momentum() { return momentum_; }
  Queue& queue() { return queue_; }
  const Optimizer& optimizer() const { return optimizer_; }
  const TrainConfig& config() const { return config_; }

  /// What this rank writes of a checkpoint: model.safetensors (online towers, projections, logit
  /// scale) on rank 0, and its piece of the state (heads, momentum, queues, optimizer, counters).
  /// Views of what the next step changes.
  CheckpointPart checkpoint_part() const;
  /// The same to be written beside the steps that follow, which copy what they are about to change.
  std::shared_ptr<Capture> capture();
  /// Writes it into an existing directory.
  void save(const std::string& directory) const;
  /// Restores the files of any number of ranks bit for bit; throws with the tensor's name, found
  /// and wanted shape.
  void restore(const std::string& directory);
  /// Initial weights from a model folder (train.init): towers present in the file replace the
  /// random ones, the momentum twin is copied again.
  void initialize_from(const std::string& model_file);

 private:
  enum class Outcome { kUpdate, kNothingKept, kNonFinite };

  void follow_online(StageSeconds& seconds);
  void detach_capture();
  void place();
  StepMetrics begin_metrics() const;
  StepMetrics step_on_device(const Batch& batch, const Batch* next);
  loss::FilterDecision filter(const Keys& keys, StepMetrics& metrics) const;
  Outcome learn(const Batch& batch, const Keys& own, const StepKeys& keys, const Tensor& weights_G,
                StepMetrics& metrics);
  bool run_micro_batches(const StepContext& context, const Tensor& rows, StepMetrics& metrics);
  bool exchange_losses(bool finite, StepMetrics& metrics) const;
  double grad_norm() const;
  StepContext make_context(const Batch& batch, const Keys& own, const Draws& draws,
                           const Tensor& weights_B, const Tensor& rows, int64_t step) const;
  void commit(const StepKeys& keys, Outcome outcome, StepMetrics& metrics);
  void conclude(Outcome outcome, int64_t queued, StepMetrics& metrics);
  Stop judge() const;
  void refuse_stopped() const;
  int64_t micro_batch_size(int64_t pairs) const;
  std::vector<std::pair<std::string, Tensor>> counters() const;
  void cut_moments(std::map<std::string, Tensor>& state, const std::string& where) const;

  TrainConfig config_;
  Group group_;
  std::shared_ptr<const ImageTokenizer> tokenizer_;
  Cots model_;
  Momentum momentum_;
  Queue queue_;
  Optimizer optimizer_;
  std::unique_ptr<GradientBuckets> gradients_;
  ops::PixelScale pixels_;
  std::unique_ptr<DeviceStep> device_step_;  // null: each step is made on the host
  int64_t step_ = 0, non_finite_in_row_ = 0, collapsed_steps_ = 0;
  // The weights have changed since the momentum encoder last followed them.
  bool ema_pending_ = false;
  std::weak_ptr<Capture> capture_;  // the last one, while it is being written
  // No part of a checkpoint: a run that is resumed with other settings may go on.
  Stop stop_ = Stop::kNone;
};

}  // namespace cots
