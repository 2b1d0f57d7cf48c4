// A box of a JPEG by the system's libjpeg-turbo, where the build found one. It answers only for
// what it decoded without a single complaint, from the header to the end marker, whatever the box;
// for the rest (other color spaces, damaged or cut data) the caller asks sharp, whose words then
// count.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace cots::io {

using at::Tensor;

/// False: every function below answers nothing.
bool has_jpeg();

struct JpegHeader {
  int64_t width, height;
  int orientation;  // of its EXIF data, 1 to 8; 1 without
};

/// Nothing for what is no JPEG of 8-bit gray or YCbCr.
std::optional<JpegHeader> read_jpeg_header(const uint8_t* bytes, int64_t count);

struct Box {
  int64_t left, top, width, height;
};

/// The pixels of `box`, uint8 [height, width, 3], orientation not applied: those that libjpeg-turbo
/// and with it Pillow and sharp give. A box inside the image is the caller's duty.
std::optional<Tensor> decode_jpeg(const uint8_t* bytes, int64_t count, const Box& box);

/// The whole image at 1 / shrink of its size, sides rounded up, by a smaller inverse transform of
/// each block: Pillow's `draft`. shrink: 2, 4 or 8.
std::optional<Tensor> decode_jpeg_small(const uint8_t* bytes, int64_t count, int shrink);

}  // namespace cots::io
