#include "train/input_checks.h"

#include <ATen/ATen.h>

#include <string>

#include "io/failure.h"

namespace cots {
namespace {

void check_tensor(const char* name, const Tensor& tensor, at::IntArrayRef shape,
                  at::ScalarType dtype) {
  TORCH_CHECK(tensor.defined() && tensor.sizes() == shape && tensor.scalar_type() == dtype,
              "Expected ", name, " of the batch to be ", dtype, " of shape ", shape,
              tensor.defined()
                  ? c10::str(", got ", tensor.scalar_type(), " of ", tensor.sizes(), ".")
                  : ", got none.");
}

void check_range(const char* name, const Tensor& values, int64_t low, int64_t high) {
  const auto [least, most] = values.aminmax();
  TORCH_CHECK(least.item<int64_t>() >= low && most.item<int64_t>() <= high, "Expected ", name,
              " of the batch to lie in [", low, ", ", high, "], got ", least.item<int64_t>(),
              " to ", most.item<int64_t>(), ".");
}

}  // namespace

void check_config(const TrainConfig& config, bool has_tokenizer, int64_t world) {
  if (config.queue.include_batch_keys && world > 1)
    throw Failure("ERR_COTS_CONFIG",
                  "Expected one rank with queue.includeBatchKeys (a rank's pairs are not all of "
                  "their step), got " +
                      std::to_string(world) + ". Turn it off.");
  if (config.sharded_optimizer && world > 1 &&
      (!config.placement.device.is_cpu() || config.fixed_shapes))
    throw Failure("ERR_COTS_NOT_IMPLEMENTED",
                  "Expected optim.sharded=false with several GPUs, got true with " +
                      std::to_string(world) + " ranks. Turn it off.");
  if (config.queue.include_batch_keys && config.accumulate > 1)
    throw Failure("ERR_COTS_CONFIG",
                  "Expected train.accumulate 1 with queue.includeBatchKeys (a micro-batch has not "
                  "all keys of its step), got " +
                      std::to_string(config.accumulate) + ". Turn one of the two off.");
  if (config.loss.weight_cmvm > 0 && !has_tokenizer)
    throw Failure(
        "ERR_COTS_CONFIG",
        "Expected an image tokenizer for loss.weights.cmvm above 0, got none. Train one with "
        "`cots train-tokenizer` and name its folder in token.tokenizer, or set "
        "loss.weights.cmvm=0.");
  if (!config.model.has_projection() && config.model.image.width != config.model.text.width)
    throw Failure("ERR_COTS_CONFIG",
                  "Expected towers of equal width without a projection, got image " +
                      std::to_string(config.model.image.width) + " and text " +
                      std::to_string(config.model.text.width) + ". Set model.embedDim.");
}

void check_batch(const TrainConfig& config, const Batch& batch) {
  TORCH_CHECK(batch.ids_BL.defined() && batch.ids_BL.dim() == 2 && batch.ids_BL.numel() > 0,
              "Expected ids [B, L] of at least one pair.");
  const int64_t B = batch.ids_BL.size(0), L = batch.ids_BL.size(1), S = config.model.image.size,
                P = config.model.image.patches();
  const int64_t V = 8 * config.model.image.grid();
  const int64_t N = total_frames(batch.frames_B, B);
  check_tensor("images", batch.image_NSS3, {N, S, S, 3}, at::kByte);
  if (config.loss.weight_cmvm > 0)
    check_tensor("token views", batch.token_view_NVV3, {N, V, V, 3}, at::kByte);
  check_tensor("ids", batch.ids_BL, {B, L}, at::kLong);
  check_tensor("lengths", batch.lengths_B, {B}, at::kLong);
  check_tensor("samples", batch.sample_B, {B}, at::kLong);
  check_tensor("image ids", batch.image_id_B, {B}, at::kLong);
  check_range("ids", batch.ids_BL, 0, config.model.text.vocab_size - 1);
  check_range("lengths", batch.lengths_B, 1, L);
  if (batch.image_mask_NP.defined())
    check_tensor("image mask", batch.image_mask_NP, {N, P}, at::kBool);
  if (!batch.text_mask_BL.defined()) return;
  check_tensor("text mask", batch.text_mask_BL, {B, L}, at::kBool);
  check_tensor("masked ids", batch.masked_ids_BL, {B, L}, at::kLong);
  check_range("masked ids", batch.masked_ids_BL, 0, config.model.text.vocab_size - 1);
}

}  // namespace cots
