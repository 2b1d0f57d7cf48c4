// safetensors files (ECOSYSTEM 3.4): float32 and integer tensors by name, mapped for reading,
// synced when written.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "io/safetensors_header.h"

namespace cots::io {

/// Table of contents alone; the same checks as read_safetensors.
SafetensorsHeader read_safetensors_header(const std::string& file);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Reads every tensor (F32, F16, BF16, F64, I64, I32, I16, I8, U8, BOOL). Refuses with file, rule
/// and value what parse_safetensors_header() refuses.
std::map<std::string, at::Tensor> read_safetensors(const std::string& file);

/// Writes to FILE.tmp-PID, fsyncs, renames, fsyncs the directory. Throws on a full disk or missing
/// permission and leaves no torn file.
void write_safetensors(const std::string& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata);

/// Takes a tensor's bytes in order, in as many pieces as are given.
using TakeBytes = std::function<void(const void* data, uint64_t bytes)>;
/// Gives the bytes of a contiguous tensor of the host, which may change while it is written.
using GiveBytes =
    std::function<void(const std::string& name, const at::Tensor& tensor, const TakeBytes& take)>;

/// The same with the bytes that `give` gives.
void write_safetensors(const std::string& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, const GiveBytes& give);

}  // namespace cots::io
