// AdamW over the flat buffers of a Parameters set, with global-norm clipping.
#pragma once

#include "model/parameters.h"
#include "train/config.h"

namespace cots {

class Optimizer {
 public:
  /// `lr_scales`: a factor on the learning rate of each parameter, in their order.
  Optimizer(Parameters& parameters, const OptimizerConfig& config,
            const std::vector<double>& lr_scales);
  /// Euclidean norm of all gradients, float64 accumulation.
  double grad_norm() const;
  /// One update at learning rate `lr`; gradients are scaled by clip_grad / norm when norm exceeds
  /// it.
  void step(double lr, double norm);
  int64_t updates() const { return updates_; }

  /// optimizer.exp_avg, optimizer.exp_avg_sq (flat) and optimizer.updates, for a checkpoint.
  std::vector<std::pair<std::string, Tensor>> state() const;
  void restore(const std::vector<std::pair<std::string, Tensor>>& state);

 private:
  struct Span {
    int64_t begin, count;
    bool decay;
    double lr_scale;
  };
  static std::vector<Span> make_spans(const Parameters& parameters,
                                      const std::vector<double>& lr_scales);

  Parameters& parameters_;
  OptimizerConfig config_;
  Tensor exp_avg_, exp_avg_sq_;
  std::vector<Span> spans_;
  Tensor decayed_, undecayed_;  // masks of the longest span: all 1, all 0
  int64_t updates_ = 0;
};

}  // namespace cots
