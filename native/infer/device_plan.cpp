#include "infer/device_plan.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <bit>

#include "device/memory.h"
#include "io/failure.h"
#include "ops/cancel.h"

namespace cots {
namespace {

// Tokens that pass a tower at once: enough to fill a large GPU.
constexpr int64_t kTokensAtOnce = 1 << 16;
constexpr int64_t kTokenStep = 8;  // lengths of texts are rounded up to it: few shapes

/// The largest power of two of rows of so many tokens.
int64_t rows_at_once(int64_t tokens) {
  return static_cast<int64_t>(
      std::bit_floor(static_cast<uint64_t>(std::max<int64_t>(1, kTokensAtOnce / tokens))));
}

/// Rows of the fixed shape that `count` rows are padded to.
int64_t padded_rows(int64_t count) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
}

Tensor channels(const double (&values)[3]) {
  return at::tensor({values[0], values[1], values[2]}, at::kFloat).view({3, 1, 1});
}

int64_t embedding_width(const ModelConfig& config, int64_t tower_width) {
  return config.has_projection() ? config.embed_dim : tower_width;
}

}  // namespace

DevicePlan::DevicePlan(const ModelConfig& config,
                       const std::function<Tensor(const std::string&)>& weight,
                       const Placement& placement)
    : config_(config),
      placement_(placement),
      parameters_(std::nullopt),
      towers_(config, Scope(parameters_, "visual"), Scope(parameters_, "text")),
      images_at_once_(rows_at_once(1 + config.image.patches())),
      texts_at_once_(rows_at_once(config.text.max_positions)),
      recorder_(device::make_recorder(placement.device)) {
  parameters_.flatten(/*requires_grad=*/false);
  for (const Parameter& parameter : parameters_.all())
    if (const Tensor value = weight(parameter.name); value.defined()) parameter.value.copy_(value);
  parameters_.move(placement.device, placement.compute);
  const auto options = at::TensorOptions(at::kFloat).device(placement.device);
  mean_3 = at::zeros({3, 1, 1}, options);
  std_3 = at::ones({3, 1, 1}, options);
}

Tensor DevicePlan::embed_images(const Tensor& images_BSS3, const double (&mean)[3],
                                const double (&std)[3]) {
  const c10::InferenceMode inference;
  set_normalization(mean, std);
  return run(images_BSS3.size(0), embedding_width(config_, config_.image.width), images_at_once_,
             [&](int64_t first, int64_t count) -> Bucket& {
               Bucket& bucket = image_bucket(padded_rows(count));
               bucket.inputs[0].narrow(0, 0, count).copy_(images_BSS3.narrow(0, first, count));
               return bucket;
             });
}

Tensor DevicePlan::embed_texts(const Tensor& ids_BL, const Tensor& lengths_B) {
  const c10::InferenceMode inference;
  const int64_t most = config_.text.max_positions;
  return run(ids_BL.size(0), embedding_width(config_, config_.text.width), texts_at_once_,
             [&](int64_t first, int64_t count) -> Bucket& {
               const Tensor lengths = lengths_B.narrow(0, first, count);
               const int64_t longest = lengths.max().item<int64_t>();
               TORCH_CHECK(longest <= most, "Expected texts of 1 to ", most,
                           " tokens (max_positions), got ", longest, ".");
               const int64_t padded = (longest + kTokenStep - 1) / kTokenStep * kTokenStep;
               Bucket& bucket = text_bucket(padded_rows(count), std::min(padded, most));
               // What an earlier batch left beyond these is valid and not read: other rows, and
               // words after a text's length.
               bucket.inputs[0]
                   .narrow(0, 0, count)
                   .narrow(1, 0, longest)
                   .copy_(ids_BL.narrow(0, first, count).narrow(1, 0, longest));
               bucket.inputs[1].narrow(0, 0, count).copy_(lengths);
               return bucket;
             });
}

/// Batch after batch: `fill` brings rows into their bucket.
Tensor DevicePlan::run(int64_t rows, int64_t width, int64_t& at_once,
                       const std::function<Bucket&(int64_t, int64_t)>& fill) {
  Tensor result_BD = at::empty({rows, width}, at::kFloat);
  for (int64_t first = 0; first < rows;) {
    ops::check_cancelled();
    const int64_t count = std::min(at_once, rows - first);
    try {
      Bucket& bucket = fill(first, count);
      bucket.work->replay();
      result_BD.narrow(0, first, count).copy_(bucket.output_BD.narrow(0, 0, count));
      first += count;
    } catch (const c10::Error& error) {
      if (!device::is_out_of_memory(error)) throw;
      shrink(at_once, count);
    }
  }
  return result_BD;
}

/// After `count` rows were too many.
void DevicePlan::shrink(int64_t& at_once, int64_t count) {
  buckets_.clear();
  recorder_ = device::make_recorder(placement_.device);  // its memory goes with it
  device::release_cached_memory(placement_.device);
  if (count == 1)
    throw Failure("ERR_COTS_MEMORY", "Expected " + placement_.device.str() +
                                         " to have memory for one row, it has not. End what else "
                                         "uses the device, or take a smaller model.");
  at_once = padded_rows(count) / 2;
}

/// The bucket of a shape; `make` gives a new one its tensors.
DevicePlan::Bucket& DevicePlan::bucket(const Shape& shape,
                                       const std::function<void(Bucket&)>& make) {
  if (const auto found = buckets_.find(shape); found != buckets_.end()) return found->second;
  Bucket made;
  make(made);
  return buckets_.emplace(shape, std::move(made)).first->second;
}

DevicePlan::Bucket& DevicePlan::image_bucket(int64_t rows) {
  return bucket({rows, 0}, [&](Bucket& b) {
    const int64_t S = config_.image.size, D = embedding_width(config_, config_.image.width);
    const auto options = at::TensorOptions(placement_.device);
    const Tensor pixels = at::zeros({rows, S, S, 3}, options.dtype(at::kByte));
    b.inputs = {pixels};
    b.output_BD = at::zeros({rows, D}, options.dtype(at::kFloat));
    b.work = recorder_->record([this, pixels, out = b.output_BD] {
      const Tensor normal =
          pixels.permute({0, 3, 1, 2}).to(at::kFloat).div_(255).sub_(mean_3).div_(std_3);
      out.copy_(
          towers_.encode_image(normal.to(placement_.compute), {}, {}, Need::kGlobal).embedding_BD);
    });
  });
}

DevicePlan::Bucket& DevicePlan::text_bucket(int64_t rows, int64_t tokens) {
  return bucket({rows, tokens}, [&](Bucket& b) {
    const auto options = at::TensorOptions(placement_.device);
    const Tensor ids = at::zeros({rows, tokens}, options.dtype(at::kLong)),
                 lengths = at::ones({rows}, options.dtype(at::kLong));
    b.inputs = {ids, lengths};
    b.output_BD =
        at::zeros({rows, embedding_width(config_, config_.text.width)}, options.dtype(at::kFloat));
    b.work = recorder_->record([this, ids, lengths, out = b.output_BD] {
      out.copy_(towers_.encode_text(ids, lengths, {}, Need::kGlobal).embedding_BD);
    });
  });
}

/// In place: the recorded work reads these tensors.
void DevicePlan::set_normalization(const double (&mean)[3], const double (&std)[3]) {
  mean_3.copy_(channels(mean));
  std_3.copy_(channels(std));
}

}  // namespace cots
