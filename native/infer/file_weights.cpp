#include "infer/file_weights.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "infer/kernels/tasks.h"
#include "io/failure.h"
#include "model/cots.h"
#include "model/weights.h"

namespace cots {
namespace {

constexpr uint64_t kPart = 1 << 20;  // bytes read at once: they stay in the cache
constexpr const char* kLogitScale = "loss.logit_scale";

io::SafetensorsHeader read_header(const io::OpenFile& file) {
  uint8_t size[8] = {};
  file.read(0, size, std::min<uint64_t>(sizeof size, file.size()));
  std::vector<uint8_t> start(io::safetensors_header_bytes(file.name(), size, file.size()));
  file.read(0, start.data(), start.size());
  return io::parse_safetensors_header(file.name(), start.data(), file.size());
}

/// Calls f(first, bytes) for all parts of `bytes` bytes on all threads.
template <class F>
void for_each_part(uint64_t bytes, const F& f) {
  kernels::for_each_task(static_cast<int64_t>((bytes + kPart - 1) / kPart), [&](int64_t task) {
    const uint64_t first = static_cast<uint64_t>(task) * kPart;
    f(first, std::min(kPart, bytes - first));
  });
}

/// A number is finite unless its exponent is all ones.
template <class Bits, Bits kExponent>
bool all_finite(const uint8_t* data, uint64_t bytes) {
  bool finite = true;
  for (uint64_t i = 0; i < bytes; i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, data + i, sizeof bits);
    finite &= (bits & kExponent) != kExponent;
  }
  return finite;
}

bool all_finite(at::ScalarType type, const uint8_t* data, uint64_t bytes) {
  switch (type) {
    case at::kFloat:
      return all_finite<uint32_t, 0x7f800000u>(data, bytes);
    case at::kBFloat16:
      return all_finite<uint16_t, 0x7f80u>(data, bytes);
    case at::kHalf:
      return all_finite<uint16_t, 0x7c00u>(data, bytes);
    default:
      return all_finite<uint64_t, 0x7ff0000000000000u>(data, bytes);
  }
}

at::ScalarType type_of(const io::TensorEntry& entry) { return io::find_dtype(entry.dtype)->type; }

}  // namespace

FileWeights::FileWeights(const ModelConfig& config, const std::string& file)
    : file_(file), header_(read_header(file_)) {
  for (const io::TensorEntry& entry : header_.entries) entries_[entry.name] = &entry;
  check_fit(config);
  check_finite();
}

void FileWeights::check_fit(const ModelConfig& config) const {
  Parameters network(std::nullopt);  // names and shapes: without a seed it has no memory
  const Towers towers(config, Scope(network, "visual"), Scope(network, "text"));
  // Embedding does not read it, but what was loaded can be saved again.
  if (has(kLogitScale)) network.add(kLogitScale, {}, Init::zeros(), /*decay=*/false);
  for (const auto& [name, entry] : entries_)
    if (network.find(name) == nullptr)
      throw Failure("ERR_COTS_CHECKPOINT",
                    "Expected " + file_.name() +
                        " to hold the weights of its config, got the tensor '" + name +
                        "', which such a model does not have. Restore the config.json that "
                        "belongs to it.");
  for (const Parameter& parameter : network.all()) {
    const auto found = entries_.find(parameter.name);
    // Imported towers have no mask token: only training reads it.
    if (found == entries_.end() && parameter.name == "visual.mask_token") continue;
    if (found == entries_.end())
      refuse_missing(parameter.name, parameter.value.sizes(), file_.name());
    require_shape(found->second->shape, parameter.name, parameter.value.sizes(), file_.name());
    require_floating_point(type_of(*found->second), parameter.name, file_.name());
  }
}

void FileWeights::check_finite() const {
  for (const io::TensorEntry& entry : header_.entries) {
    std::atomic<bool> finite{true};
    for_each_part(entry.end - entry.begin, [&](uint64_t first, uint64_t bytes) {
      thread_local std::vector<uint8_t> part(kPart);
      file_.read(header_.data_offset + entry.begin + first, part.data(), bytes);
      if (!all_finite(type_of(entry), part.data(), bytes)) finite = false;
    });
    if (!finite) refuse_not_finite(entry.name, file_.name());
  }
}

bool FileWeights::has(const std::string& name) const { return entries_.contains(name); }

Tensor FileWeights::weight(const std::string& name) const {
  const auto found = entries_.find(name);
  TORCH_CHECK(found != entries_.end(), "Expected the tensor '", name, "' in ", file_.name(), ".");
  const io::TensorEntry& entry = *found->second;
  file_.check_unchanged();
  const Tensor values = at::empty(entry.shape, type_of(entry));
  auto* data = static_cast<uint8_t*>(values.mutable_data_ptr());
  for_each_part(entry.end - entry.begin, [&](uint64_t first, uint64_t bytes) {
    file_.read(header_.data_offset + entry.begin + first, data + first, bytes);
  });
  return values.to(at::kFloat);
}

int64_t FileWeights::count(const std::string& prefix) const {
  int64_t scalars = 0;
  for (const io::TensorEntry& entry : header_.entries)
    if (has_prefix(entry.name, prefix.c_str())) scalars += c10::multiply_integers(entry.shape);
  return scalars;
}

int64_t FileWeights::bytes() const { return static_cast<int64_t>(file_.size()); }

void FileWeights::save(const std::string& file) const {
  file_.check_unchanged();
  io::replace_file(file, [&](const io::FileWriter& writer) {
    std::vector<uint8_t> part(kPart);
    for (uint64_t first = 0; first < file_.size(); first += kPart) {
      const uint64_t bytes = std::min(kPart, file_.size() - first);
      file_.read(first, part.data(), bytes);
      writer.write(part.data(), bytes);
    }
  });
}

}  // namespace cots
