// y = x W^T + b with the weights laid out once for the kernel, and what follows a linear layer in a
// transformer done while the result is in registers. Every row is summed in the same order whatever
// rows are beside it: an item's result does not depend on its batch, bit for bit.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace cots::kernels {

using at::Tensor;

enum class LinearActivation { kNone, kGelu, kQuickGelu };

/// y = residual + gamma * activation(x W^T + b), each part optional.
struct Epilogue {
  LinearActivation activation = LinearActivation::kNone;
  const float* gamma = nullptr;     // [N], LayerScale
  const float* residual = nullptr;  // [M, N] with rows `stride` apart; may be the output itself
  int64_t residual_stride = 0;
};

/// Rows of a matrix in memory, `stride` numbers apart.
struct Rows2d {
  const float* data;
  int64_t stride;
};

/// How weights are kept; products and sums are float32 either way.
enum class Storage { kFloat32, kBfloat16 };

class PackedLinear {
 public:
  PackedLinear() = default;
  /// weight_NK and bias_N f32 (bias may be undefined). Panels of 16 outputs: [N / 16][K][16], the
  /// last one filled up with zeros.
  PackedLinear(const Tensor& weight_NK, const Tensor& bias_N, Storage storage = Storage::kFloat32);

  int64_t in() const { return K_; }
  int64_t out() const { return N_; }
  /// The outputs [first, first + count) of `rows` rows of x into y, whose rows are y_stride apart;
  /// `first` is a multiple of 16. On all threads of the caller's pool; reads the cancel flag.
  void run(Rows2d x, int64_t rows, float* y, int64_t y_stride, const Epilogue& epilogue = {},
           int64_t first = 0, int64_t count = -1) const;
  /// The weight as it was given, or rounded to bfloat16, f32 [N, K].
  Tensor unpack() const;

 private:
  int64_t N_ = 0, K_ = 0;
  Tensor panels_, bias_;
};

}  // namespace cots::kernels
