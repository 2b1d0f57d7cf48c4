#include "train/key_pass.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>

namespace cots {

Keys key_pass(const Towers& momentum, const ops::PixelScale& pixels, const Batch& batch,
              int64_t rows_at_once) {
  const at::NoGradGuard no_grad;
  const int64_t B = batch.ids_BL.size(0);
  std::vector<Tensor> images, texts;
  for (int64_t first = 0; first < B; first += rows_at_once) {
    const int64_t rows = std::min(rows_at_once, B - first);
    const Tensor row_b = at::arange(first, first + rows, batch.ids_BL.options());
    const Tensor images_n = batch.image_NSS3.index_select(0, frame_rows(batch.frames_B, row_b));
    const Encoded frames =
        momentum.encode_image(ops::scale_pixels(images_n, pixels), {}, {}, Need::kGlobal);
    images.push_back(mean_of_frames(frames, take_rows(batch.frames_B, row_b)).embedding_BD);
    texts.push_back(momentum
                        .encode_text(batch.ids_BL.narrow(0, first, rows),
                                     batch.lengths_B.narrow(0, first, rows), {}, Need::kGlobal)
                        .embedding_BD);
  }
  const Tensor image_BD = at::cat(images), text_BD = at::cat(texts);

  // A row is zeroed by selection, never by multiplication: 0 * NaN = NaN.
  Keys keys;
  keys.finite_B = image_BD.isfinite().all(1).logical_and(text_BD.isfinite().all(1));
  const Tensor finite_B1 = keys.finite_B.unsqueeze(1);
  keys.image_BD = at::where(finite_B1, image_BD, 0);
  keys.text_BD = at::where(finite_B1, text_BD, 0);
  keys.score_B = at::where(keys.finite_B, (keys.image_BD * keys.text_BD).sum(1),
                           std::numeric_limits<float>::quiet_NaN());
  return keys;
}

}  // namespace cots
