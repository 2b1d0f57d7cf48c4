// torchvision's ColorJitter on a PIL image: Pillow's ImageEnhance, that is ImagingBlend
// (src/libImaging/Blend.c) with black, the mean gray, or the image's own gray. 0 levels off.
#pragma once

#include <cstdint>

namespace cots::io {

struct Jitter {
  double brightness = 1, contrast = 1, saturation = 1;
  int order = 0;  // 0 to 5: permutation of the three
};

/// rgb: `pixels` packed RGB pixels, changed in place.
void color_jitter(uint8_t* rgb, int64_t pixels, const Jitter& jitter);

}  // namespace cots::io
