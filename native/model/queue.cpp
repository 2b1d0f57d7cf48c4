#include "model/queue.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "io/failure.h"
#include "ops/keyed_random.h"

namespace cots {
namespace {

constexpr int64_t kNoId = -1;
constexpr uint64_t kImageDraw = 1, kTextDraw = 2;

Tensor random_unit_rows(int64_t seed, uint64_t draw, int64_t rows, int64_t columns) {
  const auto key = static_cast<int64_t>(ops::mix(static_cast<uint64_t>(seed), draw));
  const Tensor normal = ops::keyed_normal(key, rows * columns).view({rows, columns});
  return normal / normal.norm(2, -1, true).clamp_min(1e-12);
}

}  // namespace

Queue::Queue(int64_t size, int64_t embed_dim) {
  TORCH_CHECK(size >= 1, "Expected a queue of at least 1 pair, got ", size, ".");
  columns_ = {.image_ND = at::zeros({size, embed_dim}),
              .text_ND = at::zeros({size, embed_dim}),
              .score_N = at::zeros({size}),
              .id_N = at::full({size}, kNoId, at::kLong),
              .valid_N = at::zeros({size}, at::kBool),
              .cursor_2 = at::zeros({2}, at::kLong)};
}

void Queue::fill_random(int64_t seed) {
  auto& [image, text, score, id, valid, cursor] = columns_;
  image.copy_(random_unit_rows(seed, kImageDraw, capacity(), image.size(1)));
  text.copy_(random_unit_rows(seed, kTextDraw, capacity(), text.size(1)));
  score.copy_((image * text).sum(1));
  id.fill_(kNoId);
  valid.fill_(false);
  set_cursor(0, capacity());
}

void Queue::move(at::Device device) {
  for (Tensor* column : {&columns_.image_ND, &columns_.text_ND, &columns_.score_N, &columns_.id_N,
                         &columns_.valid_N, &columns_.cursor_2})
    *column = column->to(device);
}

void Queue::push(const Tensor& image_BD, const Tensor& text_BD, const Tensor& id_B,
                 const Tensor& keep_B) {
  const c10::NoGradGuard no_grad;
  ops::queue_push_(columns_, {image_BD, text_BD, (image_BD * text_BD).sum(1), id_B, keep_B});
}

int64_t Queue::filled() const { return columns_.cursor_2[1].item<int64_t>(); }

int64_t Queue::valid() const { return columns_.valid_N.sum().item<int64_t>(); }

Tensor Queue::image() const { return columns_.image_ND.narrow(0, 0, filled()); }

Tensor Queue::text() const { return columns_.text_ND.narrow(0, 0, filled()); }

Tensor Queue::id() const { return columns_.id_N.narrow(0, 0, filled()); }

Tensor Queue::valid_scores() const { return columns_.score_N.masked_select(columns_.valid_N); }

void Queue::set_cursor(int64_t next, int64_t filled) {
  columns_.cursor_2[0].fill_(next);
  columns_.cursor_2[1].fill_(filled);
}

std::vector<std::pair<std::string, Tensor>> Queue::state() const {
  return {{"queue.image", columns_.image_ND},       {"queue.text", columns_.text_ND},
          {"queue.score", columns_.score_N},        {"queue.id", columns_.id_N},
          {"queue.valid", columns_.valid_N},        {"queue.ptr", columns_.cursor_2[0].clone()},
          {"queue.n", columns_.cursor_2[1].clone()}};
}

void Queue::restore(const std::vector<std::pair<std::string, Tensor>>& state) {
  // Everything is checked before anything is written: a refused state leaves the queue as it was.
  std::vector<std::pair<Tensor, Tensor>> copies;
  int64_t ptr = 0, n = 0;
  for (const auto& [name, wanted] : this->state()) {
    const auto found =
        std::find_if(state.begin(), state.end(), [&](const auto& e) { return e.first == name; });
    if (found == state.end())
      throw Failure("ERR_COTS_CHECKPOINT",
                    "Expected a tensor '" + name + "' in the checkpoint, found none.");
    if (found->second.sizes() != wanted.sizes())
      throw Failure("ERR_COTS_CHECKPOINT",
                    c10::str("Expected '", name, "' of shape ", wanted.sizes(), ", got ",
                             found->second.sizes(), ". Resume with the config of the checkpoint."));
    if (name == "queue.ptr")
      ptr = found->second.item<int64_t>();
    else if (name == "queue.n")
      n = found->second.item<int64_t>();
    else
      copies.emplace_back(wanted, found->second);
  }
  if (ptr < 0 || ptr >= capacity() || n < 0 || n > capacity())
    throw Failure("ERR_COTS_CHECKPOINT",
                  c10::str("Expected queue.ptr below and queue.n up to the queue's size ",
                           capacity(), ", got ", ptr, " and ", n, "."));
  for (const auto& [column, saved] : copies) column.copy_(saved);
  set_cursor(ptr, n);
}

}  // namespace cots
