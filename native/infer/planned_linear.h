// A linear layer of a plan in the number type of the plan.
#pragma once

#include <optional>
#include <string>

#include "infer/kernels/packed_linear.h"
#include "infer/kernels/quantized_linear.h"
#include "infer/precision.h"
#include "infer/weight_source.h"

namespace cots {

/// What layers of one plan read: rows in float32 and, for layers in 8-bit integers, their codes.
struct LinearInput {
  kernels::Rows2d rows;
  const kernels::QuantizedRows* codes = nullptr;
};

class PlannedLinear {
 public:
  PlannedLinear() = default;
  /// f32 [N, K], [N]. With int8 a layer stays in float32 if its codes lose more than 2 % of its
  /// weights (QuantizedLinear::relative_error); normal weights lose 1 %.
  PlannedLinear(const Tensor& weight_NK, const Tensor& bias_N, Precision precision);

  int64_t out() const { return quantized_ ? quantized_->out() : packed_.out(); }
  bool is_quantized() const { return quantized_.has_value(); }
  /// As PackedLinear::run(). `x` has codes where the plan is int8.
  void run(const LinearInput& x, int64_t rows, float* y, int64_t y_stride,
           const kernels::Epilogue& epilogue = {}) const;

 private:
  kernels::PackedLinear packed_;
  std::optional<kernels::QuantizedLinear> quantized_;
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
