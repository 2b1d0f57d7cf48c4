// Scaled dot-product attention over sequences of mixed length in one call, without padding.
#pragma once

#include <cstdint>
#include <vector>

#include "infer/kernels/half_linear.h"

namespace cots::kernels {

/// How the two products are formed; sums and the softmax are float32 either way.
enum class AttentionProducts {
  kFloat32,
  kBfloat16,  // operands rounded to bfloat16: queries, keys, weights after the softmax, values
};

struct AttentionShape {
  int64_t heads, head_width;  // head h lies at columns [h * head_width, (h + 1) * head_width)
  bool causal = false;        // a query sees the keys up to its own place
  /// Added to the scores, f32 [heads, bias_length, bias_length] by (query's place, key's place); or
  /// null.
  const float* bias = nullptr;
  int64_t bias_length = 0;
  AttentionProducts products = AttentionProducts::kFloat32;
  Dot2Path path = dot2_path();  // of products of bfloat16
};

struct AttentionSequence {
  Rows2d q, k, v;  // of q `queries` rows, of k and v `keys`
  int64_t queries, keys;
  int64_t first_query;  // place of the first query among the keys
  float* out;           // [queries, heads * head_width], rows out_stride apart
  int64_t out_stride;
};

/// out = softmax(q k^T / sqrt(head_width) + bias) v, each sequence and head by itself, with
/// the same bits whatever sequences are beside it. At least one key each.
void attention(const AttentionShape& shape, const std::vector<AttentionSequence>& sequences);

}  // namespace cots::kernels
