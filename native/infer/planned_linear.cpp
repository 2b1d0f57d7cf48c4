#include "infer/planned_linear.h"

namespace cots {
namespace {

constexpr double kMostLost = 0.02;

}  // namespace

kernels::Storage storage_of(Precision precision) {
  return precision == Precision::kBfloat16 ? kernels::Storage::kBfloat16
                                           : kernels::Storage::kFloat32;
}

PlannedLinear::PlannedLinear(const Tensor& weight_NK, const Tensor& bias_N, Precision precision) {
  if (precision == Precision::kInt8) {
    quantized_.emplace(weight_NK, bias_N);
    if (quantized_->relative_error() <= kMostLost) return;
    quantized_.reset();
  }
  packed_ = {weight_NK, bias_N, storage_of(precision)};
}

void PlannedLinear::run(const LinearInput& x, int64_t rows, float* y, int64_t y_stride,
                        const kernels::Epilogue& epilogue) const {
  if (!quantized_) return packed_.run(x.rows, rows, y, y_stride, epilogue);
  TORCH_INTERNAL_ASSERT(x.codes != nullptr, "a quantized layer reads codes");
  quantized_->run(*x.codes, rows, y, y_stride, epilogue);
}

PlannedLinear plan_linear(const WeightSource& weights, const std::string& name,
                          Precision precision) {
  return {weights.weight(name + ".weight"), weights.weight(name + ".bias"), precision};
}

kernels::PackedLinear pack_linear(const WeightSource& weights, const std::string& name,
                                  Precision precision) {
  return {weights.weight(name + ".weight"), weights.weight(name + ".bias"), storage_of(precision)};
}

}  // namespace cots
