// The table of contents: u64 size (little endian), then JSON. Everything in a file is doubted
// before a byte of it is used.
#include "io/safetensors_header.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <tuple>

#include "io/failure.h"
#include "third_party/nlohmann/json.hpp"

namespace cots::io {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;  // as the reference implementation
constexpr int kMaxDepth = 8;                  // a tensor's shape lies at depth 2
constexpr uint64_t kSizeBytes = 8;            // of the header's size

constexpr Dtype kDtypes[] = {
    {"F64", at::kDouble, 8}, {"I64", at::kLong, 8}, {"F32", at::kFloat, 4},
    {"I32", at::kInt, 4},    {"F16", at::kHalf, 2}, {"BF16", at::kBFloat16, 2},
    {"I16", at::kShort, 2},  {"I8", at::kChar, 1},  {"U8", at::kByte, 1},
    {"BOOL", at::kBool, 1},
};

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

}  // namespace

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

uint64_t safetensors_header_bytes(const std::string& file, const uint8_t* start,
                                  uint64_t file_size) {
  if (file_size < kSizeBytes)
    refuse(file,
           "it has " + std::to_string(file_size) + " bytes, fewer than the 8 of the header's size");
  const uint64_t header_size = little_endian(start);
  if (header_size > kMaxHeader)
    refuse(file, "its header claims " + std::to_string(header_size) +
                     " bytes, more than the limit of " + std::to_string(kMaxHeader));
  if (header_size > file_size - kSizeBytes)
    refuse(file, "its header claims " + std::to_string(header_size) + " bytes, the file has " +
                     std::to_string(file_size));
  return kSizeBytes + header_size;
}

SafetensorsHeader parse_safetensors_header(const std::string& file, const uint8_t* start,
                                           uint64_t file_size) {
  SafetensorsHeader result;
  result.data_offset = safetensors_header_bytes(file, start, file_size);
  const char* text = reinterpret_cast<const char*>(start);
  const json header = parse_header(file, text + kSizeBytes, text + result.data_offset);
  const uint64_t data_size = file_size - result.data_offset;
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

}  // namespace cots::io
