// The two passes: a strip of rows through the horizontal one, one output row of the vertical one.
// Both sum in 32 bits, exactly. The portable horizontal pass interleaves the pixels of a strip to
// [x][row][4 channels], so that one coefficient multiplies 16 lanes; the vertical pass runs along
// the row and needs no rearrangement.
#pragma once

#include <algorithm>
#include <cstring>

#include "ops/cpu/resize_axis.h"
#if defined(__x86_64__)
#include "ops/cpu/resize_passes_avx2.h"
#endif

namespace cots::ops {
namespace portable {

constexpr int64_t kStripLanes = 4 * kStripRows;
constexpr int32_t kHalf = 1 << (kPrecisionBits - 1);

inline uint8_t clip8(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

/// strip[x][row][channel]; the fourth channel is never read back.
inline void interleave(const uint8_t* const* rows, int64_t width, uint8_t* strip) {
  for (int64_t r = 0; r < kStripRows; ++r) {
    const uint8_t* in = rows[r];
    uint8_t* out = strip + 4 * r;
    for (int64_t x = 0; x + 1 < width; ++x) std::memcpy(out + x * kStripLanes, in + 3 * x, 4);
    std::memcpy(out + (width - 1) * kStripLanes, in + 3 * (width - 1),
                3);  // a fourth byte may lie past the image
  }
}

inline void resize_rows(const uint8_t* const* rows, int64_t width, const Coefficients& c,
                        uint8_t* strip, uint8_t* const* out, int64_t count) {
  interleave(rows, width, strip);
  const int64_t outputs = static_cast<int64_t>(c.window.size());
  const int32_t* k = c.coefficient.data();
  for (int64_t x = 0; x < outputs; ++x, k += c.taps) {
    const Window window = c.window[static_cast<size_t>(x)];
    int32_t sum[kStripLanes];
    for (int64_t l = 0; l < kStripLanes; ++l) sum[l] = kHalf;
    const uint8_t* in = strip + window.first * kStripLanes;
    for (int64_t t = 0; t < window.count; ++t, in += kStripLanes)
      for (int64_t l = 0; l < kStripLanes; ++l) sum[l] += in[l] * k[t];
    for (int64_t r = 0; r < count; ++r)
      for (int64_t channel = 0; channel < 3; ++channel)
        out[r][3 * x + channel] = clip8(sum[4 * r + channel]);
  }
}

inline void resize_columns(const uint8_t* in, int64_t bytes, const Coefficients& c, int64_t y,
                           uint8_t* out) {
  constexpr int64_t kLanes = 64;
  const Window window = c.window[static_cast<size_t>(y)];
  const int32_t* k = c.coefficient.data() + y * c.taps;
  in += window.first * bytes;
  for (int64_t begin = 0; begin < bytes; begin += kLanes) {
    const int64_t lanes = std::min(kLanes, bytes - begin);
    int32_t sum[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) sum[l] = kHalf;
    for (int64_t t = 0; t < window.count; ++t) {
      const uint8_t* row = in + t * bytes + begin;
      for (int64_t l = 0; l < lanes; ++l) sum[l] += row[l] * k[t];
    }
    for (int64_t l = 0; l < lanes; ++l) out[begin + l] = clip8(sum[l]);
  }
}

}  // namespace portable

/// rows: kStripRows rows of `width` RGB pixels; strip: strip_bytes(width), any content; out:
/// `count`
/// <= kStripRows rows of RGB, one pixel a window of the axis.
inline void resize_rows(const uint8_t* const* rows, int64_t width, const Axis& axis, uint8_t* strip,
                        uint8_t* const* out, int64_t count) {
#if defined(__x86_64__)
  if (!axis.pair.empty()) return avx2::resize_rows(rows, width, axis, strip, out, count);
#endif
  portable::resize_rows(rows, width, axis.taps, strip, out, count);
}

/// Output row `y` of `bytes` bytes from input rows of the same length that begin at `in`.
inline void resize_columns(const uint8_t* in, int64_t bytes, const Axis& axis, int64_t y,
                           uint8_t* out) {
#if defined(__x86_64__)
  if (!axis.pair.empty() && bytes >= 32) return avx2::resize_columns(in, bytes, axis, y, out);
#endif
  portable::resize_columns(in, bytes, axis.taps, y, out);
}

}  // namespace cots::ops
