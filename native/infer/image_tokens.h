// Images through the frozen image tokenizer in bounded memory. Legend: B images, V side in pixels,
// P = (V / 8)^2 tokens.
#pragma once

#include <string>

#include "model/image_tokenizer.h"

namespace cots {

/// images_BVV3 uint8. Returns int64 [B, P], row-major as the patches. No gradient.
Tensor image_tokens(const ImageTokenizer& tokenizer, const Tensor& images_BVV3);

/// The hard tokens decoded back: uint8 [B, V, V, 3].
Tensor reconstruct_images(const ImageTokenizer& tokenizer, const Tensor& images_BVV3);

/// A tokenizer with the weights of dvae.safetensors; an empty file name draws random weights. Its
/// decoder is read where asked for and the file has one. Throws with the tensor's name, found and
/// wanted shape.
std::unique_ptr<ImageTokenizer> load_image_tokenizer(const TokenizerConfig& config,
                                                     const std::string& file, bool with_decoder);

}  // namespace cots
