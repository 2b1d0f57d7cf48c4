// libjpeg reports errors by a callback that must not return, and is plain C: it leaves by longjmp,
// over frames that hold no C++ object.
#include "io/jpeg.h"

#if defined(COTS_WITH_JPEG)

#include <ATen/ATen.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jpeglib.h>

#include "io/exif.h"

namespace cots::io {
namespace {

struct Complaint {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is one to this
  std::jmp_buf leave;
};

[[noreturn]] void leave(j_common_ptr info) {
  std::longjmp(reinterpret_cast<Complaint*>(info->err)->leave, 1);
}

void leave_at_warning(j_common_ptr info, int level) {
  if (level < 0) leave(info);
}

void begin(jpeg_decompress_struct& info, Complaint& complaint, const uint8_t* bytes,
           int64_t count) {
  info.err = jpeg_std_error(&complaint.manager);
  complaint.manager.error_exit = leave;
  complaint.manager.emit_message = leave_at_warning;
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, bytes, static_cast<unsigned long>(count));
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&info, TRUE);
}

/// False: what sharp must be asked for.
bool is_plain(const jpeg_decompress_struct& info) {
  return info.data_precision == 8 &&
         ((info.jpeg_color_space == JCS_YCbCr && info.num_components == 3) ||
          (info.jpeg_color_space == JCS_GRAYSCALE && info.num_components == 1));
}

bool read_header(const uint8_t* bytes, int64_t count, JpegHeader& header) {
  jpeg_decompress_struct info;
  Complaint complaint;
  if (setjmp(complaint.leave)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  std::memset(&info, 0, sizeof info);
  begin(info, complaint, bytes, count);
  header = {info.image_width, info.image_height, 1};
  for (const jpeg_marker_struct* marker = info.marker_list; marker; marker = marker->next)
    if (const int found = exif_orientation(marker->data, marker->data_length); found != 1)
      header.orientation = found;
  const bool plain = is_plain(info);
  jpeg_destroy_decompress(&info);
  return plain;
}

/// Columns beyond the box that are decoded with it: upsampling looks at its neighbors, and libjpeg
/// knows none outside what it decodes.
constexpr int64_t kMargin = 16;

/// Sets up the decoding of an image to RGB, hands it to `read`, which takes every row, and ends it.
/// False where libjpeg complained: it leaves `read` by longjmp, so nothing there may need a
/// destructor.
template <class Read>
bool decompress(const uint8_t* bytes, int64_t count, const Read& read) {
  jpeg_decompress_struct info;
  Complaint complaint;
  if (setjmp(complaint.leave)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  std::memset(&info, 0, sizeof info);
  begin(info, complaint, bytes, count);
  info.out_color_space = JCS_RGB;
  read(info);
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

/// out: the whole image at 1 / shrink of its size, packed.
bool decode_small(const uint8_t* bytes, int64_t count, int shrink, uint8_t* out) {
  return decompress(bytes, count, [=](jpeg_decompress_struct& info) {
    info.scale_num = 1;
    info.scale_denom = static_cast<unsigned>(shrink);
    jpeg_start_decompress(&info);
    while (info.output_scanline < info.output_height) {
      uint8_t* row = out + 3 * static_cast<size_t>(info.output_scanline) * info.output_width;
      jpeg_read_scanlines(&info, &row, 1);
    }
  });
}

/// row: memory for a row of the whole image. out: the box, packed.
bool decode(const uint8_t* bytes, int64_t count, const Box& box, uint8_t* const row, uint8_t* out) {
  return decompress(bytes, count, [&, out](jpeg_decompress_struct& info) {
    jpeg_start_decompress(&info);
    uint8_t* to = row;
    const JDIMENSION width = info.output_width, height = info.output_height;
    JDIMENSION first = static_cast<JDIMENSION>(std::max<int64_t>(box.left - kMargin, 0));
    JDIMENSION columns =
        static_cast<JDIMENSION>(std::min<int64_t>(box.left + box.width + kMargin, width) - first);
    if (columns < width) jpeg_crop_scanline(&info, &first, &columns);
    if (box.top > 0) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.top));
    const size_t kept = static_cast<size_t>(3 * box.width);
    const uint8_t* inside = row + 3 * (box.left - static_cast<int64_t>(first));
    for (int64_t y = 0; y < box.height; ++y) {
      jpeg_read_scanlines(&info, &to, 1);
      std::memcpy(out + static_cast<size_t>(y) * kept, inside, kept);
    }
    // All of the data is looked at, so that a damaged image is one whatever its box: the last row
    // comes after all before it.
    if (info.output_scanline + 1 < height)
      jpeg_skip_scanlines(&info, height - 1 - info.output_scanline);
    while (info.output_scanline < height) jpeg_read_scanlines(&info, &to, 1);
  });
}

}  // namespace

bool has_jpeg() { return true; }

std::optional<JpegHeader> read_jpeg_header(const uint8_t* bytes, int64_t count) {
  if (count < 4 || bytes[0] != 0xff || bytes[1] != 0xd8) return std::nullopt;
  JpegHeader header{};
  if (!read_header(bytes, count, header)) return std::nullopt;
  return header;
}

std::optional<Tensor> decode_jpeg(const uint8_t* bytes, int64_t count, const Box& box) {
  const std::optional<JpegHeader> header = read_jpeg_header(bytes, count);
  if (!header) return std::nullopt;
  TORCH_CHECK(box.left >= 0 && box.top >= 0 && box.width >= 1 && box.height >= 1 &&
                  box.left + box.width <= header->width && box.top + box.height <= header->height,
              "decode_jpeg: expected a box inside ", header->width, " x ", header->height,
              " pixels, got ", box.width, " x ", box.height, " at (", box.left, ", ", box.top, ")");
  const Tensor row = at::empty({header->width, 3}, at::kByte);
  const Tensor out_HWC = at::empty({box.height, box.width, 3}, at::kByte);
  if (!decode(bytes, count, box, row.mutable_data_ptr<uint8_t>(),
              out_HWC.mutable_data_ptr<uint8_t>()))
    return std::nullopt;
  return out_HWC;
}

std::optional<Tensor> decode_jpeg_small(const uint8_t* bytes, int64_t count, int shrink) {
  const std::optional<JpegHeader> header = read_jpeg_header(bytes, count);
  if (!header) return std::nullopt;
  TORCH_CHECK(shrink == 2 || shrink == 4 || shrink == 8,
              "decode_jpeg_small: expected 2, 4 or 8, got ", shrink);
  const auto smaller = [&](int64_t side) { return (side + shrink - 1) / shrink; };
  const Tensor out_HWC = at::empty({smaller(header->height), smaller(header->width), 3}, at::kByte);
  if (!decode_small(bytes, count, shrink, out_HWC.mutable_data_ptr<uint8_t>())) return std::nullopt;
  return out_HWC;
}

}  // namespace cots::io

#else

namespace cots::io {

bool has_jpeg() { return false; }
std::optional<JpegHeader> read_jpeg_header(const uint8_t*, int64_t) { return std::nullopt; }
std::optional<Tensor> decode_jpeg(const uint8_t*, int64_t, const Box&) { return std::nullopt; }
std::optional<Tensor> decode_jpeg_small(const uint8_t*, int64_t, int) { return std::nullopt; }

}  // namespace cots::io

#endif
