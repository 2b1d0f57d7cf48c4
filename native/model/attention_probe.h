// Attention probabilities of a forward pass, as part of its graph: what a map of relevance reads.
// Legend: B batch, H heads, L tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace cots {

class AttentionProbe {
 public:
  /// `first`: layer from which on they are kept.
  explicit AttentionProbe(int64_t first) : first_(first) {}

  /// What a layer goes on with; layers come in order.
  at::Tensor keep(const at::Tensor& probabilities) {
    if (layer_++ < first_) return probabilities;
    const bool begins = kept_.empty();
    kept_.push_back(begins ? probabilities.detach().requires_grad_() : probabilities);
    return kept_.back();
  }

  /// [B, H, L, L] a layer; those of `first` are a leaf.
  const std::vector<at::Tensor>& probabilities() const { return kept_; }

 private:
  int64_t first_, layer_ = 0;
  std::vector<at::Tensor> kept_;
};

}  // namespace cots
