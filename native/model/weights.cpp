#include "model/weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "io/failure.h"

namespace cots {
namespace {

std::string to_text(at::IntArrayRef shape) {
  std::string result = "[";
  for (const int64_t side : shape) result += (result.size() > 1 ? ", " : "") + std::to_string(side);
  return result + "]";
}

[[noreturn]] void refuse_weight(const std::string& name, const std::string& file,
                                const std::string& got, const char* way_out) {
  throw Failure("ERR_COTS_CHECKPOINT", "Expected tensor '" + name + "' of " + file +
                                           " to hold finite numbers of type F32, F16, BF16 or "
                                           "F64, got " +
                                           got + ". " + way_out);
}

}  // namespace

void refuse_missing(const std::string& name, at::IntArrayRef shape, const std::string& file) {
  throw Failure("ERR_COTS_CHECKPOINT", "Expected " + file + " to hold the tensor '" + name +
                                           "' of shape " + to_text(shape) +
                                           ", found none. Use weights made for this config.");
}

void require_shape(at::IntArrayRef found, const std::string& name, at::IntArrayRef shape,
                   const std::string& file) {
  if (found != shape)
    throw Failure("ERR_COTS_CHECKPOINT",
                  "Expected tensor '" + name + "' of " + file + " to have shape " + to_text(shape) +
                      ", found " + to_text(found) + ". Use weights made for this config.");
}

const Tensor& require_tensor(const std::map<std::string, Tensor>& tensors, const std::string& name,
                             at::IntArrayRef shape, const std::string& file) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) refuse_missing(name, shape, file);
  require_shape(found->second.sizes(), name, shape, file);
  return found->second;
}

void require_floating_point(at::ScalarType type, const std::string& name, const std::string& file) {
  if (!at::isFloatingType(type))
    refuse_weight(name, file, std::string("values of type ") + c10::toString(type),
                  "Quantized weights cannot be read: save the model in float32, float16 or "
                  "bfloat16.");
}

void refuse_not_finite(const std::string& name, const std::string& file) {
  refuse_weight(name, file, "NaN or infinity among them",
                "Fetch the file again, or use an earlier checkpoint.");
}

void require_weight(const Tensor& tensor, const std::string& name, const std::string& file) {
  require_floating_point(tensor.scalar_type(), name, file);
  if (tensor.numel() == 0) return;
  // The least and the greatest are NaN if one value is.
  const auto [least, greatest] = tensor.aminmax();
  if (!std::isfinite(least.item<double>()) || !std::isfinite(greatest.item<double>()))
    refuse_not_finite(name, file);
}

void check_weights(const Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                   const std::string& file, const FileName& file_name) {
  for (const Parameter& parameter : parameters.all()) {
    const std::string name = file_name(parameter.name);
    if (!name.empty())
      require_weight(require_tensor(tensors, name, parameter.value.sizes(), file), name, file);
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
