// LayerNorm over rows of float32 (Ba et al. 2016), for the inference plans.
#pragma once

#include <cstdint>

#include "infer/kernels/packed_linear.h"

namespace cots::kernels {

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, a row at a time; weight and bias [width].
/// y may be x. Rows of y are y_stride apart.
void layer_norm(Rows2d x, int64_t rows, int64_t width, const float* weight, const float* bias,
                double eps, float* y, int64_t y_stride);

}  // namespace cots::kernels
