// The online side of a step, one micro-batch at a time: clean and masked passes and the five losses
// and their gradients (SPEC 3.2 to 3.4). Legend: B pairs of the step, b pairs of the micro-batch, n
// queue entries, D embedding.
#pragma once

#include "model/cots.h"
#include "model/image_tokenizer.h"
#include "train/batch.h"
#include "train/config.h"
#include "train/gradient_buckets.h"
#include "train/key_pass.h"
#include "train/masks.h"
#include "train/metrics.h"

namespace cots {

/// What all micro-batches of a step share.
struct StepContext {
  const TrainConfig& config;
  const Cots& model;
  const ImageTokenizer* tokenizer;  // null without CMVM
  const Batch& batch;
  const Keys& keys;
  const Masks& masks;
  int64_t step;
  Tensor weights_B;                                  // of the contrast, 0 or 1
  Tensor image_queue_nD, text_queue_nD, queue_id_n;  // negatives, as they were before this step
  int64_t batch_key_column;  // first column of the batch's own keys among them, or -1
  double pairs, masked_patches, masked_words;  // W and |M| of the whole step
  double task_weight;
};

struct Losses {
  double total = 0, image_to_text = 0, text_to_image = 0, task = 0, cmvm = 0, cmlm = 0;
  bool finite = true;  // features and total
};

/// Adds the gradients of a micro-batch, rows_b int64 of the batch, to those of the parameters; what
/// is not finite is no step's. `last`: told of the backward that completes them; null where another
/// micro-batch follows.
Losses online_pass(const StepContext& context, const Tensor& rows_b, GradientBuckets* last,
                   StageSeconds& seconds);

}  // namespace cots
