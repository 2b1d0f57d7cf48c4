#include "model/relative_bias.h"

#include <ATen/ATen.h>

namespace cots {

int64_t relative_offsets(int64_t grid) { return (2 * grid - 1) * (2 * grid - 1) + 3; }

Tensor relative_index(int64_t grid) {
  const int64_t patches = grid * grid, offsets = relative_offsets(grid);
  const Tensor place = at::arange(patches, at::kLong);
  const Tensor y = at::floor_divide(place, grid), x = place.remainder(grid);
  const Tensor dy_PP = y.unsqueeze(1) - y.unsqueeze(0), dx_PP = x.unsqueeze(1) - x.unsqueeze(0);
  Tensor index_LL = at::empty({1 + patches, 1 + patches}, at::kLong);
  index_LL.narrow(0, 1, patches)
      .narrow(1, 1, patches)
      .copy_((dy_PP + grid - 1) * (2 * grid - 1) + dx_PP + grid - 1);
  index_LL.select(0, 0).fill_(offsets - 3);  // from CLS
  index_LL.select(1, 0).fill_(offsets - 2);  // to CLS
  index_LL.select(0, 0).select(0, 0).fill_(offsets - 1);
  return index_LL;
}

RelativeBias::RelativeBias(const Scope& scope, int64_t heads, const Tensor& index_LL)
    : index_LL_(index_LL) {
  const int64_t offsets = index_LL.max().item<int64_t>() + 1;
  table_NH_ = scope.add("rel_bias", {offsets, heads}, Init::zeros(), false);
}

Tensor RelativeBias::operator()(Rows rows) const {
  const int64_t L = index_LL_.size(1), queries = rows == Rows::kFirst ? 1 : L;
  if (index_LL_.device() != table_NH_.device()) index_LL_ = index_LL_.to(table_NH_.device());
  const Tensor index = index_LL_.narrow(0, 0, queries).reshape({-1});
  return table_NH_.index_select(0, index).view({1, queries, L, -1}).permute({0, 3, 1, 2});
}

}  // namespace cots
