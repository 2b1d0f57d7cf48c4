// A single-stream model of BERT-base size, as the cost of a pair: image tokens and words in one
// sequence, through all layers for every pair (VinVL: Zhang et al. 2021). Random weights: what a
// pair costs does not depend on them.
#pragma once

#include "infer/encoder_plan.h"

namespace cots {

class CrossEncoder {
 public:
  CrossEncoder();
  /// Match scores [pairs] of as many sequences of `tokens` random states: twelve layers, then one
  /// number out of each CLS row. What embeds patches or words is left out: less than 1 % of a pair.
  Tensor score(int64_t pairs, int64_t tokens);

 private:
  Parameters parameters_;
  EncoderPlan blocks_;
  kernels::PackedLinear head_;
  Tensor states_;
};

}  // namespace cots
