// Parameters by name to and from tensors of a safetensors file, with every mismatch named.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model/parameters.h"

namespace cots {

using NamedTensor = std::pair<std::string, Tensor>;

/// Name of a parameter in the file; an empty answer leaves the parameter as it is.
using FileName = std::function<std::string(const std::string& name)>;

/// Throws ERR_COTS_CHECKPOINT, before anything is written, with the tensor's name and what is
/// missing, the found and wanted shape, or why it can be no weight. `file` is for the message.
void check_weights(const Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                   const std::string& file, const FileName& file_name);
/// Copies the values (converted to float32) after check_weights().
void copy_weights(Parameters& parameters, const std::map<std::string, Tensor>& tensors,
                  const std::string& file, const FileName& file_name);

/// Flattens parameters that have no seed and copies their values. check_weights() comes first: a
/// file that does not fit costs no memory.
void fill_weights(Parameters& parameters, bool requires_grad,
                  const std::map<std::string, Tensor>& tensors, const std::string& file,
                  const FileName& file_name);

/// Throws ERR_COTS_CHECKPOINT unless a tensor of a file can be a weight: of a floating-point type,
/// and finite throughout.
void require_weight(const Tensor& tensor, const std::string& name, const std::string& file);

/// One tensor of a file, with its shape checked.
const Tensor& require_tensor(const std::map<std::string, Tensor>& tensors, const std::string& name,
                             at::IntArrayRef shape, const std::string& file);

/// The parts of these checks, for who has a file's table of contents alone.
[[noreturn]] void refuse_missing(const std::string& name, at::IntArrayRef shape,
                                 const std::string& file);
void require_shape(at::IntArrayRef found, const std::string& name, at::IntArrayRef shape,
                   const std::string& file);
void require_floating_point(at::ScalarType type, const std::string& name, const std::string& file);
[[noreturn]] void refuse_not_finite(const std::string& name, const std::string& file);

bool has_prefix(const std::string& name, const char* prefix);
/// A tower of the model, not a head of training: visual.*, text.* and loss.logit_scale.
bool belongs_to_model(const std::string& name);

}  // namespace cots
