// The safetensors format: u64 header size (little endian), JSON table of contents, then the bytes
// of all tensors without holes.
#include "io/safetensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "io/file.h"
#include "third_party/nlohmann/json.hpp"

namespace cots::io {
namespace {

using nlohmann::json;

SafetensorsHeader parse(const std::string& file, const MappedFile& mapping) {
  return parse_safetensors_header(file, mapping.data(), mapping.size());
}

/// Widest types first, so that every tensor is aligned to its own size in the file.
NamedTensors in_file_order(const NamedTensors& tensors) {
  NamedTensors ordered;
  for (const auto& [name, tensor] : tensors)
    ordered.emplace_back(name, tensor.detach().cpu().contiguous());
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return a.second.element_size() > b.second.element_size();
  });
  return ordered;
}

std::string make_header(const NamedTensors& ordered,
                        const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t position = 0;
  for (const auto& [name, tensor] : ordered) {
    TORCH_CHECK(!header.contains(name), "two tensors are named ", name);
    const uint64_t end = position + tensor.nbytes();
    header[name] = {{"dtype", dtype_of(tensor).name},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

SafetensorsHeader read_safetensors_header(const std::string& file) {
  const MappedFile mapping(file);
  return parse(file, mapping);
}

std::map<std::string, at::Tensor> read_safetensors(const std::string& file) {
  const auto mapping = std::make_shared<const MappedFile>(file);
  const SafetensorsHeader header = parse(file, *mapping);
  std::map<std::string, at::Tensor> tensors;
  for (const TensorEntry& entry : header.entries) {
    const Dtype& dtype = *find_dtype(entry.dtype);
    uint8_t* data = mapping->data() + header.data_offset + entry.begin;
    if (reinterpret_cast<uintptr_t>(data) % dtype.size == 0 && entry.end > entry.begin) {
      tensors[entry.name] = at::from_blob(
          data, entry.shape, [mapping](void*) {}, at::TensorOptions(dtype.type));
      continue;
    }
    at::Tensor copy = at::empty(
        entry.shape, at::TensorOptions(dtype.type));  // empty, or not aligned in this file
    // An empty tensor has no memory, and memcpy takes no null pointer even for 0 bytes.
    if (copy.numel() > 0) std::memcpy(copy.mutable_data_ptr(), data, entry.end - entry.begin);
    tensors[entry.name] = copy;
  }
  return tensors;
}

void write_safetensors(const std::string& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  write_safetensors(file, tensors, metadata,
                    [](const std::string&, const at::Tensor& tensor, const TakeBytes& take) {
                      take(tensor.const_data_ptr(), tensor.nbytes());
                    });
}

void write_safetensors(const std::string& file, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, const GiveBytes& give) {
  replace_file(file, [&](const FileWriter& writer) {
    const NamedTensors ordered = in_file_order(tensors);
    const std::string header = make_header(ordered, metadata);
    uint8_t size[8];
    for (int i = 0; i < 8; ++i) size[i] = static_cast<uint8_t>(header.size() >> (8 * i));
    writer.write(size, sizeof(size));
    writer.write(header.data(), header.size());
    const TakeBytes take = [&](const void* data, uint64_t bytes) { writer.write(data, bytes); };
    for (const auto& [name, tensor] : ordered) give(name, tensor, take);
  });
}

}  // namespace cots::io
