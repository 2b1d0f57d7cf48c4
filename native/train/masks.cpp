#include "train/masks.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "loss/masked_modelling.h"
#include "ops/keyed_random.h"

namespace cots {

Tensor draw_keys(const TrainConfig& config, const Tensor& sample_B, int64_t step, Draw draw) {
  const auto seed = static_cast<int64_t>(
      ops::mix(static_cast<uint64_t>(config.seed), static_cast<uint64_t>(draw)));
  return ops::sample_keys(seed, step, sample_B);
}

Tensor frame_keys(const Tensor& keys_B, const Tensor& frames_B) {
  if (!frames_B.defined()) return keys_B;
  Tensor keys_N = keys_B.repeat_interleave(frames_B);
  int64_t* key = keys_N.mutable_data_ptr<int64_t>();
  const int64_t* frames = frames_B.const_data_ptr<int64_t>();
  for (int64_t pair = 0; pair < frames_B.numel(); ++pair, ++key)
    for (int64_t frame = 1; frame < frames[pair]; ++frame) {
      ++key;
      *key =
          static_cast<int64_t>(ops::mix(static_cast<uint64_t>(*key), static_cast<uint64_t>(frame)));
    }
  return keys_N;
}

Masks draw_masks(const TrainConfig& config, const Batch& batch, int64_t step) {
  const at::NoGradGuard no_grad;
  const TokenConfig& token = config.token;
  const Tensor keys_B = draw_keys(config, batch.sample_B, step, Draw::kMasks);
  Masks masks;
  if (config.loss.weight_cmvm > 0) {
    masks.image_NP = batch.image_mask_NP.defined()
                         ? batch.image_mask_NP
                         : loss::draw_image_mask(frame_keys(keys_B, batch.frames_B),
                                                 {config.model.image.grid(), token.mask_image_ratio,
                                                  token.mask_image_block, token.mask_image_exact});
  }
  if (config.loss.weight_cmlm > 0) {
    if (batch.text_mask_BL.defined()) {
      masks.masked_ids_BL = batch.masked_ids_BL;
      masks.text_BL = batch.text_mask_BL;
    } else {
      const loss::TextMask drawn = loss::draw_text_mask(
          batch.ids_BL, batch.lengths_B, keys_B,
          {token.mask_text_ratio, token.mask_id, config.model.text.vocab_size});
      masks.masked_ids_BL = drawn.ids_BL;
      masks.text_BL = drawn.masked_BL;
    }
  }
  return masks;
}

}  // namespace cots
