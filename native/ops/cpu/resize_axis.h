// One axis of a resampling as its passes take it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "ops/cpu/isa.h"
#include "ops/resize_coefficients.h"

namespace cots::ops {

struct Axis {
  Coefficients taps;
  /// The same taps two by two, the first of a pair at an even input, for 8- and 16-bit products:
  /// coefficient = high * 2^16 + low. Empty where this machine has no use for it.
  struct Pair {
    uint32_t low;   // two int16, the earlier input in the lower half
    uint16_t high;  // two int8
  };
  std::vector<Pair> pair;
  int64_t pairs = 0;  // an output
};

struct Split {
  int32_t high, low;
};

inline Split split(int32_t coefficient) {
  const int32_t high = (coefficient + (1 << 15)) >> 16;
  return {high, coefficient - high * (1 << 16)};
}

/// False where 8 bits are too few: two products must fit in 16 bits (a filter far from Pillow's).
inline bool make_pairs(Axis& axis) {
  const Coefficients& c = axis.taps;
  axis.pairs = c.taps / 2 + 1;
  axis.pair.resize(c.window.size() * static_cast<size_t>(axis.pairs), {0, 0});
  for (size_t x = 0; x < c.window.size(); ++x) {
    const Window window = c.window[x];
    const int64_t begin = window.first / 2 * 2;
    const auto at = [&](int64_t input) {
      const int64_t t = input - window.first;
      return t < 0 || t >= window.count
                 ? Split{0, 0}
                 : split(c.coefficient[x * static_cast<size_t>(c.taps) + static_cast<size_t>(t)]);
    };
    for (int64_t input = begin; input < window.first + window.count; input += 2) {
      const Split first = at(input), second = at(input + 1);
      if (std::abs(first.high) + std::abs(second.high) > 128 || std::abs(first.high) > 127 ||
          std::abs(second.high) > 127)
        return false;
      axis.pair[x * static_cast<size_t>(axis.pairs) + static_cast<size_t>((input - begin) / 2)] = {
          static_cast<uint32_t>(static_cast<uint16_t>(first.low)) |
              static_cast<uint32_t>(static_cast<uint16_t>(second.low)) << 16,
          static_cast<uint16_t>(static_cast<uint8_t>(first.high) | static_cast<uint8_t>(second.high)
                                                                       << 8)};
    }
  }
  return true;
}

inline Axis resize_axis(int64_t input, int64_t output, std::string_view filter) {
  Axis axis;
  axis.taps = resize_coefficients(input, output, filter);
  if (isa() == Isa::kBaseline || !make_pairs(axis)) axis.pair.clear();
  return axis;
}

/// Rows that the horizontal pass takes side by side, and bytes of its memory for rows of `width`
/// pixels.
constexpr int64_t kStripRows = 4;
inline int64_t strip_bytes(int64_t width) { return (width + 1) * 4 * kStripRows; }

}  // namespace cots::ops
