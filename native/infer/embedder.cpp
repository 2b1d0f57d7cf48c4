#include "infer/embedder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>

#include "io/failure.h"
#include "io/pixels.h"
#include "io/safetensors.h"
#include "model/weights.h"
#include "ops/cancel.h"

namespace cots {
namespace {

// Tokens that pass the towers at once: enough to fill the kernels, little enough to bound memory at
// any batch size.
constexpr int64_t kTokensAtOnce = 4096;
// Texts may share a run when the longest is at most this share longer than the shortest: padding is
// wasted work.
constexpr double kPadding = 0.125;

int64_t rows_at_once(int64_t tokens_a_row) {
  return std::max<int64_t>(1, kTokensAtOnce / tokens_a_row);
}

const std::string kLogitScale = "loss.logit_scale";

/// A tensor that the network has no place for is of another network.
void refuse_others(const Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                   const std::string& file) {
  for (const auto& [name, tensor] : tensors)
    if (parameters.find(name) == nullptr)
      throw Failure("ERR_COTS_CHECKPOINT",
                    "Expected " + file + " to hold the weights of its config, got the tensor '" +
                        name +
                        "', which such a model does not have. Restore the config.json that "
                        "belongs to it.");
}

void require_tower(bool has, const char* name, const char* other) {
  if (!has)
    throw Failure("ERR_COTS_OPTION", std::string("Expected a model with ") + name +
                                         ", got one of " + other +
                                         " alone. Import both towers, or use another model.");
}

/// Row indices in order of length, cut where a run would grow too large or too ragged.
std::vector<std::vector<int64_t>> runs_by_length(const Tensor& lengths_B) {
  const int64_t* length = lengths_B.const_data_ptr<int64_t>();
  std::vector<int64_t> order(lengths_B.numel());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return length[a] < length[b]; });
  std::vector<std::vector<int64_t>> runs;
  for (const int64_t row : order) {
    const bool fits = !runs.empty() &&
                      length[row] <= length[runs.back().front()] * (1 + kPadding) &&
                      static_cast<int64_t>(runs.back().size()) < rows_at_once(length[row]);
    if (!fits) runs.emplace_back();
    runs.back().push_back(row);
  }
  return runs;
}

}  // namespace

Embedder::Embedder(const ModelConfig& config, std::optional<int64_t> seed, Unfilled)
    : config_(config),
      parameters_(seed),
      towers_(config, Scope(parameters_, "visual"), Scope(parameters_, "text")) {}

Embedder::Embedder(const ModelConfig& config, std::optional<int64_t> seed)
    : Embedder(config, seed, Unfilled()) {
  parameters_.flatten(/*requires_grad=*/false);
}

std::unique_ptr<Embedder> Embedder::load(const ModelConfig& config, const std::string& file) {
  const std::map<std::string, Tensor> tensors = io::read_safetensors(file);
  std::unique_ptr<Embedder> embedder(new Embedder(config, std::nullopt, Unfilled()));
  // Embedding does not read it, but what was loaded can be saved again.
  if (tensors.contains(kLogitScale))
    embedder->parameters_.add(kLogitScale, {}, Init::zeros(), /*decay=*/false);
  refuse_others(embedder->parameters_, tensors, file);
  // Imported towers have no mask token: only training reads it.
  fill_weights(embedder->parameters_, /*requires_grad=*/false, tensors, file,
               [&](const std::string& name) {
                 return name == "visual.mask_token" && !tensors.contains(name) ? "" : name;
               });
  return embedder;
}

void Embedder::save(const std::string& file) const {
  io::NamedTensors tensors;
  for (const Parameter& parameter : parameters_.all())
    tensors.emplace_back(parameter.name, parameter.value);
  io::write_safetensors(file, tensors, {{"format", "pt"}});
}

Tensor Embedder::embed_images(const Tensor& images_BSS3, const double (&mean)[3],
                              const double (&std)[3]) const {
  require_tower(config_.has_image(), "an image tower", "texts");
  const c10::InferenceMode inference;
  const int64_t rows = images_BSS3.size(0), step = rows_at_once(1 + config_.image.patches());
  std::vector<Tensor> parts;
  for (int64_t first = 0; first < rows; first += step) {
    ops::check_cancelled();
    const Tensor pixels =
        io::normalize(images_BSS3.narrow(0, first, std::min(step, rows - first)), mean, std);
    parts.push_back(towers_.encode_image(pixels, {}, {}, Need::kGlobal).embedding_BD);
  }
  return parts.empty() ? at::empty({0, embedding_width(/*image=*/true)}) : at::cat(parts);
}

Tensor Embedder::embed_texts(const Tensor& ids_BL, const Tensor& lengths_B) const {
  require_tower(config_.has_text(), "a text tower", "images");
  const c10::InferenceMode inference;
  Tensor result_BD = at::empty({ids_BL.size(0), embedding_width(/*image=*/false)});
  for (std::vector<int64_t>& run : runs_by_length(lengths_B)) {
    ops::check_cancelled();
    const Tensor rows = at::tensor(run, at::kLong);
    const Tensor lengths = lengths_B.index_select(0, rows);
    const Tensor ids = ids_BL.index_select(0, rows).narrow(1, 0, lengths.max().item<int64_t>());
    result_BD.index_copy_(
        0, rows, towers_.encode_text(ids.contiguous(), lengths, {}, Need::kGlobal).embedding_BD);
  }
  return result_BD;
}

int64_t Embedder::embedding_width(bool image) const {
  return config_.has_projection() ? config_.embed_dim
         : image                  ? config_.image.width
                                  : config_.text.width;
}

}  // namespace cots
