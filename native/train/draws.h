// The random draws of a step: what is masked in its batch, and the keys of dropout. Legend: B
// pairs, N frames, P patches, L tokens, r rows of a mask, K positions of a row, M masked ones.
#pragma once

#include "model/parameters.h"
#include "train/batch.h"
#include "train/config.h"

namespace cots {

/// Keyed by (seed, step, sample), or the batch's own where it brings them. On the CPU.
struct Draws {
  Tensor image_mask_NP;                // bool, patches to predict; undefined without CMVM
  Tensor masked_ids_BL;                // corrupted words; undefined without CMLM
  Tensor text_mask_BL;                 // bool, words to predict
  Tensor clean_keys_B, masked_keys_B;  // int64, of dropout and stochastic depth in each pass
};
Draws draw(const TrainConfig& config, const Batch& batch, int64_t step);

/// A key a frame out of a key a pair: the first frame of a clip has the pair's own, as an image
/// has.
Tensor frame_keys(const Tensor& keys_B, const Tensor& frames_B);

/// Where a mask [r, K] is set, as places of its flattened form.
struct Places {
  Tensor place_M;  // int64, in ascending order; undefined: nothing is masked
  Tensor real_M;   // bool; undefined: all are. False marks room that is left over.
  int64_t count() const { return place_M.defined() ? place_M.size(0) : 0; }
};
/// `mask_rK` undefined: nothing is.
Places places_of(const Tensor& mask_rK);
/// The same with room for `room` places, which must do: shapes that do not depend on the mask.
Places places_of(const Tensor& mask_rK, int64_t room);

}  // namespace cots
