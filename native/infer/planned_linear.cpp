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
  if (precision == Precision::kBfloat16 && multiplies_halves(precision))
    halves_.emplace(weight_NK, bias_N);
  else
    packed_ = {weight_NK, bias_N, storage_of(precision)};
}

int64_t PlannedLinear::out() const {
  return quantized_ ? quantized_->out() : halves_ ? halves_->out() : packed_.out();
}

void PlannedLinear::run(const LinearInput& x, int64_t rows, float* y, int64_t y_stride,
                        const kernels::Epilogue& epilogue) const {
  if (quantized_) {
    TORCH_INTERNAL_ASSERT(x.codes != nullptr, "a quantized layer reads codes");
    return quantized_->run(*x.codes, rows, y, y_stride, epilogue);
  }
  if (halves_) {
    TORCH_INTERNAL_ASSERT(x.halves != nullptr, "a layer in bfloat16 reads rounded rows");
    return halves_->run(*x.halves, rows, y, y_stride, epilogue);
  }
  packed_.run(x.rows, rows, y, y_stride, epilogue);
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
