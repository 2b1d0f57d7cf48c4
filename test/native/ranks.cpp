#include <ATen/ATen.h>

#include <atomic>
#include <limits>
#include <vector>

#include "io/failure.h"
#include "ops/cancel.h"
#include "ops/exact_dot.h"
#include "search/ranks.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

Tensor ints(std::vector<int64_t> values) { return at::tensor(values, at::kLong).to(at::kInt); }

/// SPEC 5.1 by plain loops over exact scores.
Ranks by_loops(const Tensor& images, const Tensor& texts, const Tensor& owner) {
  const int64_t I = images.size(0), T = texts.size(0), D = images.size(1);
  const int32_t* image_of = owner.const_data_ptr<int32_t>();
  const auto score = [&](int64_t i, int64_t t) {
    return ops::exact_dot(images.const_data_ptr<float>() + i * D,
                          texts.const_data_ptr<float>() + t * D, D);
  };
  Ranks r{{at::ones({I}, at::kInt), at::ones({I}, at::kInt)},
          {at::ones({T}, at::kInt), at::ones({T}, at::kInt)}};
  const auto add = [](const DirectionRanks& ranks, int64_t query, float other, float own) {
    ranks.pessimistic.mutable_data_ptr<int32_t>()[query] += other >= own;
    ranks.optimistic.mutable_data_ptr<int32_t>()[query] += other > own;
  };
  for (int64_t i = 0; i < I; ++i) {
    float best = -std::numeric_limits<float>::infinity();
    for (int64_t t = 0; t < T; ++t)
      if (image_of[t] == i) best = std::max(best, score(i, t));
    for (int64_t t = 0; t < T; ++t)
      if (image_of[t] != i) add(r.image_to_text, i, score(i, t), best);
  }
  for (int64_t t = 0; t < T; ++t)
    for (int64_t i = 0; i < I; ++i)
      if (i != image_of[t]) add(r.text_to_image, t, score(i, t), score(image_of[t], t));
  return r;
}

void check_equal(const Ranks& x, const Ranks& y) {
  CHECK(x.image_to_text.pessimistic.equal(y.image_to_text.pessimistic));
  CHECK(x.image_to_text.optimistic.equal(y.image_to_text.optimistic));
  CHECK(x.text_to_image.pessimistic.equal(y.text_to_image.pessimistic));
  CHECK(x.text_to_image.optimistic.equal(y.text_to_image.optimistic));
}

}  // namespace

TEST_CASE("retrieval_ranks on a matrix made by hand, with ties") {
  // Images are unit axes, so text t scores images[i] . text = text[i].
  const Tensor images = at::eye(3);
  const Tensor texts =
      at::tensor({0.9f, 0.1f, 0.2f,   // text 0 of image 0: clear
                  0.5f, 0.5f, 0.0f,   // text 1 of image 1: ties with image 0
                  0.9f, 0.3f, 0.2f})  // text 2 of image 2: last; ties with text 0 for image 0
          .view({3, 3});
  const Ranks ranks = retrieval_ranks(images, texts, ints({0, 1, 2}));
  CHECK(ranks.text_to_image.pessimistic.equal(ints({1, 2, 3})));
  CHECK(ranks.text_to_image.optimistic.equal(ints({1, 1, 3})));
  CHECK(ranks.image_to_text.pessimistic.equal(
      ints({2, 1, 2})));  // image 2: texts 0 and 2 both score 0.2
  CHECK(ranks.image_to_text.optimistic.equal(ints({1, 1, 1})));
}

TEST_CASE("retrieval_ranks equals plain loops: any number of captions an image, several tiles") {
  for (const auto& [I, T, D] : {std::tuple{1, 1, 1}, {2, 5, 2}, {123, 257, 16}, {300, 1500, 24}}) {
    Tensor owner = at::arange(T, at::kInt).remainder(I);
    owner = owner.index_select(
        0, at::randperm(T, test::generator(9), at::TensorOptions().dtype(at::kLong)));
    const Tensor images = test::unit_rows(I, D, 1);
    const Tensor texts =
        (images.index_select(0, owner) + 0.8 * test::unit_rows(T, D, 2)).contiguous();
    check_equal(retrieval_ranks(images, texts, owner), by_loops(images, texts, owner));
  }
}

TEST_CASE("retrieval_ranks: duplicates tie exactly, wherever they stand") {
  Tensor images = test::unit_rows(200, 40, 3), texts = images + 0.3 * test::unit_rows(200, 40, 4);
  images.narrow(0, 100, 100).copy_(images.narrow(0, 0, 100));
  texts.narrow(0, 150, 30).copy_(texts.narrow(0, 0, 30));
  const Tensor owner = at::arange(200, at::kInt);
  const Ranks ranks = retrieval_ranks(images, texts, owner);
  check_equal(ranks, by_loops(images, texts, owner));
  CHECK(
      (ranks.text_to_image.pessimistic - ranks.text_to_image.optimistic).ge(1).all().item<bool>());
}

TEST_CASE("retrieval_ranks: a constant matrix is last pessimistically and first optimistically") {
  const Tensor images = test::unit_rows(1, 30, 5).expand({50, 30}).contiguous();
  const Ranks ranks = retrieval_ranks(images, images, at::arange(50, at::kInt));
  CHECK(ranks.image_to_text.pessimistic.eq(50).all().item<bool>());
  CHECK(ranks.text_to_image.pessimistic.eq(50).all().item<bool>());
  CHECK(ranks.image_to_text.optimistic.eq(1).all().item<bool>());
}

TEST_CASE(
    "retrieval_ranks refuses NaN, an image without a text and an index out of range, and stops "
    "when cancelled") {
  const Tensor images = test::unit_rows(3, 4, 1), texts = test::unit_rows(3, 4, 2);
  Tensor broken = texts.clone();
  broken[1][2].fill_(std::numeric_limits<float>::quiet_NaN());
  CHECK_THROWS_AS(retrieval_ranks(images, broken, ints({0, 1, 2})), Failure);
  CHECK_THROWS_AS(retrieval_ranks(broken, texts, ints({0, 1, 2})), Failure);
  CHECK_THROWS_WITH_AS(retrieval_ranks(images, texts, ints({0, 1, 1})),
                       doctest::Contains("image 2 has no text"), c10::Error);
  CHECK_THROWS_WITH_AS(retrieval_ranks(images, texts, ints({0, 1, 3})),
                       doctest::Contains("imageOfText[2] in [0, 3), got 3"), c10::Error);
  const std::atomic<bool> cancelled{true};
  const ops::CancelScope scope(&cancelled);
  CHECK_THROWS_AS(retrieval_ranks(images, texts, ints({0, 1, 2})), ops::Cancelled);
}
