// A launch of a kernel, as the launch sequences of this folder (NAME.cuh) see it: they call
// launch(kernel, grid, threads, shared bytes, arguments) and leave to the caller whether a GPU's
// stream takes it (launch.cuh) or the host's emulation does (test/native/cuda-emulator.h).
#pragma once

#include <algorithm>
#include <cstdint>

struct CUstream_st;  // CUDA's own name of a stream, so that no CUDA header is needed here

namespace cots::cuda {

using Stream = CUstream_st*;

struct Grid {
  unsigned x = 1, y = 1;
};

/// Blocks of `threads` for `count` elements, by a grid-stride loop where there are more.
inline Grid grid_for(int64_t count, int threads) {
  constexpr int64_t kMostBlocks = 1 << 16;
  return {
      static_cast<unsigned>(std::clamp<int64_t>((count + threads - 1) / threads, 1, kMostBlocks))};
}

/// Exactly `blocks` blocks.
inline Grid exact_grid(int64_t blocks) { return {static_cast<unsigned>(blocks)}; }

}  // namespace cots::cuda
