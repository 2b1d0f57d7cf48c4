// Which columns of the queue are special for which row: sparse lists, because almost none are.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ops/queue_contrast.h"

namespace cots::ops {

/// Sorted columns a row.
class ColumnLists {
 public:
  ColumnLists() = default;
  explicit ColumnLists(std::vector<std::vector<int64_t>> columns) : columns_(std::move(columns)) {
    for (const auto& row : columns_) empty_ = empty_ && row.empty();
  }

  bool empty() const { return empty_; }
  int64_t count(int64_t row) const {
    return empty_ ? 0 : static_cast<int64_t>(columns_[static_cast<size_t>(row)].size());
  }
  /// The columns of `row` in [begin, end).
  std::span<const int64_t> within(int64_t row, int64_t begin, int64_t end) const {
    if (empty_) return {};
    const auto& list = columns_[static_cast<size_t>(row)];
    const auto first = std::lower_bound(list.begin(), list.end(), begin);
    return {first, std::lower_bound(first, list.end(), end)};
  }

 private:
  std::vector<std::vector<int64_t>> columns_;
  bool empty_ = true;
};

/// (masked, matched) columns of the rows active_A (their places in the batch), by the policy of
/// `options`. Column batch_key_column + place is the row's own key: always masked.
inline std::pair<ColumnLists, ColumnLists> column_lists(const at::Tensor& active_A, int64_t n,
                                                        const std::optional<at::Tensor>& id_B,
                                                        const std::optional<at::Tensor>& queue_id_n,
                                                        const ContrastOptions& options) {
  const auto A = static_cast<size_t>(active_A.size(0));
  const int64_t* place = active_A.const_data_ptr<int64_t>();
  const auto own = [&](size_t row) {
    return options.batch_key_column < 0 ? -1 : options.batch_key_column + place[row];
  };
  std::vector<std::vector<int64_t>> masked(A), matched(A);
  if (options.duplicate_policy != DuplicatePolicy::kKeep) {
    auto& same_image =
        options.duplicate_policy == DuplicatePolicy::kMaskSameImage ? masked : matched;
    const at::Tensor id = id_B->contiguous(), queue_id = queue_id_n->contiguous();
    std::unordered_map<int64_t, std::vector<size_t>> rows_of_id;
    for (size_t row = 0; row < A; ++row)
      rows_of_id[id.const_data_ptr<int64_t>()[place[row]]].push_back(row);
    for (int64_t j = 0; j < n; ++j) {
      const auto found = rows_of_id.find(queue_id.const_data_ptr<int64_t>()[j]);
      if (found == rows_of_id.end()) continue;
      for (const size_t row : found->second)
        if (j != own(row)) same_image[row].push_back(j);
    }
  }
  for (size_t row = 0; row < A; ++row)
    if (own(row) >= 0 && own(row) < n)
      masked[row].insert(std::lower_bound(masked[row].begin(), masked[row].end(), own(row)),
                         own(row));
  return {ColumnLists(std::move(masked)), ColumnLists(std::move(matched))};
}

}  // namespace cots::ops
