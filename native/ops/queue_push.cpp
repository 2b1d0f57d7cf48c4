// Legend: N entries of the queue, B pairs of the batch, D embedding.
#include "ops/queue_push.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/library.h>

#include <algorithm>

#include "ops/dispatch.h"

namespace cots::ops {
namespace {

void check(const Tensor& x, const char* name, at::IntArrayRef shape, at::ScalarType type,
           at::Device device) {
  TORCH_CHECK(
      x.sizes() == shape && x.scalar_type() == type && x.is_contiguous() && x.device() == device,
      "queue_push_: expected ", name, " as contiguous ", type, " ", shape, " on ", device, ", got ",
      x.scalar_type(), " ", x.sizes(), " on ", x.device());
}

}  // namespace

void queue_push_(const QueueColumns& queue, const QueueBatch& batch) {
  static const auto op =
      find_op<void(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                   const Tensor&)>("cots::queue_push_");
  op.call(queue.image_ND, queue.text_ND, queue.score_N, queue.id_N, queue.valid_N, queue.cursor_2,
          batch.image_BD, batch.text_BD, batch.score_B, batch.id_B, batch.keep_B);
}

void queue_push_composite_(const QueueColumns& queue, const QueueBatch& batch) {
  const at::NoGradGuard no_grad;
  const int64_t N = queue.score_N.size(0);
  const int64_t next = queue.cursor_2[0].item<int64_t>(),
                filled = queue.cursor_2[1].item<int64_t>();
  const Tensor row_P = batch.keep_B.nonzero().squeeze(1);
  const int64_t pushed = row_P.size(0), stay = std::min(pushed, N);
  const Tensor last = row_P.narrow(0, pushed - stay, stay);
  const Tensor place = (at::arange(pushed - stay, pushed, last.options()) + next).remainder(N);
  const auto write = [&](const Tensor& column, const Tensor& entries) {
    column.index_copy_(0, place, entries.index_select(0, last));
  };
  write(queue.image_ND, batch.image_BD);
  write(queue.text_ND, batch.text_BD);
  write(queue.score_N, batch.score_B);
  write(queue.id_N, batch.id_B);
  queue.valid_N.index_fill_(0, place, true);
  queue.cursor_2[0].fill_((next + pushed) % N);
  queue.cursor_2[1].fill_(std::min(N, filled + pushed));
}

void check_queue_push(const QueueColumns& queue, const QueueBatch& batch) {
  TORCH_CHECK(queue.image_ND.dim() == 2 && queue.image_ND.size(0) >= 1,
              "queue_push_: expected a queue [N, D] of at least one entry, got ",
              queue.image_ND.sizes());
  TORCH_CHECK(batch.score_B.dim() == 1, "queue_push_: expected scores [B], got ",
              batch.score_B.sizes());
  const int64_t N = queue.image_ND.size(0), D = queue.image_ND.size(1), B = batch.score_B.size(0);
  const at::ScalarType type = queue.image_ND.scalar_type();
  const at::Device device = queue.image_ND.device();
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16,
              "queue_push_: expected a queue of float32 or bfloat16, got ", type);
  TORCH_CHECK(D * queue.image_ND.element_size() % 4 == 0,
              "queue_push_: expected rows of whole 4 bytes, got ", D, " elements of ", type);
  check(queue.image_ND, "image queue", {N, D}, type, device);
  check(queue.text_ND, "text queue", {N, D}, type, device);
  check(queue.score_N, "score queue", {N}, at::kFloat, device);
  check(queue.id_N, "id queue", {N}, at::kLong, device);
  check(queue.valid_N, "valid flags", {N}, at::kBool, device);
  check(queue.cursor_2, "cursor", {2}, at::kLong, device);
  check(batch.image_BD, "image keys", {B, D}, type, device);
  check(batch.text_BD, "text keys", {B, D}, type, device);
  check(batch.score_B, "scores", {B}, at::kFloat, device);
  check(batch.id_B, "ids", {B}, at::kLong, device);
  check(batch.keep_B, "keep flags", {B}, at::kBool, device);
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "queue_push_(Tensor(a!) image_queue, Tensor(b!) text_queue, Tensor(c!) score_queue, "
      "Tensor(d!) id_queue, Tensor(e!) valid, Tensor(f!) cursor, Tensor image, Tensor text, "
      "Tensor score, Tensor id, Tensor keep) -> ()");
}

}  // namespace cots::ops
