// A linear layer of a plan in the number type of the plan.
#pragma once

#include <optional>
#include <string>

#include "infer/kernels/half_linear.h"
#include "infer/kernels/packed_linear.h"
#include "infer/kernels/quantized_linear.h"
#include "infer/precision.h"
#include "infer/weight_source.h"

namespace cots {

/// What layers of one plan read: rows in float32 and, for layers in a smaller type, those in it.
struct LinearInput {
  kernels::Rows2d rows;
  const kernels::QuantizedRows* codes = nullptr;
  const kernels::HalfRows* halves = nullptr;
};

/// Whether a plan of this precision forms its products of bfloat16: where there is an instruction
/// for them. An int8 plan does so in attention.
inline bool multiplies_halves(Precision precision) {
  return precision != Precision::kFloat32 && kernels::has_bfloat16_dots();
}

class PlannedLinear {
 public:
  PlannedLinear() = default;
  /// f32 [N, K], [N]. With int8 a layer stays in float32 if its codes lose more than 2 % of its
  /// weights (QuantizedLinear::relative_error); normal weights lose 1 %. With bfloat16 its products
  /// are of bfloat16 where multiplies_halves(), else only its weights are kept so.
  PlannedLinear(const Tensor& weight_NK, const Tensor& bias_N, Precision precision);

  int64_t out() const;
  bool is_quantized() const { return quantized_.has_value(); }
  /// As PackedLinear::run(). `x` has codes where the plan is int8 and halves where it
  /// is bfloat16 and multiplies_halves().
  void run(const LinearInput& x, int64_t rows, float* y, int64_t y_stride,
           const kernels::Epilogue& epilogue = {}) const;

 private:
  kernels::PackedLinear packed_;
  std::optional<kernels::QuantizedLinear> quantized_;
  std::optional<kernels::HalfLinear> halves_;
};

/// NAME.weight and NAME.bias.
PlannedLinear plan_linear(const WeightSource& weights, const std::string& name,
                          Precision precision);
/// The same for a layer outside the blocks, which no precision quantizes.
kernels::PackedLinear pack_linear(const WeightSource& weights, const std::string& name,
                                  Precision precision);
/// How such a layer keeps its weights.
kernels::Storage storage_of(Precision precision);

}  // namespace cots
