#include "train/capture.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace cots {
namespace {

/// Written at a time: no more than this is waited for before a step changes a tensor.
constexpr uint64_t kPieceBytes = 4 << 20;

bool can_be_shared(const Tensor& t) { return t.is_cpu() && t.is_contiguous(); }

io::NamedTensors share_or_copy(const io::NamedTensors& tensors) {
  io::NamedTensors held;
  for (const auto& [name, tensor] : tensors)
    held.emplace_back(name, can_be_shared(tensor)
                                ? tensor.detach()
                                : tensor.detach().to(at::kCPU, tensor.scalar_type(), false,
                                                     /*copy=*/true, at::MemoryFormat::Contiguous));
  return held;
}

}  // namespace

Capture::Capture(const CheckpointPart& part)
    : part_{share_or_copy(part.model), share_or_copy(part.state), part.state_file} {
  for (const io::NamedTensors* tensors : {&part_.model, &part_.state})
    for (const auto& [name, tensor] : *tensors) {
      TORCH_CHECK(!entries_.contains(name), "two tensors are named ", name);
      entries_[name].data = static_cast<const uint8_t*>(tensor.const_data_ptr());
    }
}

void Capture::write(const std::string& directory) {
  part_.write(directory, [this](const std::string& name, const Tensor& tensor,
                                const io::TakeBytes& take) { send(name, tensor, take); });
}

/// In pieces through a buffer: the file may be slow, and the lock must not be held meanwhile.
void Capture::send(const std::string& name, const Tensor& tensor, const io::TakeBytes& take) {
  const uint64_t bytes = tensor.nbytes();
  std::vector<uint8_t> piece(std::min(bytes, kPieceBytes));
  for (uint64_t from = 0; from < bytes; from += piece.size()) {
    const uint64_t size = std::min<uint64_t>(piece.size(), bytes - from);
    {
      const std::lock_guard lock(mutex_);
      Entry& entry = entries_.at(name);
      std::memcpy(piece.data(), entry.data + from, size);
      entry.written = from + size;
      if (entry.written == bytes) entry.copy.reset();
    }
    take(piece.data(), size);
  }
}

void Capture::detach() {
  for (io::NamedTensors* tensors : {&part_.model, &part_.state})
    for (const auto& [name, tensor] : *tensors) {
      const std::lock_guard lock(mutex_);
      Entry& entry = entries_.at(name);
      const uint64_t left = tensor.nbytes() - entry.written;
      if (left == 0 || entry.copy.defined()) continue;
      entry.copy = at::empty(tensor.sizes(), tensor.options());
      auto* const to = static_cast<uint8_t*>(entry.copy.mutable_data_ptr());
      std::memcpy(to + entry.written, entry.data + entry.written, left);
      entry.data = to;
    }
}

}  // namespace cots
