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

Queue::Queue(int64_t size, int64_t embed_dim)
    : size_(size),
      image_(at::zeros({size, embed_dim})),
      text_(at::zeros({size, embed_dim})),
      score_(at::zeros({size})),
      id_(at::full({size}, kNoId, at::kLong)),
      valid_(at::zeros({size}, at::kBool)) {
  TORCH_CHECK(size >= 1, "Expected a queue of at least 1 pair, got ", size, ".");
}

void Queue::fill_random(int64_t seed) {
  image_.copy_(random_unit_rows(seed, kImageDraw, size_, image_.size(1)));
  text_.copy_(random_unit_rows(seed, kTextDraw, size_, text_.size(1)));
  score_.copy_((image_ * text_).sum(1));
  id_.fill_(kNoId);
  valid_.fill_(false);
  n_ = size_;
  ptr_ = 0;
}

int64_t Queue::push(const Tensor& image_BD, const Tensor& text_BD, const Tensor& id_B,
                    const Tensor& keep_B) {
  const c10::NoGradGuard no_grad;
  const Tensor rows = keep_B.nonzero().squeeze(1);
  const int64_t pushed = rows.size(0), stay = std::min(pushed, size_);
  const Tensor last = rows.narrow(0, pushed - stay, stay);
  const Tensor image = image_BD.index_select(0, last), text = text_BD.index_select(0, last);
  const Tensor score = (image * text).sum(1), id = id_B.index_select(0, last);

  const int64_t start = (ptr_ + pushed - stay) % size_;
  const int64_t before_end = std::min(stay, size_ - start);
  const auto write = [&](const Tensor& column, const Tensor& entries) {
    column.narrow(0, start, before_end).copy_(entries.narrow(0, 0, before_end));
    column.narrow(0, 0, stay - before_end).copy_(entries.narrow(0, before_end, stay - before_end));
  };
  write(image_, image);
  write(text_, text);
  write(score_, score);
  write(id_, id);
  write(valid_, at::ones({stay}, at::kBool));
  ptr_ = (ptr_ + pushed) % size_;
  n_ = std::min(size_, n_ + pushed);
  return pushed;
}

int64_t Queue::valid() const { return valid_.sum().item<int64_t>(); }

Tensor Queue::image() const { return image_.narrow(0, 0, n_); }

Tensor Queue::text() const { return text_.narrow(0, 0, n_); }

Tensor Queue::id() const { return id_.narrow(0, 0, n_); }

Tensor Queue::valid_scores() const { return score_.masked_select(valid_); }

std::vector<std::pair<std::string, Tensor>> Queue::state() const {
  return {{"queue.image", image_},
          {"queue.text", text_},
          {"queue.score", score_},
          {"queue.id", id_},
          {"queue.valid", valid_},
          {"queue.ptr", at::scalar_tensor(ptr_, at::kLong)},
          {"queue.n", at::scalar_tensor(n_, at::kLong)}};
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
  if (ptr < 0 || ptr >= size_ || n < 0 || n > size_)
    throw Failure("ERR_COTS_CHECKPOINT",
                  c10::str("Expected queue.ptr below and queue.n up to the queue's size ", size_,
                           ", got ", ptr, " and ", n, "."));
  for (const auto& [column, saved] : copies) column.copy_(saved);
  ptr_ = ptr;
  n_ = n;
}

}  // namespace cots
