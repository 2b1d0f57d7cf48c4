// Everything the training engine needs to know besides the model's sizes. Always complete: defaults
// for users live in lib/config/schema.ts (DESIGN 2.5). Names are the snake_case twins of the config
// keys.
#pragma once

#include <cstdint>
#include <string>

#include "device/placement.h"
#include "model/config.h"
#include "model/parameters.h"
#include "ops/queue_contrast.h"

namespace cots {

using ops::DuplicatePolicy;                  // queue.dupPolicy
enum class FilterScope { kAll, kContrast };  // amf.applyTo

struct QueueConfig {
  int64_t size = 12800;
  bool include_batch_keys = false;
  bool random_init = false;  // entries flagged invalid for the filter
  DuplicatePolicy duplicates = DuplicatePolicy::kKeep;
};

struct LossConfig {
  double tau = 0.05;
  bool tau_learnable = false;  // clamped to [0.001, 0.5]
  double weight_instance = 1, weight_cmvm = 1, weight_cmlm = 1, weight_task = 1;
  bool instance_mean = false;  // loss.inst.reduction: mean halves the two directions
  bool task_include_positive = true;
  bool task_stopgrad_target = false;
  bool task_half = false;
  int64_t task_warmup_steps = 0;  // linear 0 -> weight_task
};

struct FilterConfig {
  bool enabled = true;
  double k = 2;
  FilterScope apply_to = FilterScope::kAll;
  int64_t min_valid = 12800;     // filter is off until that many real pairs are queued
  double min_keep_fraction = 0;  // keep at least the top share by score
};

struct OptimizerConfig {
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.02;
  double clip_grad = 3.0;  // global norm; 0 = off
  int64_t warmup_steps = 2000;
  double warmup_from = 1e-5, min_lr = 1e-5;
  int64_t total_steps = 0;  // the cosine ends here
};

struct TrainConfig {
  ModelConfig model;
  TokenConfig token;
  QueueConfig queue;
  LossConfig loss;
  FilterConfig filter;
  OptimizerConfig optimizer;
  double layer_decay = 1;  // optim.layerDecay: factor on the rate a layer, from the output down
  double ema_m = 0.99;
  int64_t seed = 0;
  int64_t accumulate = 1;  // micro-batches that one step's batch is cut into
  WeightInit weight_init = WeightInit::kFixed;
  int64_t max_non_finite = 10;  // steps in a row before the run stops
  // With several ranks: bytes of gradients that are summed in one go, and whether each rank keeps
  // the moments and makes the update of its own part of the weights alone.
  int64_t bucket_bytes = 25'000'000;
  bool sharded_optimizer = false;
  // Where training runs. Weights, moments and queues are float32 whatever the compute type is.
  Placement placement;
  // Steps of fixed shapes that take every decision on the device (train/device_step.h): what an
  // accelerator gets in any case, and a CPU for the tests.
  bool fixed_shapes = false;
  double image_mean[3] = {0.5, 0.5, 0.5}, image_std[3] = {0.5, 0.5, 0.5};
};

}  // namespace cots
