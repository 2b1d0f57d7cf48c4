// What one step reports; the numeric part of a metrics.jsonl line (DESIGN 5).
#pragma once

#include <cstdint>
#include <vector>

namespace cots {

/// Seconds a stage took within the step.
struct StageSeconds {
  double tokenise = 0, clean_pass = 0, masked_pass = 0, momentum = 0, losses = 0, backward = 0,
         optimizer = 0,
         exchange = 0;  // waiting for other ranks; 0 alone
};

/// Why a run cannot go on (SPEC 3.8).
enum class Stop { kNone, kNonFinite, kCollapsed };

struct StepMetrics {
  int64_t step = 0;   // number of this step, from 1
  int64_t pairs = 0;  // pairs in the batch
  double loss = 0, loss_image_to_text = 0, loss_text_to_image = 0, loss_task = 0, loss_cmvm = 0,
         loss_cmlm = 0;
  double filter_mean = 0, filter_std = 0, filter_threshold = 0;
  int64_t filter_kept = 0;  // pairs with weight 1
  bool filter_active = false;
  int64_t queue_valid = 0;  // real pairs queued after the push
  double lr = 0, temperature = 0, momentum = 0, grad_norm = 0;
  bool skipped = false;           // no optimizer step: W = 0 or something non-finite
  int64_t non_finite_in_row = 0;  // steps in a row with a non-finite feature, loss or gradient
  int64_t non_finite_keys = 0;    // rows of this batch that were not enqueued
  int64_t collapsed_steps = 0;    // steps in a row with filter_std < 1e-6
  Stop stop = Stop::kNone;        // the run ends with this step: the next one throws
  int64_t device_bytes = 0;       // most on the device so far; 0 on a CPU
  int64_t activation_bytes = 0;   // most that the step had in use at once, on the host
  std::vector<float> scores;      // [B] momentum score of each pair, batch order
  std::vector<uint8_t> kept;      // [B]
  StageSeconds seconds;
};

}  // namespace cots
