// The execution plan of a tower's blocks in float32 on a CPU: weights packed once, activations in
// memory that is kept, sequences of mixed length one after the other without padding. The same
// mathematics as model/transformer.h, whose towers are the reference of its tests. Legend: M tokens
// of all sequences, S sequences, L tokens of one, d width, F feed-forward width, H heads.
#pragma once

#include <string>
#include <vector>

#include "infer/kernels/attention.h"
#include "infer/kernels/layer_norm.h"
#include "infer/kernels/packed_linear.h"
#include "model/config.h"
#include "model/parameters.h"

namespace cots {

struct EncoderShape {
  int64_t width, layers, heads, feed_forward;
  double layer_norm_eps;
  NormOrder order;
  Activation activation;
  bool causal = false;
  Tensor relative_index_LL = {};  // undefined: no relative position bias
};

/// LayerNorm with the weights of a parameter set.
struct PlannedNorm {
  Tensor weight, bias;
  double eps = 0;
  PlannedNorm() = default;
  PlannedNorm(const Parameters& parameters, const std::string& name, double eps);
  void run(kernels::Rows2d x, int64_t rows, float* y) const;  // rows of y side by side; y may be x
};

/// A parameter that the plan reads in place. Throws where the set has none of the name.
const Tensor& weight_of(const Parameters& parameters, const std::string& name);
/// NAME.weight and NAME.bias.
kernels::PackedLinear pack_linear(const Parameters& parameters, const std::string& name);

class EncoderPlan {
 public:
  /// `prefix` such as "visual.blocks.".
  EncoderPlan(const Parameters& parameters, const std::string& prefix, const EncoderShape& shape);

  /// x [M, d] f32: sequence s has the rows [starts[s], starts[s + 1]). Returns the last block's
  /// rows in memory of the plan, valid until the next call: with `needed` empty all M, else row
  /// needed[s] of x for each sequence, [S, d]; what only the other rows need is left out of the
  /// last block. Reads the cancel flag between layers.
  const float* run(float* x, const std::vector<int64_t>& starts,
                   const std::vector<int64_t>& needed);

 private:
  struct Layer {
    PlannedNorm ln1, ln2;
    kernels::PackedLinear query, key_value, proj, fc1, fc2;
    Tensor gamma1, gamma2, relative_bias_NH;  // undefined where the tower has none
  };
  void run_layer(const Layer& layer, float* x, const std::vector<int64_t>& starts);
  const float* run_last_layer(const Layer& layer, float* x, const std::vector<int64_t>& starts,
                              const std::vector<int64_t>& needed);
  const float* attention_input(const Layer& layer, const float* x, int64_t rows);
  void finish_layer(const Layer& layer, float* x, int64_t rows, const float* mixed);
  kernels::AttentionShape attention_shape(const Layer& layer);

  EncoderShape shape_;
  std::vector<Layer> layers_;
  Tensor narrow_, wide_, picked_, bias_HLL_;  // [M, d], [M, max(3 d, F)], [2, S, d], [H, L, L]
};

/// Memory for `floats` numbers: `kept` itself where it is large enough, else made anew.
float* reserve(Tensor& kept, int64_t floats);

}  // namespace cots
