// Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), the generator
// of every random draw.
#pragma once

#include <array>
#include <cstdint>

#include "ops/host_device.h"

namespace cots::ops {

/// Four 32-bit draws of the counter (block, site) under the key. Bijective in the counter for a
/// fixed key.
COTS_HOST_DEVICE inline __attribute__((always_inline)) std::array<uint32_t, 4> philox(
    uint64_t key, uint64_t site, uint64_t block) {
  std::array<uint32_t, 4> c{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                            static_cast<uint32_t>(site), static_cast<uint32_t>(site >> 32)};
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#if !defined(__CUDACC__)  // nvcc unrolls it unasked
#pragma GCC unroll 10
#endif
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

/// The 24 high bits of a draw: uniform = kept * 2^-24, so float32 holds every value exactly and 1
/// is never reached.
COTS_HOST_DEVICE inline uint32_t high_bits(uint32_t draw) { return draw >> 8; }

}  // namespace cots::ops
