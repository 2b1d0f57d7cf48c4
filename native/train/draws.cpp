#include "train/draws.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "loss/masked_modelling.h"
#include "ops/keyed_random.h"

namespace cots {

namespace {

/// Which of a pair's random draws: masks, and the dropout of each pass, must not repeat one
/// another.
enum class Purpose : uint64_t { kMasks = 0, kCleanPass = 1, kMaskedPass = 2 };

Tensor draw_keys(const TrainConfig& config, const Tensor& sample_B, int64_t step, Purpose purpose) {
  const auto seed = static_cast<int64_t>(
      ops::mix(static_cast<uint64_t>(config.seed), static_cast<uint64_t>(purpose)));
  return ops::sample_keys(seed, step, sample_B);
}

}  // namespace

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

Draws draw(const TrainConfig& config, const Batch& batch, int64_t step) {
  const at::NoGradGuard no_grad;
  const TokenConfig& token = config.token;
  const auto keys = [&](Purpose purpose) {
    return draw_keys(config, batch.sample_B, step, purpose);
  };
  Draws draws;
  draws.clean_keys_B = keys(Purpose::kCleanPass);
  draws.masked_keys_B = keys(Purpose::kMaskedPass);
  const Tensor mask_keys_B = keys(Purpose::kMasks);
  if (config.loss.weight_cmvm > 0)
    draws.image_mask_NP =
        batch.image_mask_NP.defined()
            ? batch.image_mask_NP
            : loss::draw_image_mask(frame_keys(mask_keys_B, batch.frames_B),
                                    {config.model.image.grid(), token.mask_image_ratio,
                                     token.mask_image_block, token.mask_image_exact});
  if (config.loss.weight_cmlm <= 0) return draws;
  if (batch.text_mask_BL.defined()) {
    draws.masked_ids_BL = batch.masked_ids_BL;
    draws.text_mask_BL = batch.text_mask_BL;
    return draws;
  }
  const loss::TextMask drawn =
      loss::draw_text_mask(batch.ids_BL, batch.lengths_B, mask_keys_B,
                           {token.mask_text_ratio, token.mask_id, config.model.text.vocab_size});
  draws.masked_ids_BL = drawn.ids_BL;
  draws.text_mask_BL = drawn.masked_BL;
  return draws;
}

Places places_of(const Tensor& mask_rK) {
  if (!mask_rK.defined()) return {};
  return {mask_rK.flatten().nonzero().squeeze(1), {}};
}

Places places_of(const Tensor& mask_rK, int64_t room) {
  if (!mask_rK.defined()) return {};
  const Tensor found = places_of(mask_rK).place_M;
  const int64_t count = found.size(0);
  TORCH_CHECK(count <= room, "Expected at most ", room, " masked positions, got ", count, ".");
  Places places{at::zeros({room}, at::kLong), at::zeros({room}, at::kBool)};
  places.place_M.narrow(0, 0, count).copy_(found);
  places.real_M.narrow(0, 0, count).fill_(true);
  return places;
}

}  // namespace cots
