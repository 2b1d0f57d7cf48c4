// How the process treats freed memory.
#pragma once

namespace cots::io {

/// Makes libtorch keep large freed blocks for the next request of their size instead of giving them
/// back to the kernel. A training step frees and allocates the same few hundred blocks again and
/// again; without this every step pays a page fault for each 4 KB of them (13,800 faults a step at
/// the demo's size). Blocks of 2 MB and more lie on huge pages. Blocks that are kept count against
/// a bound: together with those in use never more than 1/4 above what was in use at once lately, so
/// that peak memory hardly grows (measured: it shrinks, for malloc leaves holes). Once a process;
/// idempotent.
void keep_freed_blocks();

/// Gives every block that is not in use back to the kernel, e.g. when a trainer was disposed.
void release_freed_blocks();

}  // namespace cots::io
