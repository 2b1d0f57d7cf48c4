// The device work of a training step: one sequence of fixed shapes in which every decision is taken
// on the device (which pairs are kept, whether there is an update), so that it can be recorded once
// and replayed, the collectives of several ranks among it. The mathematics is Trainer's (SPEC 3.6),
// in another form: pairs that the filter drops go through the towers with weight 0 instead of being
// left out, and masked positions have room for as many as there can be. Legend: B pairs of this
// rank, G of all ranks.
#pragma once

#include <vector>

#include "model/cots.h"
#include "model/image_tokenizer.h"
#include "model/momentum.h"
#include "model/queue.h"
#include "train/distributed.h"
#include "train/gradient_buckets.h"
#include "train/optimizer.h"
#include "train/step_inputs.h"

namespace cots {

/// What a step reads and changes, all of it on one device.
struct StepState {
  Cots& model;
  Momentum& momentum;
  Queue& queue;
  Optimizer& optimizer;
  const ImageTokenizer* tokenizer;  // null without CMVM
  const Group& group;               // ranks with as many pairs each
  GradientBuckets& gradients;
};

/// What is a constant of the work: it may be recorded when these change no more.
struct StepPhase {
  int64_t filled, valid;  // of the queue
  double task_weight;
};

/// What a step reports, on the host.
struct StepReport {
  double losses[kLosses];
  double filter_mean, filter_std, filter_threshold;
  double grad_norm, log_scale;
  int64_t finite_keys, kept, queue_filled, queue_valid;
  bool any_kept;  // by at least one loss
  bool finite;    // features, losses and gradients
  bool filter_active;
  std::vector<float> scores, weights;  // [G]
};

/// Keys, filter, online passes, losses, backward, AdamW with the momentum encoder's average, push.
/// Where not all was finite, or nothing was kept, the weights stay as they are. `report`: f64
/// [report_size(G)]. Asks for no value on the host once the queue is full.
void step_work(const TrainConfig& config, const ops::PixelScale& pixels, const StepState& state,
               const StepInputs& inputs, const StepPhase& phase, const Tensor& report);

int64_t report_size(int64_t pairs);
/// Waits for the device.
StepReport read_report(const Tensor& report, int64_t pairs);

}  // namespace cots
