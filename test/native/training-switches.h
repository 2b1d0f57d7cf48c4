// Configs under which training on a device must be what it is on a CPU: each changes the tiny one.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "tiny-trainer.h"

namespace tiny {

using Change = std::function<void(cots::TrainConfig&)>;

inline std::vector<std::pair<const char*, Change>> switches() {
  using Config = cots::TrainConfig;
  return {
      {"task warm-up", [](Config& c) { c.loss.task_warmup_steps = 5; }},
      {"learnable temperature", [](Config& c) { c.loss.tau_learnable = true; }},
      {"filter of the contrast alone",
       [](Config& c) { c.filter.apply_to = cots::FilterScope::kContrast; }},
      {"filter off", [](Config& c) { c.filter.enabled = false; }},
      {"a share is kept", [](Config& c) { c.filter.min_keep_fraction = 0.9; }},
      {"shared passes", [](Config& c) { c.token.passes = cots::Passes::kShared; }},
      {"concatenated embeddings",
       [](Config& c) {
         c.token.fusion = cots::Fusion::kConcat;
         c.token.global_source = cots::GlobalSource::kEmbed;
       }},
      {"momentum as global state",
       [](Config& c) { c.token.global_source = cots::GlobalSource::kMomentum; }},
      {"no CMVM", [](Config& c) { c.loss.weight_cmvm = 0; }},
      {"no CMLM", [](Config& c) { c.loss.weight_cmlm = 0; }},
      {"token losses alone", [](Config& c) { c.loss.weight_instance = c.loss.weight_task = 0; }},
      {"micro-batches", [](Config& c) { c.accumulate = 3; }},
      {"batch keys as negatives", [](Config& c) { c.queue.include_batch_keys = true; }},
      {"random queue", [](Config& c) { c.queue.random_init = true; }},
      {"images of one id are positives",
       [](Config& c) { c.queue.duplicates = cots::DuplicatePolicy::kMultiPositive; }},
      {"images of one id are left out",
       [](Config& c) { c.queue.duplicates = cots::DuplicatePolicy::kMaskSameImage; }},
      {"layer-wise rates", [](Config& c) { c.layer_decay = 0.7; }},
      {"recomputation",
       [](Config& c) {
         c.model.image.checkpointing = c.model.text.checkpointing = cots::Checkpointing::kFull;
       }},
      {"clipping", [](Config& c) { c.optimizer.clip_grad = 0.05; }},
      {"no clipping", [](Config& c) { c.optimizer.clip_grad = 0; }},
      {"means as global states",
       [](Config& c) { c.model.image.pool = c.model.text.pool = cots::Pool::kMean; }},
      {"the last token as a text's global state",
       [](Config& c) { c.model.text.pool = cots::Pool::kLast; }},
      {"BEiT", [](Config& c) { c.model.image.layer_scale = c.model.image.relative_bias = true; }},
  };
}

}  // namespace tiny
