#include "train/online_pass.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "infer/image_tokens.h"
#include "loss/contrast.h"
#include "loss/masked_modelling.h"
#include "ops/ignored_target.h"
#include "train/stopwatch.h"

namespace cots {
namespace {

/// Rows of the micro-batch, gathered once. An image is a clip of one frame.
struct Pairs {
  Tensor rows_b, pixels_nCHW, frames_b, ids_bL, lengths_b;
  Tensor clean_keys_b, masked_keys_b;
  Tensor image_mask_nP, masked_ids_bL;
  Places patches, words;
};

/// What a pass sees of the pairs: all, or what the masks leave.
enum class View { kClean, kMasked };

Pairs gather_pairs(const StepContext& c, const MicroBatch& micro) {
  const auto take = [&](const Tensor& t) { return take_rows(t, micro.rows_b); };
  const Tensor rows_n = frame_rows(c.batch.frames_B, micro.rows_b);
  return {.rows_b = micro.rows_b,
          .pixels_nCHW = ops::scale_pixels(take_rows(c.batch.image_NSS3, rows_n), c.pixels),
          .frames_b = take(c.batch.frames_B),
          .ids_bL = take(c.batch.ids_BL),
          .lengths_b = take(c.batch.lengths_B),
          .clean_keys_b = take(c.draws.clean_keys_B),
          .masked_keys_b = take(c.draws.masked_keys_B),
          .image_mask_nP = take_rows(c.draws.image_mask_NP, rows_n),
          .masked_ids_bL = take(c.draws.masked_ids_BL),
          .patches = micro.patches,
          .words = micro.words};
}

bool has_contrast(const StepContext& c) {
  return c.config.loss.weight_instance > 0 || c.task_weight > 0;
}

/// Whether a token loss adds the other tower's online global state.
bool fuses_online(const StepContext& c) {
  return c.config.token.fusion != Fusion::kNone &&
         c.config.token.global_source != GlobalSource::kMomentum;
}

const Tensor& keys_of(const Pairs& pairs, View view) {
  return view == View::kClean ? pairs.clean_keys_b : pairs.masked_keys_b;
}

/// The frames through the vision tower, each pair's as one view.
Encoded image_pass(const StepContext& c, const Pairs& pairs, View view, StageSeconds& seconds) {
  const bool clean = view == View::kClean;
  const Stopwatch watch(clean ? seconds.clean_pass : seconds.masked_pass);
  const Regularization reg{frame_keys(keys_of(pairs, view), pairs.frames_b)};
  return mean_of_frames(
      c.model.towers().encode_image(pairs.pixels_nCHW, clean ? Tensor() : pairs.image_mask_nP, reg,
                                    clean ? Need::kGlobal : Need::kAll),
      pairs.frames_b);
}

Encoded text_pass(const StepContext& c, const Pairs& pairs, View view, StageSeconds& seconds) {
  const bool clean = view == View::kClean;
  const Stopwatch watch(clean ? seconds.clean_pass : seconds.masked_pass);
  const bool corrupted = !clean && pairs.masked_ids_bL.defined();
  return c.model.towers().encode_text(corrupted ? pairs.masked_ids_bL : pairs.ids_bL,
                                      pairs.lengths_b, {keys_of(pairs, view)},
                                      clean ? Need::kGlobal : Need::kAll);
}

loss::ContrastLoss contrast(const StepContext& c, const Encoded& image, const Encoded& text,
                            const Tensor& rows_b, StageSeconds& seconds) {
  const Stopwatch watch(seconds.losses);
  const LossConfig& l = c.config.loss;
  const auto take = [&](const Tensor& t) { return t.index_select(0, rows_b); };
  // Tensor cores take all six matrices in bfloat16; sums and softmax are float32 there too.
  const bool half = image.embedding_BD.is_cuda() && c.config.placement.compute == at::kBFloat16;
  const auto operand = [half](const Tensor& t) { return half ? t.to(at::kBFloat16) : t; };
  loss::ContrastInputs in;
  in.image_BD = operand(image.embedding_BD);
  in.text_BD = operand(text.embedding_BD);
  in.image_key_BD = operand(take(c.keys.image_BD));
  in.text_key_BD = operand(take(c.keys.text_BD));
  in.image_queue_nD = operand(c.image_queue_nD);
  in.text_queue_nD = operand(c.text_queue_nD);
  in.weights_B = take(c.weights_B);
  in.log_scale = l.tau_learnable ? c.model.log_scale() : c.model.log_scale().detach();
  if (c.config.queue.duplicates != DuplicatePolicy::kKeep) {
    in.id_B = take(c.batch.image_id_B);
    in.queue_id_n = c.queue_id_n;
  }
  loss::ContrastOptions options;
  options.normalizer = c.pairs;
  options.instance_weight = l.weight_instance * (l.instance_mean ? 0.5 : 1.0);
  options.task_weight = c.task_weight * (l.task_half ? 0.5 : 1.0);
  options.include_positive = l.task_include_positive;
  options.stopgrad_target = l.task_stopgrad_target;
  options.duplicate_policy = c.config.queue.duplicates;
  options.batch_key_column = c.batch_key_column;
  return loss::contrast(in, options);
}

/// The masked positions of a mask [r, K]: [M] rows of it, and [M] rows of the flattened states.
/// `first` is the state of position 0.
struct Positions {
  Tensor row_M, state_M;
  Positions(const Places& places, int64_t K, int64_t states_a_row, int64_t first)
      : row_M(at::floor_divide(places.place_M, K)),
        state_M(row_M * states_a_row + places.place_M.remainder(K) + first) {}
};

/// rows[index], whose backward accumulates in a fixed order (that of index_select and index does
/// not).
Tensor gather_rows(const Tensor& rows_Nd, const Tensor& index_M) {
  return at::embedding(rows_Nd, index_M);
}

/// The other modality's global state as token.globalSource names it, before the head's own Linear.
Tensor global_of(const StepContext& c, const Encoded& online, const Tensor& key_BD,
                 const Tensor& rows_b) {
  switch (c.config.token.global_source) {
    case GlobalSource::kHidden:
      return online.global_Bd;
    case GlobalSource::kEmbed:
      return online.embedding_BD;
    case GlobalSource::kMomentum:
      return key_BD.index_select(0, rows_b);
  }
  TORCH_INTERNAL_ASSERT(false, "unknown global source");
}

/// A token loss: what is masked in one modality is told from its masked states and the paired item
/// of the other modality. Legend: r rows, one a pair or one a frame, K positions of a row, M masked
/// ones.
struct TokenTask {
  const Places& places;        // of the mask [r, K]
  Tensor target_rK;            // int64 codes or words
  Tensor pair_r;               // the pair of each row; undefined: the rows are the pairs
  const Tensor& states_rLd;    // of the masked pass
  int64_t first_state;         // of position 0
  const Encoded& other;        // the other modality, unmasked
  const Tensor& other_key_BD;  // its momentum keys
  Tensor (MaskedHeads::*global)(const Tensor&) const;
  Tensor (MaskedHeads::*query)(const Tensor&, const Tensor&) const;
  const Linear& classifier;
  const Tensor& masked;  // |M| of the whole step
};

/// What is to be told at each position; nothing where room is left over or the pair does not count.
Tensor targets(const StepContext& c, const TokenTask& task, const Tensor& pair_M,
               const Tensor& rows_b) {
  const Tensor target_M = task.target_rK.flatten().index_select(0, task.places.place_M);
  if (!task.places.real_M.defined()) return target_M;
  const Tensor counted_M =
      c.counted_B.index_select(0, rows_b).index_select(0, pair_M).logical_and(task.places.real_M);
  return at::where(counted_M, target_M, ops::kIgnoredTarget);
}

Tensor token_loss(const StepContext& c, const TokenTask& task, const Tensor& rows_b,
                  StageSeconds& seconds) {
  const Stopwatch watch(seconds.losses);
  const MaskedHeads& heads = c.model.heads();
  const Positions positions(task.places, task.target_rK.size(1), task.states_rLd.size(1),
                            task.first_state);
  const Tensor pair_M =
      task.pair_r.defined() ? task.pair_r.index_select(0, positions.row_M) : positions.row_M;
  const Tensor h_Md = gather_rows(task.states_rLd.flatten(0, 1), positions.state_M);
  Tensor g_Md;
  if (c.config.token.fusion != Fusion::kNone)
    g_Md =
        gather_rows((heads.*task.global)(
                        global_of(c, task.other, task.other_key_BD, rows_b).to(h_Md.scalar_type())),
                    pair_M);
  return loss::masked_cross_entropy((heads.*task.query)(h_Md, g_Md), task.classifier.weight,
                                    task.classifier.bias, targets(c, task, pair_M, rows_b),
                                    task.masked);
}

/// The visual tokens of the frames' own views.
Tensor tokens_of(const StepContext& c, const Tensor& rows_b, StageSeconds& seconds) {
  const Stopwatch watch(seconds.tokenise);
  return image_tokens(
      *c.tokenizer, c.batch.token_view_NVV3.index_select(0, frame_rows(c.batch.frames_B, rows_b)));
}

/// CMVM: each masked patch's visual token from the masked image (of a clip: its own frame) and the
/// paired text.
TokenTask cmvm_task(const StepContext& c, const Pairs& pairs, const Encoded& masked_image,
                    const Encoded& text, const Tensor& tokens_nP) {
  const Tensor& frames_b = pairs.frames_b;
  return {.places = pairs.patches,
          .target_rK = tokens_nP,
          .pair_r = frames_b.defined() ? at::repeat_interleave(frames_b) : Tensor(),
          .states_rLd = masked_image.states_BLd,
          .first_state = 1,  // after CLS
          .other = text,
          .other_key_BD = c.keys.text_BD,
          .global = &MaskedHeads::image_global,
          .query = &MaskedHeads::image_query,
          .classifier = c.model.heads().image_classifier(),
          .masked = c.masked_patches};
}

/// CMLM: each masked word from the corrupted text and the paired image.
TokenTask cmlm_task(const StepContext& c, const Pairs& pairs, const Encoded& masked_text,
                    const Encoded& image) {
  return {.places = pairs.words,
          .target_rK = pairs.ids_bL,
          .pair_r = {},
          .states_rLd = masked_text.states_BLd,
          .first_state = 0,
          .other = image,
          .other_key_BD = c.keys.image_BD,
          .global = &MaskedHeads::text_global,
          .query = &MaskedHeads::text_query,
          .classifier = c.model.heads().text_classifier(),
          .masked = c.masked_words};
}

Tensor finite(const Tensor& t) { return t.detach().isfinite().all(); }

Tensor leaf(const Tensor& t) { return t.defined() ? t.detach().requires_grad_() : t; }

/// Leaves the gradient of a loss in the parameters and passes below it; returns its value.
Tensor learn(const Tensor& loss, StageSeconds& seconds) {
  const Stopwatch watch(seconds.backward);
  loss.backward();
  return loss.detach();
}

}  // namespace

Pass::Pass(const Encoded& made)
    : made(made), read{leaf(made.states_BLd), leaf(made.global_Bd), leaf(made.embedding_BD)} {}

MicroBatch micro_batch(const Batch& batch, const Draws& draws, const Tensor& rows_b) {
  return {rows_b, places_of(take_rows(draws.image_mask_NP, frame_rows(batch.frames_B, rows_b))),
          places_of(take_rows(draws.text_mask_BL, rows_b))};
}

OnlinePass::OnlinePass(const StepContext& c, const MicroBatch& micro, StageSeconds& seconds) {
  const Pairs pairs = gather_pairs(c, micro);
  const bool cmvm = pairs.patches.count() > 0, cmlm = pairs.words.count() > 0,
             contrasts = has_contrast(c), fuses = fuses_online(c);
  // token.passes = shared: one masked pass a tower serves every loss (the cheap ablation);
  // separate: the paired modality is seen unmasked, the contrast is taken on clean inputs.
  const bool shared = c.config.token.passes == Passes::kShared;
  const View view = shared ? View::kMasked : View::kClean;
  // A masked pass is learned from, and its states are gone, before the next image pass begins: the
  // states of one are there at a time, and a gradient of the weights is added up at once.
  const Tensor zero = at::zeros({}, c.weights_B.options().dtype(at::kFloat));
  Tensor image_to_text = zero, text_to_image = zero, task = zero, cmvm_loss = zero,
         cmlm_loss = zero;
  Tensor contrast_part = zero, cmvm_part = zero, cmlm_part = zero;  // of the total: weighted
  if (shared || contrasts || (cmvm && fuses)) text_ = Pass(text_pass(c, pairs, view, seconds));
  if (shared) image_ = Pass(image_pass(c, pairs, view, seconds));
  if (cmvm) {
    const Tensor tokens_nP = tokens_of(c, pairs.rows_b, seconds);
    const Encoded states = shared ? image_.read : image_pass(c, pairs, View::kMasked, seconds);
    const Tensor loss =
        token_loss(c, cmvm_task(c, pairs, states, text_.read, tokens_nP), pairs.rows_b, seconds);
    cmvm_loss = loss.detach();
    cmvm_part = learn(c.config.loss.weight_cmvm * loss, seconds);
  }
  if (!shared && (contrasts || (cmlm && fuses))) image_ = Pass(image_pass(c, pairs, view, seconds));
  if (cmlm) {
    const Encoded states = shared ? text_.read : text_pass(c, pairs, View::kMasked, seconds);
    const Tensor loss =
        token_loss(c, cmlm_task(c, pairs, states, image_.read), pairs.rows_b, seconds);
    cmlm_loss = loss.detach();
    cmlm_part = learn(c.config.loss.weight_cmlm * loss, seconds);
  }
  if (contrasts) {
    const loss::ContrastLoss loss = contrast(c, image_.read, text_.read, pairs.rows_b, seconds);
    image_to_text = loss.image_to_text, text_to_image = loss.text_to_image, task = loss.task;
    contrast_part = learn(loss.total, seconds);
  }
  const Tensor total = contrast_part + cmvm_part + cmlm_part;
  losses_.values_6 = at::stack({total, image_to_text, text_to_image, task, cmvm_loss, cmlm_loss});
  losses_.finite = total.isfinite();
  for (const Tensor& features : {image_.made.embedding_BD, text_.made.embedding_BD})
    if (features.defined()) losses_.finite = losses_.finite.logical_and(finite(features));
}

void OnlinePass::backward(GradientBuckets* last, StageSeconds& seconds) {
  const Stopwatch watch(seconds.backward);
  std::vector<Tensor> made, grads;
  for (const Pass* pass : {&image_, &text_})
    for (const auto field : {&Encoded::states_BLd, &Encoded::global_Bd, &Encoded::embedding_BD})
      if ((pass->read.*field).defined() && (pass->read.*field).grad().defined()) {
        made.push_back(pass->made.*field);
        grads.push_back((pass->read.*field).grad());
      }
  if (made.empty()) return;
  if (last != nullptr) last->begin_last(made);
  torch::autograd::backward(made, grads);
}

}  // namespace cots
