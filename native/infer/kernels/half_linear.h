// A linear layer whose products are of bfloat16, two at once, with float32 sums: weights rounded
// once, activations as they come. A row's result does not depend on the rows beside it. Legend: M
// rows, K inputs, N outputs.
#pragma once

#include <string>

#include "infer/kernels/packed_linear.h"

namespace cots::kernels {

/// How such products are formed.
enum class Dot2Path {
  kPortable,  // written out, slowly: for comparison
  kAvx512Bf16,
};
/// The best one that both this build and this machine have.
Dot2Path dot2_path();
/// "portable" or "avx512_bf16".
std::string to_text(Dot2Path path);
/// Whether that is an instruction, and bfloat16 worth rounding activations for.
inline bool has_bfloat16_dots() { return dot2_path() != Dot2Path::kPortable; }

/// Rows rounded to bfloat16 (to the nearest, ties to even), filled up with zeros to whole lanes.
class HalfRows {
 public:
  /// Memory for `rows` rows of K numbers.
  void reserve(int64_t rows, int64_t K);
  /// Takes over `rows` rows of K numbers; memory is kept for the next call.
  void round(Rows2d x, int64_t rows, int64_t K, Dot2Path path = dot2_path());
  /// The bits of [rows, stride].
  const uint16_t* numbers() const {
    return reinterpret_cast<const uint16_t*>(numbers_.const_data_ptr<at::BFloat16>());
  }
  int64_t stride() const { return stride_; }

 private:
  Tensor numbers_;
  int64_t stride_ = 0;
};

class HalfLinear {
 public:
  HalfLinear() = default;
  /// weight_NK and bias_N f32 (bias may be undefined), in panels [N / 16][K / 2][16][2].
  HalfLinear(const Tensor& weight_NK, const Tensor& bias_N);

  int64_t out() const { return N_; }
  /// As PackedLinear::run(), of rows that were rounded.
  void run(const HalfRows& x, int64_t rows, float* y, int64_t y_stride,
           const Epilogue& epilogue = {}, Dot2Path path = dot2_path()) const;

 private:
  int64_t N_ = 0, K_ = 0;
  Tensor panels_, bias_;  // bfloat16, filled up with zeros; f32 [N to 16]
};

}  // namespace cots::kernels
