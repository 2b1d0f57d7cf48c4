// The rate that model flops are compared with: what a dense float32 product reaches on this
// machine, now.
#pragma once

namespace cots {

/// Best flops a second of C = A B, [1024, 1024] float32 each, over at least three products and
/// `seconds` of them, with the threads of the calling thread. One product warms up first.
double measure_peak_flops(double seconds);

}  // namespace cots
