// safetensors files (ECOSYSTEM 3.4): float32 and integer tensors by name, mapped for reading,
// synced when written.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cots::io {

/// One line of a file's table of contents.
struct TensorEntry {
  std::string name, dtype;  // dtype as the format spells it: F32, I64, ...
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the data
};
struct SafetensorsHeader {
  std::vector<TensorEntry> entries;             // in order of their bytes
  std::map<std::string, std::string> metadata;  // __metadata__
  uint64_t data_offset = 0;                     // of the data in the file
};

/// Table of contents alone; the same checks as read_safetensors.
SafetensorsHeader read_safetensors_header(const std::string& file);

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Reads every tensor (F32, F16, BF16, F64, I64, I32, I16, I8, U8, BOOL). Refuses with file, rule
/// and value: short file, header over 100 MB, bad JSON, offsets that overlap, leave holes or end
/// past the file, sizes that disagree with shapes.
std::map<std::string, at::Tensor> read_safetensors(const std::string& file);

/// Writes to FILE.tmp-PID, fsyncs, renames, fsyncs the directory. Throws on a full disk or missing
/// permission and leaves no torn file.
void write_safetensors(const std::string& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace cots::io
