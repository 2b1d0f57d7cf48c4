// The end of both towers: from pooled states to unit rows. Legend: B items, d width, D embedding.
#pragma once

#include <vector>

#include "infer/encoder_plan.h"

namespace cots {

/// Mean of the rows [starts[b] + skip, starts[b + 1]) of x for each item, [B, d].
void mean_rows(const float* x, const std::vector<int64_t>& starts, int64_t skip, int64_t d,
               float* mean_Bd);

/// z / max(||z||, 1e-12) of each of B rows, z the projection of the row, or the row itself where
/// the model has none (proj.out() == 0). `out` [B, D].
void project_to_unit(const kernels::PackedLinear& proj, const float* pooled_Bd, int64_t B,
                     int64_t d, float* out);

}  // namespace cots
