// One optimizer step in the order of SPEC 3.6: EMA -> keys -> filter -> online passes, losses,
// backward -> clip -> AdamW -> push. Legend: B pairs, D embedding, L tokens, P patches, n queue
// entries.
#include "train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/memory.h"
#include "io/failure.h"
#include "io/memory.h"
#include "loss/adaptive_filter.h"
#include "ops/cancel.h"
#include "train/draws.h"
#include "train/input_checks.h"
#include "train/key_pass.h"
#include "train/layer_decay.h"
#include "train/online_pass.h"
#include "train/schedule.h"
#include "train/settings.h"
#include "train/stopwatch.h"

namespace cots {
namespace {

constexpr double kCollapsedStd = 1e-6;  // SPEC 3.8, sigma = 0
constexpr int64_t kMaxCollapsedSteps = 100;

int64_t embedding_width(const ModelConfig& model) {
  return model.has_projection() ? model.embed_dim : model.image.width;
}

/// f32 [], how much of the mask's rows is set.
Tensor count(const Tensor& mask, const Tensor& rows) {
  return mask.defined() ? mask.index_select(0, rows).sum().to(at::kFloat) : at::zeros({});
}

/// The towers' own copy of what training computes in.
ModelConfig computing(ModelConfig model, at::ScalarType compute) {
  if (compute != at::kFloat) model.image.compute = model.text.compute = compute;
  return model;
}

void add_losses(const Losses& losses, StepMetrics& metrics) {
  const float* const value = losses.values_6.const_data_ptr<float>();
  metrics.loss += value[kTotal];
  metrics.loss_image_to_text += value[kImageToText];
  metrics.loss_text_to_image += value[kTextToImage];
  metrics.loss_task += value[kTask];
  metrics.loss_cmvm += value[kCmvm];
  metrics.loss_cmlm += value[kCmlm];
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, std::shared_ptr<const ImageTokenizer> tokenizer,
                 const Group& group)
    : config_((check_config(config, tokenizer != nullptr, group.world()), config)),
      group_(group),
      tokenizer_(std::move(tokenizer)),
      model_(computing(config.model, config.placement.compute), config.token, config.loss.tau,
             config.seed, config.weight_init),
      momentum_(model_, computing(config.model, config.placement.compute)),
      queue_(config.queue.size, embedding_width(config.model)),
      optimizer_(model_.parameters(), config.optimizer,
                 layer_scales(model_.parameters(), config.layer_decay),
                 config.sharded_optimizer
                     ? std::optional(group.own_part(model_.parameters().count()))
                     : std::nullopt,
                 model_.tower_count()),
      pixels_(pixel_scale(config)) {
  if (config.queue.random_init) queue_.fill_random(config.seed);
  place();
}

/// Takes the state to its device.
void Trainer::place() {
  const at::Device device = config_.placement.device;
  if (!device.is_cpu()) {
    model_.parameters().move(device, at::kFloat);
    momentum_.parameters().move(device, at::kFloat);
    queue_.move(device);
    optimizer_.move(device);
  }
  gradients_ = std::make_unique<GradientBuckets>(model_.parameters(), group_, config_.bucket_bytes,
                                                 config_.sharded_optimizer);
  if (!device.is_cpu() || config_.fixed_shapes)
    device_step_ = std::make_unique<DeviceStep>(
        config_,
        StepState{model_, momentum_, queue_, optimizer_, tokenizer_.get(), group_, *gradients_});
}

StepMetrics Trainer::begin_metrics() const {
  StepMetrics metrics;
  metrics.step = step_ + 1;
  metrics.lr = learning_rate(config_.optimizer, metrics.step);
  metrics.momentum = config_.ema_m;
  return metrics;
}

StepMetrics Trainer::step(const Batch& batch, const Batch* next) {
  refuse_stopped();
  check_batch(config_, batch);
  if (device_step_) return step_on_device(batch, next);
  const io::BlockWatch memory;
  StepMetrics metrics = begin_metrics();
  follow_online(metrics.seconds);
  const Keys own = [&] {
    const Stopwatch watch(metrics.seconds.momentum);
    return key_pass(momentum_.towers(), pixels_, batch, micro_batch_size(batch.ids_BL.size(0)));
  }();
  const StepKeys keys = [&] {
    const Stopwatch watch(metrics.seconds.exchange);
    return exchange_keys(group_, own, batch);
  }();
  metrics.pairs = keys.all.score_B.size(0);
  const loss::FilterDecision decision = filter(keys.all, metrics);
  const Outcome outcome = learn(batch, own, keys, decision.weights_B, metrics);
  ops::check_cancelled();
  const ops::CancelScope whole(nullptr);  // from here on the step happens entirely
  commit(keys, outcome, metrics);
  metrics.activation_bytes = memory.most();
  return metrics;
}

/// The same on a device, where the momentum encoder has followed when the step is over.
StepMetrics Trainer::step_on_device(const Batch& batch, const Batch* next) {
  StepMetrics metrics = begin_metrics();
  detach_capture();
  follow_online(metrics.seconds);  // after a checkpoint of a CPU
  if (next != nullptr) check_batch(config_, *next);
  const StepReport report = device_step_->run(batch, metrics.step, next);
  metrics.pairs = batch.ids_BL.size(0) * group_.world();
  metrics.non_finite_keys = metrics.pairs - report.finite_keys;
  metrics.filter_mean = report.filter_mean;
  metrics.filter_std = report.filter_std;
  metrics.filter_threshold = report.filter_threshold;
  metrics.filter_active = report.filter_active;
  metrics.filter_kept = report.kept;
  metrics.scores = report.scores;
  metrics.kept.assign(report.weights.begin(), report.weights.end());
  Outcome outcome = report.finite ? Outcome::kUpdate : Outcome::kNonFinite;
  if (!report.any_kept)
    outcome = report.finite_keys == 0 ? Outcome::kNonFinite : Outcome::kNothingKept;
  if (report.any_kept) {
    metrics.loss = report.losses[kTotal];
    metrics.loss_image_to_text = report.losses[kImageToText];
    metrics.loss_text_to_image = report.losses[kTextToImage];
    metrics.loss_task = report.losses[kTask];
    metrics.loss_cmvm = report.losses[kCmvm];
    metrics.loss_cmlm = report.losses[kCmlm];
    metrics.grad_norm = report.grad_norm;
  }
  metrics.device_bytes = device::peak_bytes(config_.placement.device);
  metrics.queue_valid = report.queue_valid;
  metrics.temperature = std::exp(-report.log_scale);
  conclude(outcome, report.queue_filled, metrics);
  return metrics;
}

/// EMA. `ema_pending_` makes it happen once per change of the weights, also when a step is
/// cancelled and repeated.
void Trainer::follow_online(StageSeconds& seconds) {
  if (!ema_pending_) return;
  const Stopwatch watch(seconds.momentum);
  const ops::CancelScope whole(nullptr);
  detach_capture();
  momentum_.update(model_, config_.ema_m);
  ema_pending_ = false;
}

/// AMF, on the statistics of the queue before this step's push.
loss::FilterDecision Trainer::filter(const Keys& keys, StepMetrics& metrics) const {
  const loss::FilterDecision decision =
      loss::adaptive_filter(keys.score_B, queue_.valid_scores(), filter_options(config_.filter));
  const double* const stats = decision.stats_3.const_data_ptr<double>();
  metrics.filter_mean = stats[0], metrics.filter_std = stats[1];
  metrics.filter_threshold = stats[2];
  metrics.filter_active = decision.active;
  metrics.filter_kept = decision.weights_B.sum().item<int64_t>();
  metrics.non_finite_keys = metrics.pairs - keys.finite_B.sum().item<int64_t>();
  metrics.scores.assign(keys.score_B.const_data_ptr<float>(),
                        keys.score_B.const_data_ptr<float>() + metrics.pairs);
  const Tensor kept = decision.weights_B.to(at::kByte);
  metrics.kept.assign(kept.const_data_ptr<uint8_t>(),
                      kept.const_data_ptr<uint8_t>() + metrics.pairs);
  return decision;
}

int64_t Trainer::micro_batch_size(int64_t pairs) const {
  return (pairs + config_.accumulate - 1) / config_.accumulate;
}

/// Online passes, losses and backward of every micro-batch: fills the gradients, changes nothing
/// else. Every decision that leaves it early rests on what all ranks know.
Trainer::Outcome Trainer::learn(const Batch& batch, const Keys& own, const StepKeys& keys,
                                const Tensor& weights_G, StepMetrics& metrics) {
  if (metrics.non_finite_keys == metrics.pairs) return Outcome::kNonFinite;
  const Tensor row_G =
      config_.filter.apply_to == FilterScope::kAll ? weights_G.gt(0) : keys.all.finite_B;
  if (!row_G.any().item<bool>()) return Outcome::kNothingKept;
  const auto own_of = [&](const Tensor& t_G) {
    return keys.own_B.defined() ? t_G.index_select(0, keys.own_B) : t_G;
  };
  const Tensor rows = own_of(row_G).nonzero().squeeze(1);  // what the filter drops costs nothing

  const Draws draws = draw(config_, batch, metrics.step);
  StepContext context = make_context(batch, own, draws, own_of(weights_G), rows, metrics.step);
  context.pairs = std::max(1.0, weights_G.sum().item<double>());
  const Tensor masked_2 = at::stack({context.masked_patches, context.masked_words}).to(at::kDouble);
  group_.all_reduce(masked_2);
  context.masked_patches = masked_2[0].to(at::kFloat);
  context.masked_words = masked_2[1].to(at::kFloat);

  if (!exchange_losses(run_micro_batches(context, rows, metrics), metrics))
    return Outcome::kNonFinite;
  const Stopwatch watch(metrics.seconds.optimizer);
  metrics.grad_norm = grad_norm();
  return std::isfinite(metrics.grad_norm) ? Outcome::kUpdate : Outcome::kNonFinite;
}

/// Whether all was finite on this rank. The gradients are the sums over all ranks after it.
bool Trainer::run_micro_batches(const StepContext& context, const Tensor& rows,
                                StepMetrics& metrics) {
  model_.parameters().zero_grad();
  const int64_t size = micro_batch_size(rows.numel());
  bool finite = true;
  for (int64_t first = 0; first < rows.numel() && finite; first += size) {
    ops::check_cancelled();
    const bool last = first + size >= rows.numel();
    const Tensor rows_b = rows.narrow(0, first, std::min(size, rows.numel() - first));
    OnlinePass pass(context, micro_batch(context.batch, context.draws, rows_b), metrics.seconds);
    add_losses(pass.losses(), metrics);
    finite = pass.losses().finite.item<bool>();
    if (finite) pass.backward(last ? gradients_.get() : nullptr, metrics.seconds);
  }
  const Stopwatch watch(metrics.seconds.exchange);
  gradients_->finish();
  return finite;
}

/// Sums the losses of all ranks, each of which is divided by the whole batch's counts already;
/// whether they were finite on every one.
bool Trainer::exchange_losses(bool finite, StepMetrics& metrics) const {
  if (group_.world() == 1) return finite;
  const Stopwatch watch(metrics.seconds.exchange);
  double* const sums[] = {
      &metrics.loss,      &metrics.loss_image_to_text, &metrics.loss_text_to_image,
      &metrics.loss_task, &metrics.loss_cmvm,          &metrics.loss_cmlm};
  std::vector<double> values = {finite ? 0.0 : 1.0};
  for (const double* const sum : sums) values.push_back(*sum);
  const Tensor all = at::tensor(values, at::kDouble);
  group_.all_reduce(all);
  const double* value = all.const_data_ptr<double>();
  finite = *value == 0;
  for (double* const sum : sums) *sum = *++value;
  return finite;
}

double Trainer::grad_norm() const {
  if (!config_.sharded_optimizer) return optimizer_.grad_norm();
  const Tensor square = at::scalar_tensor(optimizer_.grad_square(), at::kDouble);
  group_.all_reduce(square);
  return std::sqrt(square.item<double>());
}

/// Of this rank's pairs: W and |M| are still to be made those of all ranks.
StepContext Trainer::make_context(const Batch& batch, const Keys& own, const Draws& draws,
                                  const Tensor& weights_B, const Tensor& rows, int64_t step) const {
  StepContext c{config_,
                model_,
                tokenizer_.get(),
                batch,
                own,
                draws,
                pixels_,
                weights_B,
                queue_.image(),
                queue_.text(),
                queue_.id(),
                -1,
                std::max(1.0, weights_B.sum().item<double>()),
                count(draws.image_mask_NP, frame_rows(batch.frames_B, rows)),
                count(draws.text_mask_BL, rows),
                task_weight(config_.loss, step)};
  if (!config_.queue.include_batch_keys) return c;
  // Own keys first, row r of the micro-batch at column n + r; then those of the rows that were
  // filtered out.
  Tensor others_B = own.finite_B.clone();
  others_B.index_fill_(0, rows, false);
  const Tensor order = at::cat({rows, others_B.nonzero().squeeze(1)});
  c.batch_key_column = c.image_queue_nD.size(0);
  c.image_queue_nD = at::cat({c.image_queue_nD, own.image_BD.index_select(0, order)});
  c.text_queue_nD = at::cat({c.text_queue_nD, own.text_BD.index_select(0, order)});
  c.queue_id_n = at::cat({c.queue_id_n, batch.image_id_B.index_select(0, order)});
  return c;
}

/// AdamW where there is something to learn from, and the push of all finite keys.
void Trainer::commit(const StepKeys& keys, Outcome outcome, StepMetrics& metrics) {
  {
    const Stopwatch watch(metrics.seconds.optimizer);
    detach_capture();
    if (outcome == Outcome::kUpdate) {
      optimizer_.step(metrics.lr, metrics.grad_norm);
      if (config_.sharded_optimizer) group_.share_parts(model_.parameters().flat().detach());
      clamp_temperature(config_.loss, model_);
      ema_pending_ = true;
    }
    queue_.push(keys.all.image_BD, keys.all.text_BD, keys.image_id_G, keys.all.finite_B);
  }
  metrics.queue_valid = queue_.valid();
  metrics.temperature = std::exp(-model_.log_scale().item<double>());
  conclude(outcome, queue_.filled(), metrics);
}

/// The run's counters after a step. `queued`: entries of the queue after its push.
void Trainer::conclude(Outcome outcome, int64_t queued, StepMetrics& metrics) {
  step_ = metrics.step;
  non_finite_in_row_ = outcome == Outcome::kNonFinite ? non_finite_in_row_ + 1 : 0;
  const bool judged =
      metrics.filter_active || (!config_.filter.enabled && queued == queue_.capacity());
  collapsed_steps_ = judged && metrics.filter_std < kCollapsedStd ? collapsed_steps_ + 1 : 0;

  metrics.skipped = outcome != Outcome::kUpdate;
  metrics.non_finite_in_row = non_finite_in_row_;
  metrics.collapsed_steps = collapsed_steps_;
  metrics.stop = stop_ = judge();
}

/// Whether the run learns nothing any more (SPEC 3.8).
Stop Trainer::judge() const {
  if (non_finite_in_row_ >= config_.max_non_finite) return Stop::kNonFinite;
  return collapsed_steps_ > kMaxCollapsedSteps ? Stop::kCollapsed : Stop::kNone;
}

void Trainer::refuse_stopped() const {
  if (stop_ == Stop::kNonFinite)
    throw Failure("ERR_COTS_NON_FINITE",
                  "Expected finite features, losses and gradients, got NaN or infinity in " +
                      std::to_string(non_finite_in_row_) + " steps in a row (guard.maxNonFinite " +
                      std::to_string(config_.max_non_finite) +
                      "). Go back to an earlier checkpoint, or lower optim.lr or raise loss.tau.");
  if (stop_ == Stop::kCollapsed)
    throw Failure(
        "ERR_COTS_COLLAPSED",
        "Expected the scores of the queue to spread, got a standard deviation below 1e-6 for " +
            std::to_string(collapsed_steps_) +
            " steps: the towers have collapsed. Lower optim.lr, or check that the images and "
            "captions vary.");
}

void Trainer::prefill(const Batch& batch) {
  check_batch(config_, batch);
  const int64_t pairs = batch.ids_BL.size(0);
  const Batch placed = on_device(batch, config_.placement.device);
  const Keys own = key_pass(momentum_.towers(), pixels_, placed, micro_batch_size(pairs));
  const StepKeys keys =
      device_step_ ? exchange_equal_keys(group_, own, placed) : exchange_keys(group_, own, placed);
  detach_capture();
  queue_.push(keys.all.image_BD, keys.all.text_BD, keys.image_id_G, keys.all.finite_B);
}

}  // namespace cots
