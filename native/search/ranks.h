// Retrieval ranks by counting, streaming over blocks of the gallery: never N x M scores in memory
// (SPEC 5.1).
#pragma once

#include <ATen/core/Tensor.h>

namespace cots {

struct DirectionRanks {
  at::Tensor pessimistic,
      optimistic;  // int32 [queries], 1-based: ties count against, or for, the query
};
struct Ranks {
  DirectionRanks image_to_text, text_to_image;
};

/// images_ID, texts_TD f32 unit rows; image_of_text_T int32 in [0, I), every image with at least
/// one text. NaN is an error. Scores within 1e-6 of the one compared with are decided by
/// ops::exact_dot.
Ranks retrieval_ranks(const at::Tensor& images_ID, const at::Tensor& texts_TD,
                      const at::Tensor& image_of_text_T);

}  // namespace cots
