// One optimizer step's worth of pairs, as the loader hands it over: an image, or a clip's frames,
// and a text each. Legend: B pairs, N frames of all pairs (an image is one), S image side, V token
// view side, L tokens, P patches; b pairs and n frames of a micro-batch.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots {

struct Batch {
  at::Tensor image_NSS3;       // uint8, RGB: the ViT view; the frames of pair 0, of pair 1, ...
  at::Tensor token_view_NVV3;  // uint8, RGB: the image tokenizer's view of the same crop and flip
                               // (V = 8 * grid); undefined without CMVM
  at::Tensor frames_B;         // int64, frames of each pair, at least 1; undefined: 1 each
  at::Tensor ids_BL;           // int64; what lies beyond a length is padding
  at::Tensor lengths_B;        // int64, CLS and SEP included
  at::Tensor
      sample_B;  // int64, global sample index (unique over the whole run): keys every random draw
  at::Tensor image_id_B;  // int64, equal for captions of one image

  // Fixed draws instead of the generator's, for parity with other implementations; undefined in
  // real training.
  at::Tensor image_mask_NP;  // bool
  at::Tensor masked_ids_BL;  // int64, corrupted words
  at::Tensor text_mask_BL;   // bool, words to predict
};

/// N. Throws unless frames_B is int64 [pairs] of counts from 1 to 2^20, or undefined.
int64_t total_frames(const at::Tensor& frames_B, int64_t pairs);

/// The tensors that the towers read, and the image ids, on a device.
Batch on_device(const Batch& batch, at::Device device);

/// t[rows_b]; undefined stays undefined.
at::Tensor take_rows(const at::Tensor& t, const at::Tensor& rows_b);

/// int64 [n]: rows of the frames of the pairs rows_b, in their order. An undefined frames_B means
/// one frame a pair.
at::Tensor frame_rows(const at::Tensor& frames_B, const at::Tensor& rows_b);

}  // namespace cots
