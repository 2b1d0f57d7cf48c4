// Where an image answers a text: maps over its patches (SPEC 9). Two towers have no attention from
// one to the other, so a map comes from their score. Legend: P patches, D embedding.
#pragma once

#include <functional>
#include <string>

#include "model/cots.h"

namespace cots {

enum class MapMethod {
  /// Chefer et al. 2021: attention times the score's gradient by it, over the heads and layers from
  /// `start_layer` on.
  kRelevancy,
  /// The projection of each patch's last state times the text's embedding. The projection is
  /// trained on the pooled state alone: a heuristic.
  kPatchSimilarity,
  /// Attention of the class token in the last layer, the mean of its heads, whatever the text says;
  /// of all patches where the tower pools by their mean.
  kLastAttention
};

struct MapOptions {
  MapMethod method = MapMethod::kRelevancy;
  int64_t start_layer = -1;  // counted from 0; -1 is the last one. Of kRelevancy.
};

struct AttentionMap {
  Tensor map_P;      // f32 in [0, 1], row by row; all 0 where nothing stands out
  double score = 0;  // of image and text
};

/// An image tower in float32 on the CPU that shows its attention.
class AttentionMapper {
 public:
  /// `weight`: a parameter by its name, float32.
  AttentionMapper(const ModelConfig& config,
                  const std::function<Tensor(const std::string&)>& weight);
  /// pixels_1CHW normalized; text_D a unit row.
  AttentionMap map(const Tensor& pixels_1CHW, const Tensor& text_D,
                   const MapOptions& options) const;

 private:
  ModelConfig config_;
  Parameters parameters_;
  Towers towers_;
};

}  // namespace cots
