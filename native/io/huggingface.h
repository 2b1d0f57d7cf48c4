// Import of Hugging Face weights: ViTModel and BertModel safetensors to this project's names
// (SPEC 6.1 to 6.3).
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace cots::io {

struct ImportReport {
  std::vector<std::string>
      missing;  // internal names that the files do not have and that may be absent
  std::vector<std::string>
      unused;  // tensors of the files that have no place here (poolers, classifiers)
};

/// Writes a model.safetensors with the weights of `image_file` (ViTModel) and `text_file`
/// (BertModel), whose sizes `config` gives. Names may carry a prefix (vit., bert., module.),
/// LayerNorm may be spelled gamma/beta, and ViT layers may have the names of transformers 4 or 5.
/// query, key and value become one qkv. Absolute positions of another grid are interpolated
/// (bicubic, align_corners false, no antialias). Without a mask token in the file a new one is
/// drawn and reported as missing. Projections are never invented: with embed_dim > 0 they are
/// reported as missing and not written. Throws ERR_COTS_CHECKPOINT if a tensor is absent or of
/// another shape: file, name, found and wanted shape.
ImportReport import_hugging_face(const ModelConfig& config, const std::string& image_file,
                                 const std::string& text_file, const std::string& out_file);

}  // namespace cots::io
