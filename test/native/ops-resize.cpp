#include <ATen/ATen.h>

#include <vector>

#include "ops/resize.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

Tensor random_image(int64_t height, int64_t width, uint64_t seed) {
  return at::randint(256, {height, width, 3}, test::generator(seed),
                     at::TensorOptions().dtype(at::kByte));
}

/// The red channel; the image of the golden values: value = (37 x + 101 y + 53 c + 7 x y) mod 256.
Tensor golden_image(int64_t height, int64_t width) {
  Tensor image = at::empty({height, width, 3}, at::kByte);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.mutable_data_ptr<uint8_t>()[(y * width + x) * 3 + c] =
            static_cast<uint8_t>((37 * x + 101 * y + 53 * c + 7 * x * y) % 256);
  return image;
}

}  // namespace

TEST_CASE("resize equals its composite for every filter, up and down, odd sizes and 1 x 1") {
  uint64_t seed = 0;
  for (const char* filter : {"bicubic", "bilinear", "lanczos"})
    for (const auto& [height, width] : {std::pair{1, 1}, {1, 17}, {5, 4}, {33, 67}, {123, 257}})
      for (const auto& [to_height, to_width] :
           {std::pair{1, 1}, {7, 3}, {33, 67}, {64, 21}, {130, 257}, {2, 300}}) {
        const Tensor image = random_image(height, width, ++seed);
        const Tensor resized = ops::resize(image, to_width, to_height, filter);
        REQUIRE(resized.sizes() == at::IntArrayRef({to_height, to_width, 3}));
        CHECK(resized.equal(ops::resize_composite(image, to_width, to_height, filter)));
      }
}

TEST_CASE("resize gives Pillow's bytes") {
  // Image.fromarray(image).resize((4, 3), FILTER) of Pillow 13.0.0, the red channel, for the golden
  // 7 x 5 image.
  const std::vector<std::pair<const char*, std::vector<int64_t>>> golden{
      {"bicubic", {60, 130, 121, 154, 170, 144, 114, 169, 131, 114, 125, 112}},
      {"bilinear", {64, 127, 121, 153, 165, 137, 121, 168, 130, 117, 123, 112}},
      {"lanczos", {60, 131, 122, 153, 170, 155, 107, 164, 128, 111, 128, 114}}};
  for (const auto& [filter, red] : golden) {
    const Tensor resized = ops::resize(golden_image(5, 7), 4, 3, filter);
    CHECK(resized.select(2, 0).to(at::kLong).flatten().equal(at::tensor(red, at::kLong)));
  }
}

TEST_CASE("resize runs the vertical pass first where Pillow 13 does") {
  // The golden 9 x 23 image to 8 x 5: 18 rows go, one column. Sum of the bytes times (index + 1),
  // by Pillow 13.0.0.
  const std::vector<std::pair<const char*, int64_t>> golden{
      {"bicubic", 919975}, {"bilinear", 920182}, {"lanczos", 921298}};
  for (const auto& [filter, sum] : golden) {
    const Tensor bytes = ops::resize(golden_image(23, 9), 8, 5, filter).to(at::kLong).flatten();
    CHECK((bytes * at::arange(1, 121, at::kLong)).sum().item<int64_t>() == sum);
  }
}

TEST_CASE("resize to the same size copies, and takes a non-contiguous image") {
  const Tensor image = random_image(6, 8, 1), same = ops::resize(image, 8, 6, "bicubic");
  CHECK(same.equal(image));
  CHECK_FALSE(same.is_same(image));
  CHECK(same.data_ptr() != image.data_ptr());
  const Tensor turned = random_image(8, 6, 2).transpose(0, 1);
  CHECK(ops::resize(turned, 5, 4, "lanczos")
            .equal(ops::resize(turned.contiguous(), 5, 4, "lanczos")));
}

TEST_CASE("resize of a large image, whose rows are shared by threads") {
  const Tensor image = random_image(1500, 2000, 3);
  CHECK(ops::resize(image, 224, 224, "bicubic")
            .equal(ops::resize_composite(image, 224, 224, "bicubic")));
}

TEST_CASE("resize refuses what is not an RGB image, a size of 0 and an unknown filter") {
  CHECK_THROWS_WITH_AS(ops::resize(at::zeros({4, 4}, at::kByte), 2, 2, "bicubic"),
                       doctest::Contains("uint8 [H, W, 3]"), c10::Error);
  CHECK_THROWS_WITH_AS(ops::resize(random_image(2, 2, 1), 0, 2, "bicubic"),
                       doctest::Contains("at least 1 x 1"), c10::Error);
  CHECK_THROWS_WITH_AS(ops::resize(random_image(2, 2, 1), 3, 3, "nearest"),
                       doctest::Contains("got 'nearest'"), c10::Error);
}
