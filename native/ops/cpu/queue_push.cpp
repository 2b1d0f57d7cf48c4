// Legend: N entries of the queue, B pairs of the batch.
#include "ops/queue_push.h"

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>

namespace cots::ops {
namespace {

void queue_push_cpu_(const Tensor& image_ND, const Tensor& text_ND, const Tensor& score_N,
                     const Tensor& id_N, const Tensor& valid_N, const Tensor& cursor_2,
                     const Tensor& image_BD, const Tensor& text_BD, const Tensor& score_B,
                     const Tensor& id_B, const Tensor& keep_B) {
  check_queue_push({image_ND, text_ND, score_N, id_N, valid_N, cursor_2},
                   {image_BD, text_BD, score_B, id_B, keep_B});
  const int64_t N = score_N.size(0), B = score_B.size(0);
  const auto row_bytes = static_cast<size_t>(image_ND.size(1) * image_ND.element_size());
  const bool* keep = keep_B.const_data_ptr<bool>();
  int64_t* cursor = cursor_2.mutable_data_ptr<int64_t>();
  const auto copy_row = [&](const Tensor& to, int64_t place, const Tensor& from, int64_t row) {
    std::memcpy(static_cast<std::byte*>(to.mutable_data_ptr()) + place * row_bytes,
                static_cast<const std::byte*>(from.const_data_ptr()) + row * row_bytes, row_bytes);
  };
  // In order, so that of more than N rows the last N are what stays.
  int64_t place = cursor[0], pushed = 0;
  for (int64_t row = 0; row < B; ++row) {
    if (!keep[row]) continue;
    copy_row(image_ND, place, image_BD, row);
    copy_row(text_ND, place, text_BD, row);
    score_N.mutable_data_ptr<float>()[place] = score_B.const_data_ptr<float>()[row];
    id_N.mutable_data_ptr<int64_t>()[place] = id_B.const_data_ptr<int64_t>()[row];
    valid_N.mutable_data_ptr<bool>()[place] = true;
    place = (place + 1) % N;
    ++pushed;
  }
  cursor[0] = place;
  cursor[1] = std::min(N, cursor[1] + pushed);
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) { m.impl("queue_push_", queue_push_cpu_); }

}  // namespace cots::ops
