#include "infer/embedder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "infer/file_weights.h"
#include "io/failure.h"
#include "io/pixels.h"
#include "model/cots.h"

namespace cots {
namespace {

// Tokens that pass a tower at once: enough to fill the kernels, little enough to bound memory at
// any batch size.
constexpr int64_t kTokensAtOnce = 4608;

void require_tower(bool has, const char* name, const char* other) {
  if (!has)
    throw Failure("ERR_COTS_OPTION", std::string("Expected a model with ") + name +
                                         ", got one of " + other +
                                         " alone. Import both towers, or use another model.");
}

}  // namespace

Embedder::Embedder(const ModelConfig& config, std::unique_ptr<WeightSource> weights,
                   Precision precision)
    : config_(config), precision_(precision), weights_(std::move(weights)) {}

Embedder::Embedder(const ModelConfig& config, std::optional<int64_t> seed, Precision precision)
    : config_(config), precision_(precision), parameters_(std::make_unique<Parameters>(seed)) {
  const Towers towers(config, Scope(*parameters_, "visual"), Scope(*parameters_, "text"));
  parameters_->flatten(/*requires_grad=*/false);
  weights_ = std::make_unique<ParameterWeights>(*parameters_);
}

std::unique_ptr<Embedder> Embedder::load(const ModelConfig& config, const std::string& file,
                                         Precision precision) {
  return std::unique_ptr<Embedder>(
      new Embedder(config, std::make_unique<FileWeights>(config, file), precision));
}

void Embedder::save(const std::string& file) const { weights_->save(file); }

Tensor Embedder::embed_images(const Tensor& images_BSS3, const double (&mean)[3],
                              const double (&std)[3]) {
  require_tower(config_.has_image(), "an image tower", "texts");
  if (!placement_.device.is_cpu()) return device_plan().embed_images(images_BSS3, mean, std);
  const c10::InferenceMode inference;
  if (!image_plan_) image_plan_ = std::make_unique<ImagePlan>(config_, *weights_, precision_);
  const int64_t B = images_BSS3.size(0), D = embedding_width(/*image=*/true),
                step = std::max<int64_t>(1, kTokensAtOnce / (1 + config_.image.patches()));
  Tensor result_BD = at::empty({B, D}, at::kFloat);
  float* out = result_BD.mutable_data_ptr<float>();
  for (int64_t first = 0; first < B; first += step)
    image_plan_->run(images_BSS3.narrow(0, first, std::min(step, B - first)).contiguous(), mean,
                     std, out + first * D);
  return result_BD;
}

Tensor Embedder::embed_texts(const Tensor& ids_BL, const Tensor& lengths_B) {
  require_tower(config_.has_text(), "a text tower", "images");
  if (!placement_.device.is_cpu()) return device_plan().embed_texts(ids_BL, lengths_B);
  const c10::InferenceMode inference;
  if (!text_plan_) text_plan_ = std::make_unique<TextPlan>(config_, *weights_, precision_);
  const Tensor ids = ids_BL.contiguous(), lengths = lengths_B.contiguous();
  const int64_t B = ids.size(0), L = ids.size(1), D = embedding_width(/*image=*/false);
  const int64_t *id = ids.const_data_ptr<int64_t>(), *length = lengths.const_data_ptr<int64_t>();
  Tensor result_BD = at::empty({B, D}, at::kFloat);
  float* out = result_BD.mutable_data_ptr<float>();
  for (int64_t first = 0, next = 0; first < B; first = next) {
    int64_t tokens = length[next++];
    while (next < B && tokens + length[next] <= kTokensAtOnce) tokens += length[next++];
    text_plan_->run(id + first * L, L, length + first, next - first, out + first * D);
  }
  return result_BD;
}

void Embedder::set_weights(const Tensor& flat) {
  TORCH_INTERNAL_ASSERT(parameters_ != nullptr, "weights are set of an embedder of a file");
  parameters_->flat().copy_(flat.narrow(0, 0, parameters_->count()));
  image_plan_.reset();
  text_plan_.reset();
  device_plan_.reset();
  mapper_.reset();
}

void Embedder::place(const Placement& placement) {
  placement_ = placement;
  device_plan_.reset();
}

AttentionMap Embedder::attention_map(const Tensor& image_1SS3, const double (&mean)[3],
                                     const double (&std)[3], const Tensor& text_D,
                                     const MapOptions& options) {
  require_tower(config_.has_image(), "an image tower", "texts");
  if (!mapper_)
    mapper_ = std::make_unique<AttentionMapper>(
        config_, [this](const std::string& name) { return weight_or_none(name); });
  return mapper_->map(io::normalize(image_1SS3, mean, std), text_D, options);
}

Tensor Embedder::weight_or_none(const std::string& name) const {
  return weights_->has(name) ? weights_->weight(name) : Tensor();
}

DevicePlan& Embedder::device_plan() {
  if (!device_plan_)
    device_plan_ = std::make_unique<DevicePlan>(
        config_, [this](const std::string& name) { return weight_or_none(name); }, placement_);
  return *device_plan_;
}

int64_t Embedder::embedding_width(bool image) const {
  return config_.has_projection() ? config_.embed_dim
         : image                  ? config_.image.width
                                  : config_.text.width;
}

}  // namespace cots
