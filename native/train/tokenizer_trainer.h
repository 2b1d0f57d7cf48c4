// Trains the discrete VAE by the Gumbel-softmax relaxation (SPEC 4.5).
#pragma once

#include "model/image_tokenizer.h"
#include "train/optimizer.h"

namespace cots {

enum class Reconstruction { kLogitLaplace, kMse, kSmoothL1 };

struct TokenizerTrainConfig {
  TokenizerConfig tokenizer;
  Reconstruction reconstruction = Reconstruction::kMse;
  // max(min, start * e^{-rate * step}); with rate 0 a cosine from start to min over
  // optimizer.total_steps (dalle_paper)
  double temperature_start = 1, temperature_min = 0.5, temperature_rate = 0;
  double kl_weight = 1e-3;  // beta, on the mean KL a position
  int64_t kl_warmup_steps = 0;
  OptimizerConfig optimizer;
  double lr_decay = 1;  // below 1: factor of the rate every 100 steps (recipe `small`); else cosine
  int64_t seed = 0;
};

struct TokenizerMetrics {
  int64_t step = 0;
  double loss = 0, reconstruction = 0, kl = 0, temperature = 0, lr = 0, grad_norm = 0;
  bool skipped = false;        // no optimizer step: the loss or the gradient is not finite
  double perplexity = 0;       // e^{H(mean q)}
  double dead_codes = 0;       // share of codes that no position of this batch chose
  double unigram_entropy = 0;  // nats, entropy of the hard tokens: CMVM's chance level
};

class TokenizerTrainer {
 public:
  explicit TokenizerTrainer(const TokenizerTrainConfig& config);
  /// images_BHW3 uint8; sample_B int64 keys the Gumbel noise.
  TokenizerMetrics step(const Tensor& images_BHW3, const Tensor& sample_B);
  /// Hard-token and soft reconstruction error (mean absolute, pixels in [0, 1]).
  std::pair<double, double> evaluate(const Tensor& images_BHW3);
  void save(const std::string& file) const;  // dvae.safetensors, encoder and decoder
  ImageTokenizer& tokenizer() { return tokenizer_; }

 private:
  TokenizerTrainConfig config_;
  ImageTokenizer tokenizer_;
  Optimizer optimizer_;
  int64_t step_ = 0;
};

}  // namespace cots
