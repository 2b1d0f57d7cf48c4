// Relative position bias of BEiT (Bao et al. 2022): what an attention score gains by the offset of
// its two patches, a learned table a head. Legend: P = g * g patches, L = 1 + P tokens, H heads, N
// = (2 g - 1)^2 + 3 offsets.
#pragma once

#include <cstdint>

#include "model/parameters.h"

namespace cots {

/// Which rows of a block's output the caller needs. A tower of which only the CLS state is used
/// (contrast, momentum keys, embeddings with pool `cls`) skips in its last block what the other
/// rows alone need: about 5/6 of that block.
enum class Rows { kAll, kFirst };

/// N: every (dy, dx) of two patches, then CLS to patch, patch to CLS, CLS to CLS.
int64_t relative_offsets(int64_t grid);

/// int64 [L, L]: the table's row of each pair (query, key). One tensor serves all layers.
Tensor relative_index(int64_t grid);

class RelativeBias {
 public:
  RelativeBias() = default;
  /// Registers rel_bias [N, H] under `scope`, zero at first. index_LL of relative_index().
  RelativeBias(const Scope& scope, int64_t heads, const Tensor& index_LL);
  bool defined() const { return table_NH_.defined(); }
  const Tensor& table() const { return table_NH_; }
  /// f32 [1, H, L, L], or [1, H, 1, L] with Rows::kFirst: the queries that are asked for.
  Tensor operator()(Rows rows) const;

 private:
  Tensor table_NH_;
  mutable Tensor index_LL_;  // follows the table to its device
};

}  // namespace cots
