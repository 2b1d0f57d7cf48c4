// What a Jitter does, in order; the portable and the wide version of it take these.
#pragma once

#include <cstdint>

namespace cots::io {

enum class Enhancement { kBrightness, kContrast, kSaturation };

struct Step {
  Enhancement enhancement;
  float factor;
  float level = 0;  // kContrast: the mean gray; kBrightness: 0

  /// Else blends lie between a level and a byte, and need no clipping.
  bool extrapolates() const { return factor < 0 || factor > 1; }
};

/// At most three; a factor of 1 is no step.
struct Steps {
  Step step[3];
  int count = 0;
};

}  // namespace cots::io
