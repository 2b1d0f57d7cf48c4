#include "train/batch.h"

#include <ATen/ATen.h>

namespace cots {

int64_t total_frames(const at::Tensor& frames_B, int64_t pairs) {
  constexpr int64_t kMost = 1 << 20;  // of a clip: the sum stays far from overflow
  if (!frames_B.defined()) return pairs;
  TORCH_CHECK(frames_B.sizes() == at::IntArrayRef{pairs} && frames_B.scalar_type() == at::kLong,
              "Expected frames of the batch to be Long of shape [", pairs, "], got ",
              frames_B.scalar_type(), " of ", frames_B.sizes(), ".");
  TORCH_CHECK(frames_B.ge(1).all().item<bool>() && frames_B.le(kMost).all().item<bool>(),
              "Expected frames of the batch to lie in [1, ", kMost, "], got ", frames_B, ".");
  return frames_B.sum().item<int64_t>();
}

Batch on_device(const Batch& batch, at::Device device) {
  if (device.is_cpu()) return batch;
  Batch placed = batch;
  for (at::Tensor* t : {&placed.image_NSS3, &placed.ids_BL, &placed.lengths_B, &placed.sample_B,
                        &placed.image_id_B})
    *t = t->to(device);
  return placed;
}

at::Tensor take_rows(const at::Tensor& t, const at::Tensor& rows_b) {
  return t.defined() ? t.index_select(0, rows_b) : t;
}

at::Tensor frame_rows(const at::Tensor& frames_B, const at::Tensor& rows_b) {
  if (!frames_B.defined()) return rows_b;
  const at::Tensor first_B = frames_B.cumsum(0) - frames_B;
  const at::Tensor frames_b = frames_B.index_select(0, rows_b);
  const at::Tensor pair_n = at::repeat_interleave(frames_b);
  const at::Tensor place_n =
      at::arange(pair_n.numel(), pair_n.options()) -
      (frames_b.cumsum(0) - frames_b).index_select(0, pair_n);  // within the clip
  return first_B.index_select(0, rows_b).index_select(0, pair_n) + place_n;
}

}  // namespace cots
