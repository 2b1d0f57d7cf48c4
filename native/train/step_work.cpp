// Legend: B pairs of this rank, G of all, M masked positions, P patches, L tokens.
#include "train/step_work.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "loss/adaptive_filter.h"
#include "train/key_exchange.h"
#include "train/key_pass.h"
#include "train/settings.h"

namespace cots {
namespace {

/// The report's numbers, in the order in which work() writes and read() reads them; the scores and
/// weights of the batch follow.
enum Number : int64_t {
  kFirstLoss = 0,
  kMean = kLosses,
  kStd,
  kThreshold,
  kNorm,
  kLogScale,
  kFiniteKeys,
  kKept,
  kFilled,
  kValid,
  kAnyKept,
  kFinite,
  kFilterActive,
  kNumbers
};

/// How many masked positions are real ones of pairs that count, f32 [].
Tensor count_masked(const std::vector<MicroBatch>& micro, Places MicroBatch::*places, int64_t K,
                    const Tensor& counted_B) {
  Tensor sum = at::zeros({}, counted_B.options().dtype(at::kLong));
  for (const MicroBatch& m : micro) {
    const Places& p = m.*places;
    if (p.count() == 0) continue;
    const Tensor pair_M = m.rows_b.index_select(0, at::floor_divide(p.place_M, K));
    sum = sum + counted_B.index_select(0, pair_M).logical_and(p.real_M).sum();
  }
  return sum.to(at::kFloat);
}

StepContext make_context(const TrainConfig& config, const ops::PixelScale& pixels,
                         const StepState& state, const StepInputs& in, const StepPhase& phase,
                         const Keys& keys, const Tensor& weights_B, const Tensor& counted_B) {
  const ops::QueueColumns& queue = state.queue.columns();
  const auto filled = [&](const Tensor& column) { return column.narrow(0, 0, phase.filled); };
  const Tensor masked_2 = at::stack(
      {count_masked(in.micro, &MicroBatch::patches, config.model.image.patches(), counted_B),
       count_masked(in.micro, &MicroBatch::words, in.batch.ids_BL.size(1), counted_B)});
  state.group.all_reduce(masked_2);
  StepContext c{.config = config,
                .model = state.model,
                .tokenizer = state.tokenizer,
                .batch = in.batch,
                .keys = keys,
                .draws = in.draws,
                .pixels = pixels,
                .weights_B = weights_B,
                .image_queue_nD = filled(queue.image_ND),
                .text_queue_nD = filled(queue.text_ND),
                .queue_id_n = filled(queue.id_N),
                .batch_key_column = -1,
                .pairs = 1,
                .masked_patches = masked_2[0],
                .masked_words = masked_2[1],
                .task_weight = phase.task_weight,
                .counted_B = counted_B};
  if (config.queue.include_batch_keys) {
    // Row r's own key at column n + r: there is one micro-batch.
    c.batch_key_column = phase.filled;
    c.image_queue_nD = at::cat({c.image_queue_nD, keys.image_BD});
    c.text_queue_nD = at::cat({c.text_queue_nD, keys.text_BD});
    c.queue_id_n = at::cat({c.queue_id_n, in.batch.image_id_B});
  }
  return c;
}

}  // namespace

int64_t report_size(int64_t pairs) { return kNumbers + 2 * pairs; }

/// The whole step. Asks for no value on the host but by ops::check_cancelled, which reads none of
/// the device's.
void step_work(const TrainConfig& config, const ops::PixelScale& pixels, const StepState& state,
               const StepInputs& in, const StepPhase& phase, const Tensor& report) {
  auto& [model, momentum, queue, optimizer, tokenizer, group, gradients] = state;
  const int64_t slice = in.micro.front().rows_b.size(0);
  const Keys own = key_pass(momentum.towers(), pixels, in.batch, slice);
  const StepKeys keys = exchange_equal_keys(group, own, in.batch);
  const bool is_full = phase.valid == queue.capacity();
  const loss::FilterDecision decision = loss::adaptive_filter(
      keys.all.score_B, is_full ? queue.columns().score_N : queue.valid_scores(),
      filter_options(config.filter));

  const Tensor& weights_G = decision.weights_B;
  const Tensor counted_G =
      config.filter.apply_to == FilterScope::kAll ? weights_G.gt(0) : keys.all.finite_B;
  const auto own_of = [&](const Tensor& t_G) {
    return keys.own_B.defined() ? t_G.index_select(0, keys.own_B) : t_G;
  };
  const StepContext c =
      make_context(config, pixels, state, in, phase, own,
                   own_of(weights_G / weights_G.sum().clamp_min(1)), own_of(counted_G));
  model.parameters().zero_grad();
  Tensor losses_6 = at::zeros({kLosses}, weights_G.options());
  Tensor broken = at::zeros({}, weights_G.options());  // micro-batches that were not finite
  StageSeconds unread;
  for (const MicroBatch& micro : in.micro) {
    OnlinePass pass(c, micro, unread);
    pass.backward(&micro == &in.micro.back() ? &gradients : nullptr, unread);
    losses_6 = losses_6 + pass.losses().values_6;
    broken = broken + pass.losses().finite.logical_not();
  }
  gradients.finish();

  const at::NoGradGuard no_grad;
  const Tensor sums_7 = at::cat({losses_6, broken.unsqueeze(0)});
  group.all_reduce(sums_7);
  const Tensor norm = optimizer.grad_norm_tensor(), any = counted_G.any();
  const Tensor finite = sums_7[kLosses].eq(0).logical_and(norm.isfinite());
  const double clip = config.optimizer.clip_grad;
  const Tensor scale = clip > 0 ? (clip / norm).clamp_max(1) : at::ones_like(norm);
  const Tensor active = any.logical_and(finite).to(at::kDouble);
  optimizer.step(at::cat({in.rate_2, at::stack({scale, active})}),
                 {momentum.parameters().flat(), config.ema_m});
  clamp_temperature(config.loss, model);
  queue.push(keys.all.image_BD, keys.all.text_BD, keys.image_id_G, keys.all.finite_B);

  const auto number = [](const Tensor& t) { return t.to(at::kDouble).flatten(); };
  const Tensor active_filter = at::full({1}, decision.active ? 1.0 : 0.0, norm.options());
  report.copy_(at::cat({number(sums_7.narrow(0, 0, kLosses)), decision.stats_3, number(norm),
                        number(model.log_scale().detach()), number(keys.all.finite_B.sum()),
                        number(weights_G.sum()), number(queue.columns().cursor_2[1]),
                        number(queue.columns().valid_N.sum()), number(any), number(finite),
                        active_filter, number(keys.all.score_B), number(weights_G)}));
}

/// Waits for the device.
StepReport read_report(const Tensor& report, int64_t pairs) {
  const Tensor values = report.cpu();
  const double* v = values.const_data_ptr<double>();
  StepReport r;
  std::copy(v + kFirstLoss, v + kFirstLoss + kLosses, r.losses);
  r.filter_mean = v[kMean], r.filter_std = v[kStd], r.filter_threshold = v[kThreshold];
  r.grad_norm = v[kNorm], r.log_scale = v[kLogScale];
  r.finite_keys = static_cast<int64_t>(v[kFiniteKeys]);
  r.kept = static_cast<int64_t>(v[kKept]);
  r.queue_filled = static_cast<int64_t>(v[kFilled]);
  r.queue_valid = static_cast<int64_t>(v[kValid]);
  r.any_kept = v[kAnyKept] != 0, r.finite = v[kFinite] != 0;
  r.filter_active = v[kFilterActive] != 0;
  const double* const scores = v + kNumbers;
  r.scores.assign(scores, scores + pairs);
  r.weights.assign(scores + pairs, scores + 2 * pairs);
  return r;
}

}  // namespace cots
