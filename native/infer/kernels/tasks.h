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

/// f(rows, panels) for each piece of a layer's results: blocks of rows, each cut by panels where
/// there are fewer blocks than the pool needs.
template <class F>
void for_each_piece(int64_t rows, Span panels, const F& f) {
  // Rows whose inputs stay in the second-level cache, whole tiles; the last block takes up to
  // kFewRows more.
  constexpr int64_t kRowBlock = 96, kFewRows = 11;
  const int64_t count = panels.end - panels.first,
                row_blocks = std::max<int64_t>(1, (rows + kRowBlock - 1 - kFewRows) / kRowBlock),
                column_blocks = cuts(row_blocks, std::max<int64_t>(count / 2, 1)),
                panels_a_block = (count + column_blocks - 1) / column_blocks;
  for_each_task(row_blocks * column_blocks, [&](int64_t task) {
    const int64_t block = task / column_blocks,
                  panel =
                      std::min(panels.end, panels.first + task % column_blocks * panels_a_block);
    f(Span{block * kRowBlock, block + 1 < row_blocks ? (block + 1) * kRowBlock : rows},
      Span{panel, std::min(panels.end, panel + panels_a_block)});
  });
}

}  // namespace cots::kernels
