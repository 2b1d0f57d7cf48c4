// Embeds batches with the towers of a model: evaluation mode, float32, rows independent of their batch.
#pragma once

#include <memory>

#include "model/cots.h"

namespace cots {

class Embedder {
 public:
  Embedder(const ModelConfig& config, int64_t seed);

  /// Loads model.safetensors; throws with the tensor's name, found and wanted shape, or what is missing.
  void load(const std::string& file);
  void save(const std::string& file) const;

  /// images_BSS3 uint8 RGB at the model's size; mean and std per channel of pixels in [0, 1]. Returns f32 [B, D], unit rows.
  Tensor embed_images(const Tensor& images_BSS3, const double (&mean)[3], const double (&std)[3]) const;
  /// Texts of mixed length: sorted into runs of equal length internally, order kept. ids_BL int64, lengths_B int64.
  Tensor embed_texts(const Tensor& ids_BL, const Tensor& lengths_B) const;

  Parameters& parameters() { return parameters_; }
  const ModelConfig& config() const { return config_; }

 private:
  ModelConfig config_;
  Parameters parameters_;
  Towers towers_;
};

}  // namespace cots
