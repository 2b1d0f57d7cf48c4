// Where the plans of an embedder take their weights from: the parameters of a network in memory, or
// a file that is read as far as a plan needs it.
#pragma once

#include <memory>
#include <string>

#include "model/parameters.h"

namespace cots {

class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual bool has(const std::string& name) const = 0;
  /// f32, to be read only: in memory of the source, which then must outlive it, or of its own.
  /// Throws where has() is false.
  virtual Tensor weight(const std::string& name) const = 0;
  /// Scalars of the weights whose names begin so.
  virtual int64_t count(const std::string& prefix) const = 0;
  /// Bytes of memory or of the file.
  virtual int64_t bytes() const = 0;
  /// Writes model.safetensors.
  virtual void save(const std::string& file) const = 0;
};

/// Of parameters that outlive it.
class ParameterWeights : public WeightSource {
 public:
  explicit ParameterWeights(const Parameters& parameters) : parameters_(parameters) {}
  bool has(const std::string& name) const override;
  Tensor weight(const std::string& name) const override;
  int64_t count(const std::string& prefix) const override;
  int64_t bytes() const override;
  void save(const std::string& file) const override;

 private:
  const Parameters& parameters_;
};

}  // namespace cots
