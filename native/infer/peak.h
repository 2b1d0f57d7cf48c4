// The rate that model flops are compared with: what a dense product reaches on this machine, now.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace cots {

/// X [rows, inner] times the weight of a Linear, W [columns, inner] transposed.
struct ProductShape {
  int64_t rows, inner, columns;
};

/// Best flops a second of a product, over at least three products and `seconds` of them, on a
/// device or with the threads of the calling thread; on a CPU by libtorch or by the package's own
/// tiles, whichever is faster. kChar, CPUs alone: 8-bit integers, as int8 plans multiply. bfloat16
/// on a CPU without such products: float32, in which its plans multiply. One product warms up
/// first.
double measure_product_flops(const ProductShape& shape, double seconds,
                             at::Device device = at::kCPU, at::ScalarType type = at::kFloat);

}  // namespace cots
