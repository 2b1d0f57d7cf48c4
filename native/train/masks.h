// What is masked in a step's batch, and the keys of every random draw. Legend: B pairs, N
// frames, P patches, L tokens.
#pragma once

#include "train/batch.h"
#include "train/config.h"

#include "model/parameters.h"

namespace cots {

struct Masks {
  Tensor image_NP;       // bool, patches to predict; undefined without CMVM
  Tensor masked_ids_BL;  // corrupted words; undefined without CMLM
  Tensor text_BL;        // bool, words to predict
};

/// Draws keyed by (seed, step, sample), or the batch's own where it brings them.
Masks draw_masks(const TrainConfig& config, const Batch& batch, int64_t step);

/// Which of a pair's random draws: masks, and the dropout of each pass, must not repeat one
/// another.
enum class Draw : uint64_t { kMasks = 0, kCleanPass = 1, kMaskedPass = 2 };
Tensor draw_keys(const TrainConfig& config, const Tensor& sample_B, int64_t step, Draw draw);

/// A key a frame out of a key a pair: the first frame of a clip has the pair's own, as an image
/// has.
Tensor frame_keys(const Tensor& keys_B, const Tensor& frames_B);

}  // namespace cots
