// The weights of model.safetensors, read a tensor at a time when a plan is made: nothing of the
// file is mapped or kept, so a model takes the memory of the towers that are used.
#pragma once

#include <map>

#include "infer/weight_source.h"
#include "io/file.h"
#include "io/safetensors_header.h"
#include "model/config.h"

namespace cots {

class FileWeights : public WeightSource {
 public:
  /// Checks the whole file against the network: names, shapes and types first, then that all
  /// numbers are finite, in memory of some megabytes. Throws ERR_COTS_FILE, or ERR_COTS_CHECKPOINT
  /// with the tensor's name, found and wanted shape, or what is missing, not finite or of another
  /// network.
  FileWeights(const ModelConfig& config, const std::string& file);

  bool has(const std::string& name) const override;
  /// Memory of its own. Throws ERR_COTS_FILE where the file was written since it was opened.
  Tensor weight(const std::string& name) const override;
  int64_t count(const std::string& prefix) const override;
  int64_t bytes() const override;
  /// The bytes of the file as they are.
  void save(const std::string& file) const override;

 private:
  void check_fit(const ModelConfig& config) const;
  void check_finite() const;

  io::OpenFile file_;
  io::SafetensorsHeader header_;
  std::map<std::string, const io::TensorEntry*> entries_;
};

}  // namespace cots
