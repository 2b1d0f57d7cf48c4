// The rate that model flops are compared with: what a dense float32 product reaches on this
// machine, now.
#pragma once

#include <cstdint>

namespace cots {

/// X [rows, inner] times the weight of a Linear, W [columns, inner] transposed.
struct ProductShape {
  int64_t rows, inner, columns;
};

/// Best flops a second of a float32 product, over at least three products and `seconds` of them,
/// with the threads of the calling thread. One product warms up first.
double measure_product_flops(const ProductShape& shape, double seconds);

}  // namespace cots
