#include "infer/image_tokens.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "io/pixels.h"
#include "io/safetensors.h"
#include "model/weights.h"
#include "ops/cancel.h"

namespace cots {
namespace {

// Bytes that the widest activation may take: images go through in chunks, on a CPU of what its
// caches hold.
constexpr int64_t kActivationBytes = 32 << 20, kDeviceActivationBytes = 1 << 30;

/// `convert` of every chunk of images, given as f32 [b, 3, V, V] in [0, 1].
template <typename Convert>
Tensor by_chunks(const ImageTokenizer& tokenizer, const Tensor& images_BVV3, Convert convert) {
  const at::NoGradGuard no_grad;
  const int64_t B = images_BVV3.size(0), side = images_BVV3.size(1);
  const int64_t bytes_an_image =
      tokenizer.config().hidden * side * side * static_cast<int64_t>(sizeof(float));
  const int64_t bytes = images_BVV3.is_cpu() ? kActivationBytes : kDeviceActivationBytes;
  const int64_t at_once = std::max<int64_t>(1, bytes / bytes_an_image);
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < B; first += at_once) {
    ops::check_cancelled();
    parts.push_back(
        convert(io::to_unit_range(images_BVV3.narrow(0, first, std::min(at_once, B - first)))));
  }
  return at::cat(parts);
}

}  // namespace

Tensor image_tokens(const ImageTokenizer& tokenizer, const Tensor& images_BVV3) {
  return by_chunks(tokenizer, images_BVV3,
                   [&](const Tensor& pixels) { return tokenizer.tokens(pixels); });
}

Tensor reconstruct_images(const ImageTokenizer& tokenizer, const Tensor& images_BVV3) {
  return by_chunks(tokenizer, images_BVV3, [&](const Tensor& pixels_bCVV) {
    const int64_t grid = pixels_bCVV.size(2) / 8, b = pixels_bCVV.size(0);
    const Tensor tokens_bhw = tokenizer.tokens(pixels_bCVV).view({b, grid, grid});
    const Tensor codes_bVhw =
        at::one_hot(tokens_bhw, tokenizer.config().vocab).to(at::kFloat).permute({0, 3, 1, 2});
    const Tensor back = tokenizer.reconstruct(tokenizer.decode(codes_bVhw));
    return (back * 255).round().to(at::kByte).permute({0, 2, 3, 1}).contiguous();
  });
}

std::unique_ptr<ImageTokenizer> load_image_tokenizer(const TokenizerConfig& config,
                                                     const std::string& file, bool with_decoder) {
  if (file.empty()) return std::make_unique<ImageTokenizer>(config, 0, with_decoder);
  const std::map<std::string, Tensor> tensors = io::read_safetensors(file);
  const bool decodes =
      with_decoder && std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
        return has_prefix(entry.first, "decoder.");
      });
  return std::make_unique<ImageTokenizer>(config, tensors, file, decodes);
}

}  // namespace cots
