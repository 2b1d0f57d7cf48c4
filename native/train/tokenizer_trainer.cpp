// The discrete VAE's training (SPEC 4.5): Gumbel-softmax codes, reconstruction + beta * KL(q(z|x)
// || uniform). Legend: B images, V codes, h w grid, C channels, H W pixels. Codes are kept [B, h,
// w, V] in memory, where softmax is fast.
#include "train/tokenizer_trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numbers>

#include "io/pixels.h"
#include "io/safetensors.h"
#include "ops/cancel.h"
#include "ops/keyed_random.h"
#include "train/schedule.h"

namespace cots {
namespace {

constexpr int64_t kGumbelSite = 0;
constexpr double kSmallestDraw = 1e-20;  // u in (1e-20, 1)
constexpr int64_t kDecayEvery = 100;     // steps between two decays of recipe `small`

/// Temperature of the relaxation: exponential decay with a rate, else a cosine from start to min
/// over all steps.
double temperature(const TokenizerTrainConfig& c, int64_t step) {
  if (c.temperature_rate > 0)
    return std::max(c.temperature_min, c.temperature_start * std::exp(-c.temperature_rate *
                                                                      static_cast<double>(step)));
  const double total = static_cast<double>(std::max<int64_t>(1, c.optimizer.total_steps));
  const double progress = std::min(1.0, static_cast<double>(step) / total);
  return c.temperature_min + 0.5 * (c.temperature_start - c.temperature_min) *
                                 (1 + std::cos(std::numbers::pi * progress));
}

double rate(const TokenizerTrainConfig& c, int64_t step) {
  if (c.lr_decay >= 1) return learning_rate(c.optimizer, step);
  return c.optimizer.lr * std::pow(c.lr_decay, static_cast<double>((step - 1) / kDecayEvery));
}

double kl_weight(const TokenizerTrainConfig& c, int64_t step) {
  if (c.kl_warmup_steps <= 0) return c.kl_weight;
  return c.kl_weight *
         std::min(1.0, static_cast<double>(step - 1) / static_cast<double>(c.kl_warmup_steps));
}

/// -ln(-ln u), one independent draw an element, keyed by image.
Tensor gumbel_noise(const Tensor& keys_B, at::IntArrayRef shape) {
  const Tensor u =
      ops::keyed_uniform(keys_B, kGumbelSite, shape[1] * shape[2] * shape[3]).view(shape);
  return u.clamp_min(kSmallestDraw).log_().neg_().log_().neg_();
}

/// Negative log-likelihood of a logit-Laplace, its constants included: ln 2b + ln x(1 - x) + |logit
/// x - mu| / b.
Tensor logit_laplace(const Tensor& decoded_B6HW, const Tensor& mapped_B3HW) {
  const Tensor mu = decoded_B6HW.narrow(1, 0, 3), log_b = decoded_B6HW.narrow(1, 3, 3);
  const Tensor jacobian = (mapped_B3HW * (1 - mapped_B3HW)).log();
  return (std::numbers::ln2 + log_b + jacobian +
          (at::logit(mapped_B3HW) - mu).abs() * (-log_b).exp())
      .mean();
}

Tensor reconstruction_loss(Reconstruction kind, const Tensor& decoded, const Tensor& mapped_BCHW) {
  switch (kind) {
    case Reconstruction::kLogitLaplace:
      return logit_laplace(decoded, mapped_BCHW);
    case Reconstruction::kMse:
      return at::mse_loss(decoded, mapped_BCHW);
    case Reconstruction::kSmoothL1:
      return at::smooth_l1_loss(decoded, mapped_BCHW);
  }
  TORCH_INTERNAL_ASSERT(false, "unknown reconstruction loss");
}

double entropy(const Tensor& probability_V) {
  return -at::special_xlogy(probability_V, probability_V).sum().item<double>();
}

/// Health of the codebook in this batch.
void measure_codes(const Tensor& q_BhwV, TokenizerMetrics& metrics) {
  const at::NoGradGuard no_grad;
  const int64_t V = q_BhwV.size(3);
  const Tensor mean_V = q_BhwV.detach().flatten(0, 2).mean(0).to(at::kDouble);
  const Tensor counts_V = at::bincount(q_BhwV.detach().argmax(3).flatten(), {}, V).to(at::kDouble);
  metrics.perplexity = std::exp(entropy(mean_V));
  metrics.dead_codes = counts_V.eq(0).to(at::kDouble).mean().item<double>();
  metrics.unigram_entropy = entropy(counts_V / counts_V.sum());
}

}  // namespace

TokenizerTrainer::TokenizerTrainer(const TokenizerTrainConfig& config)
    : config_(config),
      tokenizer_(config.tokenizer, config.seed, /*with_decoder=*/true),
      optimizer_(tokenizer_.parameters(), config.optimizer,
                 std::vector<double>(tokenizer_.parameters().all().size(), 1.0)) {
  const bool openai = config.tokenizer.arch == TokenizerArch::kOpenAi;
  TORCH_CHECK(openai == (config.reconstruction == Reconstruction::kLogitLaplace),
              "Expected reconstruction logit_laplace with the openai tokenizer, whose decoder "
              "gives a mean and a scale, and mse or "
              "smooth_l1 with the small one.");
}

TokenizerMetrics TokenizerTrainer::step(const Tensor& images_BHW3, const Tensor& sample_B) {
  TokenizerMetrics metrics;
  metrics.step = step_ + 1;
  metrics.temperature = temperature(config_, step_);
  metrics.lr = rate(config_, metrics.step);
  const Tensor pixels_BCHW = io::to_unit_range(images_BHW3);
  tokenizer_.parameters().zero_grad();

  const Tensor logits_BhwV = tokenizer_.logits(pixels_BCHW).permute({0, 2, 3, 1});
  ops::check_cancelled();
  const Tensor noise =
      gumbel_noise(ops::sample_keys(config_.seed, metrics.step, sample_B), logits_BhwV.sizes());
  const Tensor codes_BhwV = ((logits_BhwV + noise) / metrics.temperature).softmax(3);
  const Tensor decoded = tokenizer_.decode(codes_BhwV.permute({0, 3, 1, 2}));
  ops::check_cancelled();

  const Tensor log_q = logits_BhwV.log_softmax(3), q = log_q.exp();
  const Tensor kl =
      std::log(static_cast<double>(config_.tokenizer.vocab)) + (q * log_q).sum(3).mean();
  const Tensor reconstruction =
      reconstruction_loss(config_.reconstruction, decoded, tokenizer_.map_pixels(pixels_BCHW));
  const Tensor loss = reconstruction + kl_weight(config_, metrics.step) * kl;
  loss.backward();
  ops::check_cancelled();

  metrics.loss = loss.item<double>();
  metrics.reconstruction = reconstruction.item<double>();
  metrics.kl = kl.item<double>();
  metrics.grad_norm = optimizer_.grad_norm();
  measure_codes(q, metrics);
  metrics.skipped = !std::isfinite(metrics.loss) || !std::isfinite(metrics.grad_norm);
  if (!metrics.skipped) optimizer_.step(metrics.lr, metrics.grad_norm);
  step_ = metrics.step;
  return metrics;
}

std::pair<double, double> TokenizerTrainer::evaluate(const Tensor& images_BHW3) {
  const at::NoGradGuard no_grad;
  const Tensor pixels_BCHW = io::to_unit_range(images_BHW3);
  const Tensor soft_BhwV = tokenizer_.logits(pixels_BCHW).permute({0, 2, 3, 1}).softmax(3);
  const Tensor hard_BhwV = at::one_hot(soft_BhwV.argmax(3), config_.tokenizer.vocab).to(at::kFloat);
  const auto error = [&](const Tensor& codes_BhwV) {
    const Tensor back_BCHW =
        tokenizer_.reconstruct(tokenizer_.decode(codes_BhwV.permute({0, 3, 1, 2})));
    return (back_BCHW - pixels_BCHW).abs().mean().item<double>();
  };
  return {error(hard_BhwV), error(soft_BhwV)};
}

void TokenizerTrainer::save(const std::string& file) const {
  io::NamedTensors tensors;
  for (const Parameter& p : tokenizer_.parameters().all()) tensors.emplace_back(p.name, p.value);
  io::write_safetensors(file, tensors, {{"format", "pt"}});
}

}  // namespace cots
