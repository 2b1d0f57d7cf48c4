// Scaled dot-product attention over sequences of mixed length that lie one after the other, without
// padding. Legend: M rows of all sequences, S sequences, d width, H heads of width w = d / H.
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

struct AttentionArguments {
  /// [M, 3 d]: query, key and value of each row side by side. With query_Sd [M, 2 d]: key and
  /// value.
  Tensor rows_M;
  /// Where only the first row of each sequence is asked for: its query, [S, d]. Else undefined.
  Tensor query_Sd = {};
  /// int64 [S + 1] on the CPU: sequence s has the rows [starts[s], starts[s + 1]), at least one.
  Tensor starts;
  int64_t heads;
  bool causal = false;  // a row sees itself and those before it
};

/// Schemas cots::attention and cots::attention_backward, float32 on a CPU: softmax(q k^T / sqrt(w))
/// v, each sequence and head by itself. Returns [M, d], or [S, d] with query_Sd. What is kept for
/// backward are the arguments: the probabilities are formed again.
Tensor attention(const AttentionArguments& arguments);
/// The same by plain torch operations, a sequence at a time; any float type.
Tensor attention_composite(const AttentionArguments& arguments);

}  // namespace cots::ops
