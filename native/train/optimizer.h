// AdamW over the flat buffers of a Parameters set, or over one part of them, with global-norm
// clipping.
#pragma once

#include <optional>

#include "model/parameters.h"
#include "ops/adamw.h"
#include "train/config.h"
#include "train/distributed.h"

namespace cots {

class Optimizer {
 public:
  /// `lr_scales`: a factor on the learning rate of each parameter, in their order. With `own` it
  /// updates, and has moments of, these elements alone (ZeRO stage 1, Rajbhandari et al. 2020).
  /// `cut`: an element of the flat buffer that no span reaches over.
  Optimizer(Parameters& parameters, const OptimizerConfig& config,
            const std::vector<double>& lr_scales, std::optional<Range> own = std::nullopt,
            int64_t cut = 0);
  /// Sum of the squares of all gradients of the own part, float64 accumulation.
  double grad_square() const;
  /// Its root: the Euclidean norm.
  double grad_norm() const;
  /// One update at learning rate `lr`; gradients are scaled by clip_grad / norm when norm exceeds
  /// it.
  void step(double lr, double norm);
  int64_t updates() const { return updates_; }

  /// The same where no value comes to the host. The norm, f64 [].
  Tensor grad_norm_tensor() const;
  /// `live_4` as ops::adamw_ reads it: its learning rate is the schedule's, its step counts from 1.
  /// The average is of the first parameters, up to one where a span was cut.
  void step(const Tensor& live_4, const ops::MovingAverage& average);
  /// Tells of an update that step(live_4) made.
  void count_update() { ++updates_; }
  void move(at::Device device);
  const Range& own() const { return own_; }

  /// optimizer.exp_avg, optimizer.exp_avg_sq (flat, the own part) and optimizer.updates, for a
  /// checkpoint.
  std::vector<std::pair<std::string, Tensor>> state() const;
  void restore(const std::vector<std::pair<std::string, Tensor>>& state);

 private:
  struct Span {
    int64_t begin, count;  // in the flat buffer
    bool decay;
    double lr_scale;
  };
  static std::vector<Span> make_spans(const Parameters& parameters,
                                      const std::vector<double>& lr_scales, Range own, int64_t cut);
  template <typename Update>
  void for_spans(Update update) const;

  Parameters& parameters_;
  OptimizerConfig config_;
  Range own_;
  Tensor exp_avg_, exp_avg_sq_;
  std::vector<Span> spans_;
  Tensor decayed_, undecayed_;  // masks of the longest span: all 1, all 0
  int64_t updates_ = 0;
};

}  // namespace cots
