// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011) keyed by row: a draw depends on
// (seed, step, global sample index, site, element) alone, never on batch, order or thread count
// (DESIGN 2.7).
#pragma once

#include <ATen/core/Tensor.h>

namespace cots::ops {

using at::Tensor;

/// int64 [B]: one key a row, mixed from seed, step and the global sample index.
Tensor sample_keys(int64_t seed, int64_t step, const Tensor& sample_B);

/// f32 [B, n], uniform in [0, 1).
Tensor keyed_uniform(const Tensor& keys_B, int64_t site, int64_t n);

/// Inverted dropout of x_B...: elements of row b are zeroed with probability p, the rest divided by
/// 1 - p. Differentiable; the mask is drawn again in backward instead of being stored. With
/// `starts`, int64 [B + 1], key b is that of the rows [starts[b], starts[b + 1]) of x, on a CPU.
Tensor keyed_dropout(const Tensor& x, const Tensor& keys_B, int64_t site, double p,
                     const Tensor& starts = {});
/// The same from keyed_uniform and where; any float type.
Tensor keyed_dropout_composite(const Tensor& x, const Tensor& keys_B, int64_t site, double p);

/// f32 [n] standard normal draws of one key (Box-Muller), for weight initialization.
Tensor keyed_normal(int64_t key, int64_t n);

/// 64-bit mix of two words (splitmix64 finalizer), used to derive keys, e.g. from a seed and a
/// hashed name.
uint64_t mix(uint64_t a, uint64_t b);

}  // namespace cots::ops
