#include "infer/weight_source.h"

#include <ATen/ATen.h>

#include "io/safetensors.h"
#include "model/weights.h"

namespace cots {

bool ParameterWeights::has(const std::string& name) const {
  return parameters_.find(name) != nullptr;
}

Tensor ParameterWeights::weight(const std::string& name) const {
  const Parameter* found = parameters_.find(name);
  TORCH_CHECK(found != nullptr, "Expected the parameter '", name, "' in the network of this plan.");
  return found->value;
}

int64_t ParameterWeights::count(const std::string& prefix) const {
  int64_t scalars = 0;
  for (const Parameter& parameter : parameters_.all())
    if (has_prefix(parameter.name, prefix.c_str())) scalars += parameter.value.numel();
  return scalars;
}

int64_t ParameterWeights::bytes() const {
  return parameters_.count() * static_cast<int64_t>(sizeof(float));
}

void ParameterWeights::save(const std::string& file) const {
  io::NamedTensors tensors;
  for (const Parameter& parameter : parameters_.all())
    tensors.emplace_back(parameter.name, parameter.value);
  io::write_safetensors(file, tensors, {{"format", "pt"}});
}

}  // namespace cots
