// Token level: masks of images and words, and the chunked cross-entropy of CMVM and CMLM
// (SPEC 2.3, 3.4). Legend: B batch, P patches, g grid side, L tokens, M masked positions, d width,
// V classes.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::loss {

using at::Tensor;

struct ImageMaskOptions {
  int64_t grid;
  double ratio;
  bool block;
  bool exact;
};
/// bool [B, P], true = masked. Blockwise as BEiT's generator: min area 16 (on grids smaller than 24
/// the same share of the grid), aspect log-uniform [0.3, 1/0.3], at most 10 tries a block; it stops
/// a little short of round(ratio * P). Draws are keyed by keys_B: a row depends on its own key
/// only.
Tensor draw_image_mask(const Tensor& keys_B, const ImageMaskOptions& options);

struct TextMask {
  Tensor ids_BL;     // corrupted input: 80 % mask_id, 10 % random id uniform in [0, V), 10 % kept
  Tensor masked_BL;  // bool, positions to predict; never PAD, CLS or SEP
};
struct TextMaskOptions {
  double ratio;
  int64_t mask_id, vocab_size;
};
/// Special tokens are the first and last of each row's `length`. Bernoulli per token.
TextMask draw_text_mask(const Tensor& ids_BL, const Tensor& lengths_B, const Tensor& keys_B,
                        const TextMaskOptions& options);

/// Sum over rows of -ln softmax(W u + c)[t], divided by `normalizer` (|M| over the whole step, at
/// least 1). query_Md, weight_Vd, bias_V carry gradient; target_M int64. Logits are formed a chunk
/// of rows at a time and formed again in backward, never all held. M = 0 gives a zero that still
/// backpropagates zeros.
Tensor masked_cross_entropy(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                            const Tensor& target_M, const Tensor& normalizer);

}  // namespace cots::loss
