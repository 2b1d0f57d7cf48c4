// The execution plan of the text tower (model/text.h) with its projection. Legend: B texts, M their
// tokens, d width, D embedding.
#pragma once

#include "infer/encoder_plan.h"

namespace cots {

class TextPlan {
 public:
  /// The weights must outlive the plan, which reads the small ones in place.
  TextPlan(const ModelConfig& config, const WeightSource& weights, Precision precision);
  /// Text b is the first lengths[b] ids of row b; at least one each. Writes unit rows [B, D]. One
  /// call at a time: the activations live in the plan.
  void run(const int64_t* ids_BL, int64_t L, const int64_t* lengths, int64_t B, float* out);

 private:
  void embed_tokens(const int64_t* ids_BL, int64_t L, const std::vector<int64_t>& starts,
                    float* x) const;

  ModelConfig config_;
  Tensor word_,
      place_Ld_;  // word: bfloat16 in such a plan; place: position plus the one token type in use
  kernels::PackedLinear proj_;
  PlannedNorm ln_, norm_;  // of the embeddings (post-LN), of the last states (pre-LN)
  EncoderPlan blocks_;
  Tensor x_, pooled_;  // [M, d], [B, d]
};

}  // namespace cots
