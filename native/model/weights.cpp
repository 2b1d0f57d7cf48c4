#include "model/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "io/failure.h"

namespace cots {
namespace {

std::string to_text(at::IntArrayRef shape) {
  std::string result = "[";
  for (const int64_t side : shape) result += (result.size() > 1 ? ", " : "") + std::to_string(side);
  return result + "]";
}

}  // namespace

const Tensor& require_tensor(const std::map<std::string, Tensor>& tensors, const std::string& name,
                             at::IntArrayRef shape, const std::string& file) {
  const auto found = tensors.find(name);
  if (found == tensors.end())
    throw Failure("ERR_COTS_CHECKPOINT", "Expected " + file + " to hold the tensor '" + name +
                                             "' of shape " + to_text(shape) +
                                             ", found none. Use weights made for this config.");
  if (found->second.sizes() != shape)
    throw Failure("ERR_COTS_CHECKPOINT", "Expected tensor '" + name + "' of " + file +
                                             " to have shape " + to_text(shape) + ", found " +
                                             to_text(found->second.sizes()) +
                                             ". Use weights made for this config.");
  return found->second;
}

void check_weights(const Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                   const std::string& file, const FileName& file_name) {
  for (const Parameter& parameter : parameters.all()) {
    const std::string name = file_name(parameter.name);
    if (!name.empty()) require_tensor(tensors, name, parameter.value.sizes(), file);
  }
}

void copy_weights(Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                  const std::string& file, const FileName& file_name) {
  check_weights(parameters, tensors, file, file_name);
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters.all()) {
    const std::string name = file_name(parameter.name);
    if (!name.empty()) parameter.value.detach().copy_(tensors.at(name));
  }
}

void fill_weights(Parameters& parameters, bool requires_grad,
                  const std::map<std::string, Tensor>& tensors, const std::string& file,
                  const FileName& file_name) {
  check_weights(parameters, tensors, file, file_name);
  parameters.flatten(requires_grad);
  copy_weights(parameters, tensors, file, file_name);
}

bool has_prefix(const std::string& name, const char* prefix) { return name.rfind(prefix, 0) == 0; }

bool belongs_to_model(const std::string& name) {
  return has_prefix(name, "visual.") || has_prefix(name, "text.") || name == "loss.logit_scale";
}

}  // namespace cots
