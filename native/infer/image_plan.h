// The execution plan of the image tower (model/vision.h) with its projection. Legend: B images, P
// patches, L = 1 + P tokens, d width, D embedding.
#pragma once

#include "infer/encoder_plan.h"

namespace cots {

class ImagePlan {
 public:
  /// The weights must outlive the plan, which reads the small ones in place.
  ImagePlan(const ModelConfig& config, const WeightSource& weights, Precision precision);
  /// images_BSS3 uint8 RGB; mean and std per channel of pixels in [0, 1]. Writes unit rows [B, D].
  /// One call at a time: the activations live in the plan.
  void run(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3], float* out);

 private:
  void cut_patches(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3],
                   float* cut) const;
  void embed_patches(int64_t B, const float* cut, float* x) const;

  ModelConfig config_;
  Tensor cls_token_, pos_embed_;
  kernels::PackedLinear patch_, proj_;
  PlannedNorm ln_pre_, norm_;
  EncoderPlan blocks_;
  Tensor cut_, x_, pooled_;  // [B P, 3 p p], [B L, d], [B, d]
};

}  // namespace cots
