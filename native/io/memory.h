// How the process treats freed memory.
#pragma once

namespace cots::io {

/// Keeps freed blocks in the process: a training step frees and allocates the same large temporaries again and again, and
/// giving each back to the kernel costs a page fault for every 4 KB of it the next time. Once a process; idempotent.
void keep_freed_memory();

}  // namespace cots::io
