// One optimizer step's worth of pairs, as the loader hands it over. Legend: B pairs, S image side,
// V token view side, L tokens, P patches.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots {

struct Batch {
  at::Tensor image_BSS3;       // uint8, RGB: the ViT view
  at::Tensor token_view_BVV3;  // uint8, RGB: the image tokenizer's view of the same crop and flip
                               // (V = 8 * grid); undefined without CMVM
  at::Tensor ids_BL;           // int64; what lies beyond a length is padding
  at::Tensor lengths_B;        // int64, CLS and SEP included
  at::Tensor
      sample_B;  // int64, global sample index (unique over the whole run): keys every random draw
  at::Tensor image_id_B;  // int64, equal for captions of one image

  // Fixed draws instead of the generator's, for parity with other implementations; undefined in
  // real training.
  at::Tensor image_mask_BP;  // bool
  at::Tensor masked_ids_BL;  // int64, corrupted words
  at::Tensor text_mask_BL;   // bool, words to predict
};

}  // namespace cots
