#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "loss/masked_modelling.h"
#include "tiny-model.h"

using namespace cots;
using loss::draw_image_mask;
using loss::draw_text_mask;

namespace {

Tensor keys(int64_t count, int64_t step = 0) {
  return ops::sample_keys(3, step, at::arange(count));
}

}  // namespace

TEST_CASE("blockwise masks of a 24 x 24 grid have BEiT's sizes") {
  const Tensor count_B =
      draw_image_mask(keys(4000), {.grid = 24, .ratio = 0.4, .block = true, .exact = false})
          .sum(1)
          .to(at::kDouble);
  CHECK(count_B.max().item<double>() <= 230);
  CHECK(test::relative_error(count_B.mean().item<double>(), 229.3) < 0.002);  // simulated, SPEC 2.3
  CHECK(count_B.min().item<double>() >= 212);
  CHECK(count_B.min().item<double>() < 228);  // it does stop short
}

TEST_CASE("blockwise masks hang together, single patches do not") {
  // Of the masked patches, the share whose right neighbour is masked too.
  const auto joined = [](bool block) {
    const Tensor mask =
        draw_image_mask(keys(200), {.grid = 24, .ratio = 0.4, .block = block, .exact = true})
            .view({200, 24, 24});
    const Tensor left = mask.narrow(2, 0, 23), right = mask.narrow(2, 1, 23);
    return (left.logical_and(right).sum().to(at::kDouble) / left.sum()).item<double>();
  };
  CHECK(joined(true) > 0.75);
  CHECK(test::relative_error(joined(false), 0.4) < 0.05);
}

TEST_CASE("exact and random masks have exactly round(ratio * P) patches") {
  for (const int64_t grid : {1, 2, 3, 6, 14, 24})
    for (const double ratio : {0.0, 0.4, 0.75, 1.0})
      for (const bool block : {false, true}) {
        CAPTURE(grid);
        CAPTURE(ratio);
        const Tensor mask = draw_image_mask(
            keys(20), {.grid = grid, .ratio = ratio, .block = block, .exact = true});
        CHECK(mask.sum(1)
                  .eq(std::lround(ratio * static_cast<double>(grid * grid)))
                  .all()
                  .item<bool>());
      }
}

TEST_CASE("blockwise masks of small grids come close to the ratio") {
  for (const int64_t grid : {4, 6, 8, 12}) {
    CAPTURE(grid);
    const auto budget = static_cast<double>(std::lround(0.4 * static_cast<double>(grid * grid)));
    const Tensor count_B =
        draw_image_mask(keys(500), {.grid = grid, .ratio = 0.4, .block = true, .exact = false})
            .sum(1)
            .to(at::kDouble);
    CHECK(count_B.max().item<double>() <= budget);
    CHECK(count_B.mean().item<double>() > 0.95 * budget);
  }
}

TEST_CASE("a row's image mask depends on its own key alone") {
  const loss::ImageMaskOptions options{.grid = 24, .ratio = 0.4, .block = true, .exact = true};
  const Tensor key_B = keys(6), mask = draw_image_mask(key_B, options),
               order = at::tensor({4, 2, 5}, at::kLong);
  CHECK(at::equal(draw_image_mask(key_B.index_select(0, order), options),
                  mask.index_select(0, order)));
  CHECK_FALSE(at::equal(mask[0], mask[1]));
  CHECK_FALSE(at::equal(draw_image_mask(keys(6, 1), options), mask));
}

TEST_CASE("word masks: 15 % of the words, 80 / 10 / 10, never a special token") {
  constexpr int64_t kRows = 3000, kLength = 32, kVocab = 1000, kMask = 7;
  const Tensor ids = at::full({kRows, kLength}, 500, at::kLong);
  const Tensor lengths = at::arange(kRows).remainder(kLength - 1) + 2;  // 2 to 32
  const auto [corrupted, masked] = draw_text_mask(
      ids, lengths, keys(kRows), {.ratio = 0.15, .mask_id = kMask, .vocab_size = kVocab});

  const Tensor place = at::arange(kLength);
  const Tensor special = place.eq(0).logical_or(place >= (lengths - 1).unsqueeze(1));
  CHECK_FALSE(masked.logical_and(special).any().item<bool>());
  CHECK(at::equal(corrupted.masked_select(masked.logical_not()),
                  ids.masked_select(masked.logical_not())));

  const double words = special.logical_not().sum().item<double>(),
               picked = masked.sum().item<double>();
  CHECK(test::relative_error(picked / words, 0.15) < 0.03);
  const Tensor drawn = corrupted.masked_select(masked);
  const double as_mask = drawn.eq(kMask).sum().item<double>() / picked,
               kept = drawn.eq(500).sum().item<double>() / picked;
  CHECK(test::relative_error(as_mask, 0.8) < 0.02);
  CHECK(test::relative_error(kept, 0.1) < 0.1);
  const Tensor random = drawn.masked_select(drawn.ne(kMask).logical_and(drawn.ne(500)));
  CHECK(random.min().item<int64_t>() >= 0);
  CHECK(random.max().item<int64_t>() < kVocab);
  CHECK(test::relative_error(random.to(at::kDouble).mean().item<double>(), 500) < 0.06);
}

TEST_CASE("a row's word mask depends on its own key alone, not on padding") {
  const Tensor ids = at::arange(48).view({4, 12}), lengths = at::tensor({12, 5, 9, 3}, at::kLong),
               key_B = keys(4);
  const loss::TextMaskOptions options{.ratio = 0.5, .mask_id = 99, .vocab_size = 60};
  const auto whole = draw_text_mask(ids, lengths, key_B, options);
  const Tensor rows = at::tensor({2, 1, 3}, at::kLong);
  const auto pick = [&](const Tensor& t) { return t.index_select(0, rows); };
  const auto part = draw_text_mask(pick(ids).narrow(1, 0, 9), pick(lengths), pick(key_B), options);
  CHECK(at::equal(part.masked_BL, pick(whole.masked_BL).narrow(1, 0, 9)));
  CHECK(at::equal(part.ids_BL, pick(whole.ids_BL).narrow(1, 0, 9)));
}

TEST_CASE("masked cross-entropy equals the plain one, gradients included") {
  for (const int64_t M : {1, 7, 5000}) {
    CAPTURE(M);
    const Tensor target = (test::normal({M}, 9).abs() * 1e4).to(at::kLong).remainder(33);
    std::vector<Tensor> chunked = {test::normal({M, 16}, 1), test::normal({33, 16}, 2) * 0.3,
                                   test::normal({33}, 3)},
                        plain;
    for (Tensor& t : chunked) {
      plain.push_back(t.to(at::kDouble).requires_grad_());
      t.requires_grad_();
    }
    const Tensor normalizer =
        at::scalar_tensor(M + 2, at::kFloat);  // |M| of the whole step, not of this micro-batch
    const Tensor loss =
        loss::masked_cross_entropy(chunked[0], chunked[1], chunked[2], target, normalizer);
    const Tensor expected = at::cross_entropy_loss(at::linear(plain[0], plain[1], plain[2]), target,
                                                   {}, at::Reduction::Sum) /
                            normalizer;
    loss.backward();
    expected.backward();
    CHECK(test::max_difference(loss, expected) < 1e-5);
    for (size_t i = 0; i < 3; ++i)
      CHECK(test::max_difference(chunked[i].grad(), plain[i].grad()) < 1e-6);
  }
}

TEST_CASE("no masked position: a zero that still backpropagates zeros") {
  const Tensor query = at::empty({0, 16}).requires_grad_(),
               weight = test::normal({33, 16}, 2).requires_grad_();
  const Tensor loss = loss::masked_cross_entropy(query, weight, at::zeros({33}),
                                                 at::empty({0}, at::kLong), at::zeros({}));
  CHECK(loss.item<double>() == 0);
  loss.backward();
  CHECK(weight.grad().eq(0).all().item<bool>());
}
