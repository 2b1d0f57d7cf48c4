#include "train/step_inputs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "io/failure.h"

namespace cots {
namespace {

constexpr int64_t kTokenStep = 8;

/// ids_BL with room for `tokens` words; what is added is padding, which nothing reads.
Tensor widened(const Tensor& ids_BL, int64_t tokens) {
  const int64_t missing = tokens - ids_BL.size(1);
  return missing == 0 ? ids_BL : at::constant_pad_nd(ids_BL, {0, missing}, 0);
}

/// Most patches that a draw masks in one image.
int64_t patch_budget(const TrainConfig& config, const Batch& batch) {
  const int64_t patches = config.model.image.patches();
  if (batch.image_mask_NP.defined()) return patches;
  return std::lround(config.token.mask_image_ratio * static_cast<double>(patches));
}

void refuse_clips(const Batch& batch) {
  if (batch.frames_B.defined())
    throw Failure("ERR_COTS_NOT_IMPLEMENTED",
                  "Expected images for training on a GPU, got clips, whose numbers of frames "
                  "differ. Train clips with train.device=cpu.");
}

/// Pairs of one micro-batch.
int64_t slice_size(const TrainConfig& config, int64_t pairs) {
  if (pairs % config.accumulate != 0)
    throw Failure("ERR_COTS_CONFIG",
                  "Expected train.batchSize to be a multiple of "
                  "train.accumulate on a GPU, got " +
                      std::to_string(pairs) + " and " + std::to_string(config.accumulate) + ".");
  return pairs / config.accumulate;
}

/// Every tensor that is there, in one order.
template <typename Visit>
void for_each(StepInputs& inputs, Visit visit) {
  Batch& b = inputs.batch;
  Draws& d = inputs.draws;
  for (Tensor* t :
       {&b.image_NSS3, &b.token_view_NVV3, &b.ids_BL, &b.lengths_B, &b.sample_B, &b.image_id_B,
        &d.image_mask_NP, &d.masked_ids_BL, &d.clean_keys_B, &d.masked_keys_B})
    if (t->defined()) visit(*t);
  for (MicroBatch& micro : inputs.micro)
    for (Tensor* t : {&micro.rows_b, &micro.patches.place_M, &micro.patches.real_M,
                      &micro.words.place_M, &micro.words.real_M})
      if (t->defined()) visit(*t);
}

}  // namespace

StepShape step_shape(const TrainConfig& config, const Batch& batch) {
  const int64_t tokens = (batch.ids_BL.size(1) + kTokenStep - 1) / kTokenStep * kTokenStep;
  return {batch.ids_BL.size(0),
          std::max(batch.ids_BL.size(1), std::min(tokens, config.model.text.max_positions))};
}

StepInputs step_inputs(const TrainConfig& config, const Batch& batch, int64_t step) {
  refuse_clips(batch);
  const at::NoGradGuard no_grad;
  const auto [pairs, tokens] = step_shape(config, batch);
  const int64_t slice = slice_size(config, pairs);
  StepInputs inputs;
  inputs.batch = batch;
  inputs.draws = draw(config, batch, step);
  inputs.batch.ids_BL = widened(batch.ids_BL, tokens);
  inputs.batch.image_mask_NP = inputs.batch.masked_ids_BL = inputs.batch.text_mask_BL = Tensor();
  Draws& draws = inputs.draws;
  if (draws.masked_ids_BL.defined()) draws.masked_ids_BL = widened(draws.masked_ids_BL, tokens);
  const Tensor text_mask_BL =
      draws.text_mask_BL.defined() ? widened(draws.text_mask_BL, tokens) : Tensor();
  draws.text_mask_BL = Tensor();
  for (int64_t first = 0; first < pairs; first += slice) {
    const Tensor rows_b = at::arange(first, first + slice, at::kLong);
    const auto places = [&](const Tensor& mask, int64_t most) {
      return places_of(take_rows(mask, rows_b), slice * most);
    };
    inputs.micro.push_back({rows_b, places(draws.image_mask_NP, patch_budget(config, batch)),
                            places(text_mask_BL, tokens)});
  }
  return inputs;
}

StepInputs empty_like(const StepInputs& inputs, at::Device device) {
  StepInputs made = inputs;
  for_each(made, [&](Tensor& t) { t = at::zeros(t.sizes(), t.options().device(device)); });
  made.rate_2 = at::zeros({2}, at::TensorOptions(at::kDouble).device(device));
  return made;
}

std::vector<Tensor> tensors_of(const StepInputs& inputs) {
  std::vector<Tensor> tensors;
  StepInputs same = inputs;
  for_each(same, [&](const Tensor& t) { tensors.push_back(t); });
  return tensors;
}

}  // namespace cots
