// Embeds batches with the towers of a model: evaluation mode, float32, rows independent of their
// batch.
#pragma once

#include <memory>
#include <optional>

#include "model/cots.h"

namespace cots {

class Embedder {
 public:
  /// Without a seed the weights are zero, to be copied.
  Embedder(const ModelConfig& config, std::optional<int64_t> seed);
  /// With the weights of model.safetensors. Throws with the tensor's name, found and wanted shape,
  /// or what is missing, not finite or not of this model, before it takes memory for the network.
  static std::unique_ptr<Embedder> load(const ModelConfig& config, const std::string& file);

  void save(const std::string& file) const;

  /// Both throw ERR_COTS_OPTION where the model has no such tower.
  /// images_BSS3 uint8 RGB at the model's size; mean and std per channel of pixels in [0, 1].
  /// Returns f32 [B, D], unit rows.
  Tensor embed_images(const Tensor& images_BSS3, const double (&mean)[3],
                      const double (&std)[3]) const;
  /// Texts of mixed length: sorted by length into runs with little padding internally, order kept.
  /// ids_BL int64, lengths_B int64.
  Tensor embed_texts(const Tensor& ids_BL, const Tensor& lengths_B) const;

  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  const ModelConfig& config() const { return config_; }
  /// Columns of what embed_images() or embed_texts() returns.
  int64_t embedding_width(bool image) const;

 private:
  struct Unfilled {};  // towers whose parameters have no memory yet
  Embedder(const ModelConfig& config, std::optional<int64_t> seed, Unfilled);

  ModelConfig config_;
  Parameters parameters_;
  Towers towers_;
};

}  // namespace cots
