// The online side of a step, one micro-batch at a time: clean and masked passes and the five losses
// and their gradients (SPEC 3.2 to 3.4). Legend: B pairs of the step, b pairs of the micro-batch, n
// queue entries, D embedding.
#pragma once

#include "model/cots.h"
#include "model/image_tokenizer.h"
#include "ops/scale_pixels.h"
#include "train/batch.h"
#include "train/config.h"
#include "train/draws.h"
#include "train/gradient_buckets.h"
#include "train/key_pass.h"
#include "train/metrics.h"

namespace cots {

/// What all micro-batches of a step share. All tensors are on one device, and nothing here or in
/// OnlinePass asks for a value of one on the host, so that a step can be recorded.
struct StepContext {
  const TrainConfig& config;
  const Cots& model;
  const ImageTokenizer* tokenizer;  // null without CMVM
  const Batch& batch;
  const Keys& keys;
  const Draws& draws;
  const ops::PixelScale& pixels;
  Tensor weights_B;                                  // of the contrast, 0 or 1
  Tensor image_queue_nD, text_queue_nD, queue_id_n;  // negatives, as they were before this step
  int64_t batch_key_column;  // first column of the batch's own keys among them, or -1
  double pairs;              // W of the whole step; 1 where the weights are divided by it already
  Tensor masked_patches, masked_words;  // f32, |M| of the whole step
  double task_weight;
  Tensor counted_B = {};  // bool, pairs of the token losses; undefined: all rows handed in
};

/// Rows of the step's batch, and where their masks are set.
struct MicroBatch {
  Tensor rows_b;          // int64
  Places patches, words;  // of the masks of these rows alone
};
MicroBatch micro_batch(const Batch& batch, const Draws& draws, const Tensor& rows_b);

/// The names of Losses::values_6, in order.
enum Loss : int64_t { kTotal, kImageToText, kTextToImage, kTask, kCmvm, kCmlm, kLosses };

struct Losses {
  Tensor values_6;  // f32
  Tensor finite;    // bool: features and total
};

/// A pass that several losses read, cut off from them: each leaves its gradient in `read` when it
/// is known.
struct Pass {
  Encoded made;  // undefined where nothing reads it
  Encoded read;  // the same values as leaves
  Pass() = default;
  explicit Pass(const Encoded& made);
};

/// Forward through the towers and all losses of one micro-batch, and back from the losses to the
/// passes: a token loss goes all the way, so that the states of its masked pass are gone before the
/// next image is seen.
class OnlinePass {
 public:
  OnlinePass(const StepContext& context, const MicroBatch& rows, StageSeconds& seconds);
  const Losses& losses() const { return losses_; }
  /// Takes what the losses have left in the passes through the towers: the gradients of the
  /// parameters are then those of all losses. What is not finite is no step's, and need not come
  /// here. `last`: told of the backward that completes the gradients; null where another
  /// micro-batch follows.
  void backward(GradientBuckets* last, StageSeconds& seconds);

 private:
  Pass image_, text_;
  Losses losses_;
};

}  // namespace cots
