#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "io/exif.h"
#include "io/jpeg.h"
#include "tensors.h"

#if defined(COTS_WITH_JPEG)
#include <jpeglib.h>
#include <cstdio>
#endif

using namespace cots;
using at::Tensor;

TEST_CASE("exif_orientation finds the tag in either byte order, and 1 in anything else") {
  using namespace std::string_literals;
  const std::string little =
      "Exif\0\0II*\0\x08\0\0\0\x02\0\x0f\x01\x03\0\x01\0\0\0\x05\0\0\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"s;
  const std::string big = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"s;
  const auto orientation = [](const std::string& text) {
    const std::vector<uint8_t> exact(text.begin(), text.end());  // a read past it shows under ASan
    return io::exif_orientation(exact.data(), exact.size());
  };
  CHECK(orientation(little) == 6);
  CHECK(orientation(big) == 8);
  for (size_t length = 0; length < little.size() - 2; ++length)
    CHECK(orientation(little.substr(0, length)) == 1);
  CHECK(orientation("Exif\0\0II*\0\xff\xff\xff\xff\x01\0"s) == 1);
  CHECK(orientation("http://ns.adobe.com/xap/1.0/\0"s) == 1);
}

#if defined(COTS_WITH_JPEG)
namespace {

struct Kind {
  int components, horizontal, vertical;  // sampling of the first component
  bool progressive;
  int restart;
};

std::vector<uint8_t> encode(const Tensor& image_HWC, const Kind& kind) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(image_HWC.size(1));
  info.image_height = static_cast<JDIMENSION>(image_HWC.size(0));
  info.input_components = kind.components;
  info.in_color_space = kind.components == 3 ? JCS_RGB : JCS_GRAYSCALE;
  jpeg_set_defaults(&info);
  info.comp_info[0].h_samp_factor = kind.horizontal;
  info.comp_info[0].v_samp_factor = kind.vertical;
  info.restart_interval = static_cast<unsigned>(kind.restart);
  if (kind.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  const uint8_t* rows = image_HWC.const_data_ptr<uint8_t>();
  while (info.next_scanline < info.image_height) {
    uint8_t* row = const_cast<uint8_t*>(rows) + info.next_scanline * image_HWC.stride(0);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const std::vector<uint8_t> bytes(buffer, buffer + size);
  free(buffer);
  return bytes;
}

std::optional<Tensor> decode(const std::vector<uint8_t>& bytes, const io::Box& box) {
  return io::decode_jpeg(bytes.data(), static_cast<int64_t>(bytes.size()), box);
}

Tensor noise(int64_t height, int64_t width, int64_t channels, uint64_t seed) {
  return at::randint(256, {height, width, channels}, test::generator(seed),
                     at::TensorOptions().dtype(at::kByte));
}

const std::vector<Kind> kKinds{{3, 1, 1, false, 0}, {3, 2, 1, false, 0}, {3, 2, 2, false, 0},
                               {3, 1, 2, false, 0}, {3, 2, 2, false, 3}, {3, 2, 2, true, 0},
                               {3, 4, 1, false, 0}, {1, 1, 1, false, 0}, {3, 1, 1, true, 0}};

}  // namespace

TEST_CASE("decode_jpeg gives of any box the pixels of the whole image") {
  uint64_t seed = 0;
  for (const Kind& kind : kKinds)
    for (const auto& [height, width] : {std::pair<int64_t, int64_t>{97, 131}, {48, 64}, {17, 5}}) {
      const auto bytes = encode(noise(height, width, kind.components, ++seed), kind);
      const Tensor whole = *decode(bytes, {0, 0, width, height});
      const Tensor draws = at::rand({40, 4}, test::generator(++seed));
      for (int64_t i = 0; i < draws.size(0); ++i) {
        const auto draw = [&](int64_t j, int64_t below) {
          return static_cast<int64_t>(draws[i][j].item<float>() * static_cast<float>(below));
        };
        const int64_t left = draw(0, width), top = draw(1, height);
        const int64_t w = 1 + draw(2, width - left), h = 1 + draw(3, height - top);
        const Tensor box = *decode(bytes, {left, top, w, h});
        CHECK(box.equal(whole.narrow(0, top, h).narrow(1, left, w)));
      }
    }
}

TEST_CASE("decode_jpeg answers nothing for damaged, cut or foreign data, whatever the box") {
  const auto bytes = encode(noise(64, 64, 3, 1), {3, 2, 2, false, 0});
  REQUIRE(decode(bytes, {0, 0, 8, 8}));
  for (const size_t length : {size_t{0}, size_t{3}, bytes.size() / 4, bytes.size() - 2})
    CHECK_FALSE(
        decode({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)}, {0, 0, 8, 8}));
  auto damaged = bytes;
  for (size_t i = bytes.size() - 60; i < bytes.size() - 30; ++i) damaged[i] = 0xff;
  CHECK_FALSE(decode(damaged, {0, 0, 8, 8}));
  CHECK_FALSE(io::read_jpeg_header(reinterpret_cast<const uint8_t*>("GIF89a.."), 8));
  CHECK_THROWS_WITH_AS(decode(bytes, {60, 0, 8, 8}), doctest::Contains("a box inside 64 x 64"),
                       c10::Error);
}
#endif
