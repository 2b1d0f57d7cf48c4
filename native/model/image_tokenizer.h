// Discrete VAE: encoder to a grid of codes, decoder back to pixels. `openai` is DALL-E's network
// layer by layer (SPEC 4.1, 4.2): four groups, whose channel widths scale with `hidden`, published
// as 256. `small` is SPEC 4.5's. Both reduce by 8. Legend: B batch, C channels, H W pixels, h w
// grid, V codes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "device/placement.h"
#include "model/parameters.h"

namespace cots {

enum class TokenizerArch { kOpenAi, kSmall };
/// SPEC 4.3: x -> 0.8 x + 0.1, or (x - 0.5) / 0.5.
enum class PixelRule { kMapPixels, kMeanStdHalf };

struct TokenizerConfig {
  TokenizerArch arch = TokenizerArch::kOpenAi;
  int64_t vocab = 8192;
  int64_t hidden = 256;        // first width of openai (n_hid), hidden width of small
  int64_t codebook_dim = 128;  // openai decoder's first 1x1 conv (128), small's codebook (512)
  int64_t blocks = 2;          // residual blocks: a group (openai), in all (small)
  PixelRule pixels = PixelRule::kMapPixels;
};

class ImageTokenizer {
 public:
  /// Parameter names: openai `blocks.*` for the encoder and `decoder.blocks.*` for the decoder
  /// (SPEC 4.4); small `encoder.*`, `codebook.weight`, `decoder.*`.
  ImageTokenizer(const TokenizerConfig& config, int64_t seed, bool with_decoder);
  /// With the weights in `tensors` of `file`. Throws with the tensor's name, found and wanted
  /// shape, before it takes memory for the network.
  ImageTokenizer(const TokenizerConfig& config, const std::map<std::string, Tensor>& tensors,
                 const std::string& file, bool with_decoder);
  ~ImageTokenizer();

  /// pixels_BCHW f32 in [0, 1], H and W multiples of 8. Returns logits [B, V, h, w], f32,
  /// channels-last in memory (permute({0, 2, 3, 1}) is then contiguous). Gradient flows to the
  /// parameters if the decoder is there.
  Tensor logits(const Tensor& pixels_BCHW) const;
  /// argmax over the codes, row-major: int64 [B, h*w]. No gradient. Holds the logits of 4,096
  /// positions at a time.
  Tensor tokens(const Tensor& pixels_BCHW) const;
  /// codes_BVhw: one-hot or relaxed distribution. Returns decoder output: [B, 6, H, W] (mu, ln b)
  /// for openai, [B, 3, H, W] for small.
  Tensor decode(const Tensor& codes_BVhw) const;
  /// Decoder output to pixels in [0, 1].
  Tensor reconstruct(const Tensor& decoded) const;
  /// Pixels as the network takes them (SPEC 4.3).
  Tensor map_pixels(const Tensor& pixels_BCHW) const;

  /// To a device, where tokens() convolves in `compute`: as OpenAI's network does in float16, all
  /// but the last 1x1 convolution, which stays float32.
  void place(const Placement& placement);

  Parameters& parameters();
  const Parameters& parameters() const;
  const TokenizerConfig& config() const;

  struct Net;  // one a kind of network; image_tokenizer.cpp has them

 private:
  std::unique_ptr<Net> net_;
  at::ScalarType compute_ = at::kFloat;
};

}  // namespace cots
