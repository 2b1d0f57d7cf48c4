#include <ATen/ATen.h>

#include <vector>

#include "io/pixels.h"
#include "ops/resize.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

Tensor random_image(int64_t height, int64_t width, uint64_t seed) {
  return at::randint(256, {height, width, 3}, test::generator(seed),
                     at::TensorOptions().dtype(at::kByte));
}

/// The image of the golden values: value = (37 x + 101 y + 53 c + 7 x y) mod 256.
Tensor golden_image(int64_t height, int64_t width) {
  Tensor image = at::empty({height, width, 3}, at::kByte);
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.mutable_data_ptr<uint8_t>()[(y * width + x) * 3 + c] =
            static_cast<uint8_t>((37 * x + 101 * y + 53 * c + 7 * x * y) % 256);
  return image;
}

io::Transform whole(const Tensor& image) {
  io::Transform t;
  t.width = image.size(1), t.height = image.size(0);
  return t;
}

}  // namespace

TEST_CASE("make_views crops, flips and resizes each view alike") {
  const Tensor image = random_image(40, 50, 1);
  io::Transform t;
  t.left = 5, t.top = 7, t.width = 30, t.height = 20, t.flip = true;
  const auto views = io::make_views(image, t, {{16, "bicubic", true}, {8, "lanczos", false}});
  const Tensor cropped = image.narrow(0, 7, 20).narrow(1, 5, 30).flip(1).contiguous();
  REQUIRE(views.size() == 2);
  CHECK(views[0].equal(ops::resize(cropped, 16, 16, "bicubic")));
  CHECK(views[1].equal(ops::resize(cropped, 8, 8, "lanczos")));
}

TEST_CASE("a view of a larger frame is the middle of it, the smaller margin first") {
  const Tensor image = at::arange(7 * 9 * 3).to(at::kByte).view({7, 9, 3});
  io::Transform t;
  t.width = 9, t.height = 7;
  const Tensor whole = ops::resize(image, 11, 8, "bicubic");
  const auto views = io::make_views(
      image, t, {{.size = 6, .filter = "bicubic", .jitter = false, .width = 11, .height = 8}});
  CHECK(at::equal(views[0], whole.narrow(0, 1, 6).narrow(1, 2, 6)));
}

TEST_CASE("make_views jitters colors as Pillow's ImageEnhance does, byte for byte") {
  // ImageEnhance.Brightness(0.73), Contrast(1.31), Color(0.45) of Pillow 13.0.0, in the six orders,
  // on the golden 4 x 4 image; the sum over the image of value * (index + 1).
  const Tensor image = golden_image(4, 4);
  const std::vector<int64_t> golden{116410, 114571, 113626, 113499, 114527, 114609};
  for (int order = 0; order < 6; ++order) {
    io::Transform t = whole(image);
    t.jitter = true;
    t.color = {0.73, 1.31, 0.45, order};
    const auto views = io::make_views(image, t, {{4, "bicubic", true}, {4, "bicubic", false}});
    const Tensor bytes = views[0].to(at::kLong).flatten();
    CHECK((bytes * at::arange(1, 49, at::kLong)).sum().item<int64_t>() ==
          golden[static_cast<size_t>(order)]);
    CHECK(views[1].equal(image));  // the view that takes no jitter
  }
}

TEST_CASE("color jitter of any number of pixels is one pixel's, again and again") {
  // Brightness and saturation look at each pixel alone, contrast at the mean too: the images below
  // repeat one row, whose mean is theirs.
  const Tensor row = random_image(1, 8, 3);
  for (const double factor : {0.6, 1.0, 1.37})
    for (int order = 0; order < 6; ++order) {
      const io::Jitter jitter{1.4, factor, 1.9 - factor, order};
      Tensor once = row.clone();
      io::color_jitter(once.mutable_data_ptr<uint8_t>(), 8, jitter);
      for (const int64_t repeats : {2, 3, 131}) {
        Tensor many = row.repeat({repeats, 1, 1});
        io::color_jitter(many.mutable_data_ptr<uint8_t>(), 8 * repeats, jitter);
        CHECK(many.equal(once.repeat({repeats, 1, 1})));
      }
      for (const int64_t pixels : {1, 7, 9, 15}) {  // gray pixels: saturation leaves them
        Tensor gray = at::full({pixels, 3}, 100, at::kByte);
        io::color_jitter(gray.mutable_data_ptr<uint8_t>(), pixels, jitter);
        CHECK(gray.eq(140).all().item<bool>());
      }
    }
}

TEST_CASE("make_views refuses a crop outside the image") {
  const Tensor image = random_image(4, 5, 1);
  io::Transform t = whole(image);
  t.left = 1;
  CHECK_THROWS_WITH_AS(io::make_views(image, t, {{2, "bicubic", false}}),
                       doctest::Contains("a crop inside 5 x 4 pixels"), c10::Error);
}

TEST_CASE("normalize and to_unit_range give planes of floats") {
  const Tensor images =
      at::randint(256, {3, 31, 31, 3}, test::generator(2), at::TensorOptions().dtype(at::kByte));
  const double mean[3] = {0.48145466, 0.4578275, 0.40821073},
               std[3] = {0.26862954, 0.26130258, 0.27577711};
  const Tensor unit = images.permute({0, 3, 1, 2}).to(at::kFloat) / 255;
  CHECK(io::to_unit_range(images).equal(unit));
  const auto plane = [](const double(&x)[3]) {
    return at::tensor({x[0], x[1], x[2]}, at::kFloat).view({1, 3, 1, 1});
  };
  CHECK(io::normalize(images, mean, std).equal((unit - plane(mean)) / plane(std)));
  CHECK(io::to_unit_range(images.narrow(0, 0, 0)).sizes() == at::IntArrayRef({0, 3, 31, 31}));
}
