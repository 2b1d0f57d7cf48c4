// The execution plan of a tower's blocks on a CPU: weights packed once in the plan's precision,
// activations in memory that is kept, sequences of mixed length one after the other without
// padding. The same mathematics as model/transformer.h, whose towers are the reference of its
// tests. Legend: M tokens of all sequences, S sequences, L tokens of one, d width, F feed-forward
// width, H heads.
#pragma once

#include <string>
#include <vector>

#include "infer/kernels/attention.h"
#include "infer/kernels/layer_norm.h"
#include "infer/planned_linear.h"
#include "model/config.h"

namespace cots {

struct EncoderShape {
  int64_t width, layers, heads, feed_forward;
  double layer_norm_eps;
  NormOrder order;
  Activation activation;
  bool causal = false;
  Tensor relative_index_LL = {};  // undefined: no relative position bias
};

/// LayerNorm with its weights.
struct PlannedNorm {
  Tensor weight, bias;
  double eps = 0;
  PlannedNorm() = default;
  PlannedNorm(const WeightSource& weights, const std::string& name, double eps);
  void run(kernels::Rows2d x, int64_t rows, float* y) const;  // rows of y side by side; y may be x
};

class EncoderPlan {
 public:
  /// `prefix` such as "visual.blocks.".
  EncoderPlan(const WeightSource& weights, const std::string& prefix, const EncoderShape& shape,
              Precision precision);

  /// x [M, d] f32: sequence s has the rows [starts[s], starts[s + 1]). Returns the last block's
  /// rows in memory of the plan, valid until the next call: with `needed` empty all M, else row
  /// needed[s] of x for each sequence, [S, d]; what only the other rows need is left out of the
  /// last block. Reads the cancel flag between layers.
  const float* run(float* x, const std::vector<int64_t>& starts,
                   const std::vector<int64_t>& needed);

 private:
  struct Layer {
    PlannedNorm ln1, ln2;
    PlannedLinear query, key_value, proj, fc1, fc2;
    Tensor gamma1, gamma2, relative_bias_NH;  // undefined where the tower has none
  };
  /// Sequences that go through a layer together, by their rows and places among all; `starts` and
  /// `needed` are counted from the first of them.
  struct Group {
    int64_t row, sequence;
    std::vector<int64_t> starts, needed = {};
  };
  static std::vector<Group> groups_of(const std::vector<int64_t>& starts,
                                      const std::vector<int64_t>& needed);
  /// Activations of one group.
  struct Workspace {
    Tensor narrow, wide, query;    // [M, d], [M, max(3 d, F)], [S, d]
    kernels::QuantizedRows codes;  // what the next linear layers read, in int8
    kernels::HalfRows halves;      // or in bfloat16
  };
  void make_workspaces(const std::vector<Group>& groups, int64_t count);
  void run_layer(const Layer& layer, const kernels::AttentionShape& attention, float* x,
                 const std::vector<int64_t>& starts, Workspace& workspace) const;
  void run_last_layer(const Layer& layer, const kernels::AttentionShape& attention, const float* x,
                      const Group& group, float* kept, Workspace& workspace) const;
  LinearInput input_of(const float* x, int64_t rows, int64_t width, Workspace& workspace) const;
  const float* attention_input(const Layer& layer, const float* x, int64_t rows,
                               Workspace& workspace) const;
  void finish_layer(const Layer& layer, float* x, int64_t rows, const float* mixed,
                    Workspace& workspace) const;
  kernels::AttentionShape attention_shape(const Layer& layer);

  EncoderShape shape_;
  Precision precision_;
  std::vector<Layer> layers_;
  std::vector<Workspace> workspaces_;  // by thread, where each has a group of its own
  Tensor picked_, bias_HLL_;           // [S, d] of all sequences, [H, L, L]
};

/// Memory for `floats` numbers: `kept` itself where it is large enough, else made anew.
float* reserve(Tensor& kept, int64_t floats);

}  // namespace cots
