#include "ops/scale_pixels.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <string>

#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

Tensor bytes(at::IntArrayRef size, uint64_t seed) {
  return at::randint(0, 256, size, test::generator(seed), at::kByte);
}

const ops::PixelScale kScale{{0.48, 0.45, 0.4}, {0.27, 0.26, 0.25}};

}  // namespace

TEST_CASE("scale_pixels is its composite bit for bit, whatever the shape, layout and type") {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& size : {std::vector<int64_t>{0, 4, 4, 3}, {1, 1, 1, 3}, {2, 31, 17, 3}}) {
      ops::PixelScale scale = kScale;
      scale.type = type;
      const Tensor images = bytes(size, 1), found = ops::scale_pixels(images, scale);
      CHECK(found.is_contiguous());
      CHECK(found.equal(ops::scale_pixels_composite(images, scale)));
      const Tensor turned = images.transpose(1, 2);
      CHECK(ops::scale_pixels(turned, scale).equal(ops::scale_pixels_composite(turned, scale)));
    }
}

TEST_CASE("scale_pixels refuses what it does not take") {
  const auto refused = [](const Tensor& images, const ops::PixelScale& scale, const char* words) {
    try {
      ops::scale_pixels(images, scale);
      FAIL("expected an error about ", words);
    } catch (const c10::Error& error) {
      CHECK(std::string(error.what()).find(words) != std::string::npos);
    }
  };
  refused(bytes({2, 4, 4, 4}, 1), kScale, "expected uint8 [B, H, W, 3], got Byte [2, 4, 4, 4]");
  refused(at::zeros({2, 4, 4, 3}), kScale, "got Float");
  ops::PixelScale half = kScale;
  half.type = at::kHalf;
  refused(bytes({1, 2, 2, 3}, 1), half, "expected float32 or bfloat16, got Half");
}
