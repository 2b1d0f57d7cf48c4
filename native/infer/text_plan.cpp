#include "infer/text_plan.h"

#include <ATen/ATen.h>

#include "infer/kernels/tasks.h"
#include "infer/pooled_rows.h"

namespace cots {
namespace {

/// x = word + place, of one token.
template <class Number>
void add_token(const Number* word, const float* place, int64_t d, float* x) {
  for (int64_t k = 0; k < d; ++k) x[k] = static_cast<float>(word[k]) + place[k];
}

EncoderShape shape_of(const TextConfig& config) {
  return {
      .width = config.width,
      .layers = config.layers,
      .heads = config.heads,
      .feed_forward = static_cast<int64_t>(static_cast<double>(config.width) * config.mlp_ratio),
      .layer_norm_eps = config.layer_norm_eps,
      .order = config.norm,
      .activation = config.activation,
      .causal = config.causal};
}

/// The row of each text that its global state is read from; none where that is a mean.
std::vector<int64_t> pooled_rows(Pool pool, const std::vector<int64_t>& starts) {
  switch (pool) {
    case Pool::kCls:
      return {starts.begin(), starts.end() - 1};
    case Pool::kMean:
      return {};
    case Pool::kLast: {
      std::vector<int64_t> rows(starts.begin() + 1, starts.end());
      for (int64_t& row : rows) --row;
      return rows;
    }
  }
  TORCH_INTERNAL_ASSERT(false, "unknown pool");
}

}  // namespace

TextPlan::TextPlan(const ModelConfig& config, const WeightSource& weights, Precision precision)
    : config_(config),
      word_(weights.weight("text.embed.word.weight")
                .to(precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat)),
      place_Ld_(weights.weight("text.embed.pos.weight") +
                weights.weight("text.embed.type.weight").select(0, 0)),
      blocks_(weights, "text.blocks.", shape_of(config.text), precision) {
  if (config.has_projection()) proj_ = pack_linear(weights, "text.proj", precision);
  const bool post = config.text.norm == NormOrder::kPost;
  (post ? ln_ : norm_) =
      PlannedNorm(weights, post ? "text.embed.ln" : "text.norm", config.text.layer_norm_eps);
}

void TextPlan::run(const int64_t* ids_BL, int64_t L, const int64_t* lengths, int64_t B,
                   float* out) {
  const TextConfig& text = config_.text;
  const int64_t d = text.width;
  std::vector<int64_t> starts{0};
  for (int64_t b = 0; b < B; ++b) {
    TORCH_CHECK(lengths[b] >= 1 && lengths[b] <= text.max_positions, "Expected texts of 1 to ",
                text.max_positions, " tokens (max_positions), got ", lengths[b], ".");
    starts.push_back(starts.back() + lengths[b]);
  }
  const bool post = text.norm == NormOrder::kPost;
  float *x = reserve(x_, starts.back() * d), *pooled = reserve(pooled_, B * d);
  embed_tokens(ids_BL, L, starts, x);
  if (post) ln_.run({x, d}, starts.back(), x);

  const std::vector<int64_t> needed = pooled_rows(text.pool, starts);
  const float* states = blocks_.run(x, starts, needed);
  if (needed.empty()) {
    if (!post) norm_.run({states, d}, starts.back(), x);
    mean_rows(x, starts, /*skip=*/0, d, pooled);
    states = pooled;
  } else if (!post) {
    norm_.run({states, d}, B, pooled);
    states = pooled;
  }
  project_to_unit(proj_, states, B, d, out);
}

void TextPlan::embed_tokens(const int64_t* ids_BL, int64_t L, const std::vector<int64_t>& starts,
                            float* x) const {
  const int64_t d = config_.text.width;
  const bool halves = word_.scalar_type() == at::kBFloat16;
  const float* place = place_Ld_.const_data_ptr<float>();
  for (size_t b = 0; b + 1 < starts.size(); ++b)
    for (int64_t t = 0; t < starts[b + 1] - starts[b]; ++t, x += d) {
      const int64_t word = ids_BL[static_cast<int64_t>(b) * L + t] * d;
      if (halves)
        add_token(word_.const_data_ptr<at::BFloat16>() + word, place + t * d, d, x);
      else
        add_token(word_.const_data_ptr<float>() + word, place + t * d, d, x);
    }
}

}  // namespace cots
