// How the work of a layer is cut into pieces for the threads (ops/cpu/tasks.h).
#pragma once

#include "ops/cpu/tasks.h"

namespace cots::kernels {

using ops::for_each_task;

/// How many pieces to cut work into that is `pieces` already: enough for even use of the pool.
inline int64_t cuts(int64_t pieces, int64_t most) {
  constexpr int64_t kTasksAThread = 4;
  const int64_t wanted = kTasksAThread * at::get_num_threads();
  return std::clamp<int64_t>((wanted + pieces - 1) / std::max<int64_t>(pieces, 1), 1, most);
}

/// A run [first, end) of rows or of panels.
struct Span {
  int64_t first, end;
};

/// f(rows, panels) for each piece of a layer's results: blocks of `row_block` rows (the last one
/// takes up to `few_rows` more), each cut by panels where there are fewer blocks than the pool
/// needs.
template <class F>
void for_each_piece(int64_t rows, Span panels, int64_t row_block, int64_t few_rows, const F& f) {
  const int64_t count = panels.end - panels.first,
                row_blocks = std::max<int64_t>(1, (rows + row_block - 1 - few_rows) / row_block),
                column_blocks = cuts(row_blocks, std::max<int64_t>(count / 2, 1)),
                panels_a_block = (count + column_blocks - 1) / column_blocks;
  for_each_task(row_blocks * column_blocks, [&](int64_t task) {
    const int64_t block = task / column_blocks,
                  panel =
                      std::min(panels.end, panels.first + task % column_blocks * panels_a_block);
    f(Span{block * row_block, block + 1 < row_blocks ? (block + 1) * row_block : rows},
      Span{panel, std::min(panels.end, panel + panels_a_block)});
  });
}

}  // namespace cots::kernels
