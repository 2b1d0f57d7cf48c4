// The safetensors format: u64 header size (little endian), JSON table of contents, then the bytes
// of all tensors without holes. Everything in a file is doubted before a byte of it is used.
#include "io/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <numeric>
#include <set>

#include "io/failure.h"
#include "io/file.h"
#include "third_party/nlohmann/json.hpp"

namespace cots::io {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // as the reference implementation
constexpr int kMaxDepth = 8;                  // a tensor's shape lies at depth 2
constexpr size_t kMaxWrite = 1 << 30;

struct Dtype {
  const char* name;
  at::ScalarType type;
  uint64_t size;
};
constexpr Dtype kDtypes[] = {
    {"F64", at::kDouble, 8}, {"I64", at::kLong, 8}, {"F32", at::kFloat, 4},
    {"I32", at::kInt, 4},    {"F16", at::kHalf, 2}, {"BF16", at::kBFloat16, 2},
    {"I16", at::kShort, 2},  {"I8", at::kChar, 1},  {"U8", at::kByte, 1},
    {"BOOL", at::kBool, 1},
};

const Dtype* find_dtype(const std::string& name) {
  for (const Dtype& dtype : kDtypes)
    if (name == dtype.name) return &dtype;
  return nullptr;
}

const Dtype& dtype_of(const at::Tensor& tensor) {
  for (const Dtype& dtype : kDtypes)
    if (tensor.scalar_type() == dtype.type) return dtype;
  TORCH_CHECK(false, "safetensors has no name for ", tensor.scalar_type());
}

[[noreturn]] void refuse(const std::string& file, const std::string& rule) {
  throw Failure("ERR_COTS_CHECKPOINT",
                "Expected " + file + " to be a complete safetensors file: " + rule +
                    ". The file is torn or not what its name says: fetch or write it again.");
}

uint64_t little_endian(const uint8_t* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

json parse_header(const std::string& file, const char* begin, const char* end) {
  std::set<std::string> names;
  std::string repeated;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth)
      refuse(file, "its header is nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (event == json::parse_event_t::key && depth == 1 &&
        !names.insert(parsed.get<std::string>()).second)
      repeated = parsed;
    return true;
  };
  json header;
  try {
    header = json::parse(begin, end, check);
  } catch (const json::exception& error) {
    refuse(file, std::string("its header is no JSON (") + error.what() + ")");
  }
  if (!header.is_object()) refuse(file, "its header is no JSON object");
  if (!repeated.empty()) refuse(file, "tensor '" + repeated + "' is listed twice");
  return header;
}

/// A value as a message may show it: what a stranger wrote may have any size.
std::string describe(const json& value) {
  return value.is_number() ? value.dump() : std::string("a value of type ") + value.type_name();
}

std::vector<uint64_t> numbers(const std::string& file, const std::string& name, const json& entry,
                              const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array())
    refuse(file, c10::str("tensor '", name, "' has no list '", key, "'"));
  std::vector<uint64_t> values;
  for (const json& value : *found) {
    if (!value.is_number_unsigned())
      refuse(file, c10::str("'", key, "' of tensor '", name, "' holds ", describe(value)));
    values.push_back(value.get<uint64_t>());
  }
  return values;
}

uint64_t byte_count(const std::string& file, const TensorEntry& entry, const Dtype& dtype) {
  uint64_t bytes = dtype.size;
  for (const int64_t side : entry.shape)
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(side), &bytes) || bytes > INT64_MAX)
      refuse(file, "the shape of tensor '" + entry.name + "' overflows");
  return bytes;
}

TensorEntry parse_entry(const std::string& file, const std::string& name, const json& value,
                        uint64_t data_size) {
  if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string())
    refuse(file, "tensor '" + name + "' has no dtype");
  TensorEntry entry{name, value["dtype"].get<std::string>(), {}, 0, 0};
  const Dtype* dtype = find_dtype(entry.dtype);
  if (dtype == nullptr)
    refuse(file, "tensor '" + name + "' has the unsupported dtype '" + entry.dtype + "'");
  for (const uint64_t side : numbers(file, name, value, "shape")) {
    if (side > INT64_MAX) refuse(file, "the shape of tensor '" + name + "' overflows");
    entry.shape.push_back(static_cast<int64_t>(side));
  }
  const std::vector<uint64_t> offsets = numbers(file, name, value, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    refuse(file, "the data_offsets of tensor '" + name + "' are no range");
  entry.begin = offsets[0];
  entry.end = offsets[1];
  if (entry.end > data_size)
    refuse(file, "tensor '" + name + "' ends at byte " + std::to_string(entry.end) + " of " +
                     std::to_string(data_size) + " bytes of data");
  const uint64_t wanted = byte_count(file, entry, *dtype);
  if (entry.end - entry.begin != wanted)
    refuse(file, "tensor '" + name + "' has " + std::to_string(entry.end - entry.begin) +
                     " bytes, its shape wants " + std::to_string(wanted));
  return entry;
}

/// Sorts by place and refuses overlaps, holes and bytes that belong to no tensor.
void check_layout(const std::string& file, std::vector<TensorEntry>& entries, uint64_t data_size) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t position = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.begin < position)
      refuse(file, "tensor '" + entry.name + "' overlaps the one before it");
    if (entry.begin > position) refuse(file, "there is a hole before tensor '" + entry.name + "'");
    position = entry.end;
  }
  if (position != data_size)
    refuse(file,
           std::to_string(data_size - position) + " bytes after the last tensor belong to none");
}

SafetensorsHeader parse(const std::string& file, const MappedFile& mapping) {
  if (mapping.size() < 8)
    refuse(file, "it has " + std::to_string(mapping.size()) +
                     " bytes, fewer than the 8 of the header's size");
  const uint64_t header_size = little_endian(mapping.data());
  if (header_size > kMaxHeader)
    refuse(file, "its header claims " + std::to_string(header_size) +
                     " bytes, more than the limit of " + std::to_string(kMaxHeader));
  if (header_size > mapping.size() - 8)
    refuse(file, "its header claims " + std::to_string(header_size) + " bytes, the file has " +
                     std::to_string(mapping.size()));
  const char* text = reinterpret_cast<const char*>(mapping.data()) + 8;
  const json header = parse_header(file, text, text + header_size);

  SafetensorsHeader result;
  result.data_offset = 8 + header_size;
  const uint64_t data_size = mapping.size() - result.data_offset;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      result.entries.push_back(parse_entry(file, name, value, data_size));
      continue;
    }
    if (!value.is_object()) refuse(file, "its __metadata__ is no object");
    for (const auto& [key, text_value] : value.items()) {
      if (!text_value.is_string()) refuse(file, "its __metadata__ '" + key + "' is no string");
      result.metadata[key] = text_value.get<std::string>();
    }
  }
  check_layout(file, result.entries, data_size);
  return result;
}

void write_all(int descriptor, const void* data, size_t size, const std::string& file) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    const ssize_t written = ::write(descriptor, bytes, std::min(size, kMaxWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) system_failure("write", file, errno);
    bytes += written;
    size -= static_cast<size_t>(written);
  }
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

void write_contents(const std::string& file, const NamedTensors& tensors,
                    const std::map<std::string, std::string>& metadata) {
  FileHandle handle(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (handle.get() < 0) system_failure("write", file, errno);
  const NamedTensors ordered = in_file_order(tensors);
  const std::string header = make_header(ordered, metadata);
  uint8_t size[8];
  for (int i = 0; i < 8; ++i) size[i] = static_cast<uint8_t>(header.size() >> (8 * i));
  write_all(handle.get(), size, sizeof(size), file);
  write_all(handle.get(), header.data(), header.size(), file);
  for (const auto& [name, tensor] : ordered)
    write_all(handle.get(), tensor.const_data_ptr(), tensor.nbytes(), file);
  if (::fsync(handle.get()) != 0) system_failure("write", file, errno);
  if (handle.close() != 0) system_failure("write", file, errno);
}

void sync_directory_of(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : file.substr(0, slash);
  FileHandle handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool synced =
      handle.get() >= 0 &&
      (::fsync(handle.get()) == 0 || errno == EINVAL);  // EINVAL: the file system syncs no folders
  if (!synced) system_failure("sync", directory, errno);
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
  const std::string beside = file + ".tmp-" + std::to_string(::getpid());
  try {
    write_contents(beside, tensors, metadata);
    if (::rename(beside.c_str(), file.c_str()) != 0) system_failure("write", file, errno);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  sync_directory_of(file);
}

}  // namespace cots::io
