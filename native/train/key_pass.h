// The momentum side of a step: keys of all pairs and their scores. Legend: B pairs, D embedding.
#pragma once

#include "model/cots.h"
#include "ops/scale_pixels.h"
#include "train/batch.h"

namespace cots {

struct Keys {
  Tensor image_BD, text_BD;  // unit rows of the momentum towers, clean inputs; rows that are not
                             // finite are zeroed
  Tensor score_B;            // image . text, NaN where a key is not finite (SPEC 3.8)
  Tensor finite_B;           // bool
};

/// At most `rows_at_once` pairs pass the towers together. No gradient.
Keys key_pass(const Towers& momentum, const ops::PixelScale& pixels, const Batch& batch,
              int64_t rows_at_once);

}  // namespace cots
