// The one field of EXIF data that moves pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cots::io {

/// The orientation (1 to 8) in an APP1 segment's content, 1 where there is none: a TIFF header
/// after "Exif\0\0", then the tag 0x0112 of its first directory (EXIF 2.32, 4.6).
inline int exif_orientation(const uint8_t* data, size_t size) {
  if (size < 14 || std::memcmp(data, "Exif\0", 6) != 0) return 1;
  const uint8_t* tiff = data + 6;
  const size_t length = size - 6;
  const bool little = tiff[0] == 'I';
  const auto u16 = [&](size_t at) -> size_t {
    return little ? tiff[at] | tiff[at + 1] << 8 : tiff[at] << 8 | tiff[at + 1];
  };
  const auto u32 = [&](size_t at) -> size_t {
    return little ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  };
  const size_t directory = u32(4);
  if (directory > length || length - directory < 2) return 1;
  const size_t entries = u16(directory);
  for (size_t i = 0; i < entries && directory + 2 + 12 * (i + 1) <= length; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (u16(entry) != 0x0112) continue;
    const size_t value = u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

}  // namespace cots::io
