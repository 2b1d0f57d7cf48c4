// The table of contents of a safetensors file (ECOSYSTEM 3.4): which tensor lies where.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cots::io {

/// A number type by the name that the format has for it.
struct Dtype {
  const char* name;
  at::ScalarType type;
  uint64_t size;
};
/// F32, F16, BF16, F64, I64, I32, I16, I8, U8, BOOL; null for another name.
const Dtype* find_dtype(const std::string& name);
const Dtype& dtype_of(const at::Tensor& tensor);

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

/// Bytes of the header with its size, of which `start` has the first 8 (or the whole file where it
/// is shorter). Refuses as parse_safetensors_header() does.
uint64_t safetensors_header_bytes(const std::string& file, const uint8_t* start,
                                  uint64_t file_size);
/// `start`: the first safetensors_header_bytes() of a file. Throws ERR_COTS_CHECKPOINT with rule
/// and value: a short file, a header over 100 MB, bad JSON, an unknown type, offsets that overlap,
/// leave holes or end past the file, sizes that disagree with shapes.
SafetensorsHeader parse_safetensors_header(const std::string& file, const uint8_t* start,
                                           uint64_t file_size);

}  // namespace cots::io
