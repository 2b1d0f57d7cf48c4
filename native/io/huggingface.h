// Weights of transformers' models to this project's names and back (SPEC 6.1 to 6.3).
#pragma once

#include <string>
#include <vector>

#include "io/dialect.h"
#include "model/config.h"

namespace cots::io {

/// One checkpoint: the safetensors files of its shards, or the one.
struct ImportSource {
  Family family;
  std::vector<std::string> files;
};

struct ImportReport {
  std::vector<std::string>
      missing;  // internal names that the files do not have and that may be absent
  std::vector<std::string>
      unused;  // tensors of the files that have no place here (poolers, classifiers)
};

/// Writes a model.safetensors with the weights of `sources`, each of a tower or of both, whose
/// sizes `config` gives. Names may carry the prefix of a whole model, LayerNorm may be spelled
/// gamma/beta, and layers may have the names of transformers 4 or 5. query, key and value become
/// one qkv. Positions and relative position bias of another grid are resized (position_resize.h); a
/// bias that all layers share is copied to each; a distillation token is left out with its
/// position. What a family does not have is zero (BEiT's key bias and positions, CLIP's biases of
/// patches and projections). Without a mask token in the file a new one is drawn and reported as
/// missing. Projections are never invented: with embed_dim > 0 those that the files lack are
/// reported as missing and not written. Throws ERR_COTS_CHECKPOINT, before anything is written, if
/// a tensor is absent, twice there, of another shape, of no floating-point type, not finite, or of
/// a part that the config's model does not have: file, name, found and wanted.
ImportReport import_hugging_face(const ModelConfig& config,
                                 const std::vector<ImportSource>& sources,
                                 const std::string& out_file);

/// Writes the weights of a model.safetensors of `config` under the names of `family`: one tower, or
/// both. What the family does not have must be zero and is left out, and so is a mask token that
/// import drew. With kDualEncoder the projections become that model's poolers and projections
/// (huggingface.cpp says how). Throws ERR_COTS_CHECKPOINT.
void export_hugging_face(const ModelConfig& config, const std::string& model_file, Family family,
                         const std::string& out_file);

}  // namespace cots::io
