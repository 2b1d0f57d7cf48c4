// Embeds batches with the towers of a model by their execution plans, in evaluation mode: on the
// CPU, where a row's bits do not depend on its batch, or on an accelerator.
#pragma once

#include <memory>
#include <optional>

#include "infer/attention_map.h"
#include "infer/device_plan.h"
#include "infer/image_plan.h"
#include "infer/text_plan.h"
#include "infer/weight_source.h"

namespace cots {

class Embedder {
 public:
  /// With parameters in memory. Without a seed they are zero, to be copied.
  Embedder(const ModelConfig& config, std::optional<int64_t> seed,
           Precision precision = Precision::kFloat32);
  /// With the weights of model.safetensors, which stays open: a tower's weights are read when it is
  /// first used. Throws as FileWeights does.
  static std::unique_ptr<Embedder> load(const ModelConfig& config, const std::string& file,
                                        Precision precision = Precision::kFloat32);

  void save(const std::string& file) const;

  /// Where the towers run; on the CPU at first. Its plan is made at the next call.
  void place(const Placement& placement);

  /// Both throw ERR_COTS_OPTION where the model has no such tower; the first call of each packs the
  /// tower's weights. One call at a time.
  /// images_BSS3 uint8 RGB at the model's size; mean and std per channel of pixels in [0, 1].
  /// Returns f32 [B, D], unit rows.
  Tensor embed_images(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3]);
  /// Texts of mixed length; what lies beyond a length is not read. ids_BL int64, lengths_B int64.
  Tensor embed_texts(const Tensor& ids_BL, const Tensor& lengths_B);

  /// Where image_1SS3, normalized as above, answers a text, f32 [D]. On the CPU in float32,
  /// whatever the plans are; the first call copies the image tower's weights.
  AttentionMap attention_map(const Tensor& image_1SS3, const double (&mean)[3],
                             const double (&std)[3], const Tensor& text_D,
                             const MapOptions& options);

  /// Takes the first values of `flat`, a network's parameters that begin with these towers.
  void set_weights(const Tensor& flat);
  /// Of an embedder that was not loaded.
  const Parameters& parameters() const { return *parameters_; }
  const WeightSource& weights() const { return *weights_; }
  const ModelConfig& config() const { return config_; }
  /// Columns of what embed_images() or embed_texts() returns.
  int64_t embedding_width(bool image) const;

 private:
  DevicePlan& device_plan();
  Tensor weight_or_none(const std::string& name) const;
  Embedder(const ModelConfig& config, std::unique_ptr<WeightSource> weights, Precision precision);

  ModelConfig config_;
  Precision precision_;
  std::unique_ptr<Parameters> parameters_;  // null: the weights are in a file
  std::unique_ptr<WeightSource> weights_;
  std::unique_ptr<ImagePlan> image_plan_;  // made when they are first used
  std::unique_ptr<TextPlan> text_plan_;
  Placement placement_;
  std::unique_ptr<AttentionMapper> mapper_;
  std::unique_ptr<DevicePlan> device_plan_;  // in place of the two, on an accelerator
};

}  // namespace cots
