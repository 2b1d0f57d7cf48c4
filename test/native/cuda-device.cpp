// The ops on the device of this machine: an NVIDIA GPU where there is one, else the CPU, so that
// the cases themselves are known to work. Each against the composite in float64 on the CPU, with at
// most twice the error of the composite in float32 (bfloat16 where said). `-tc="device: *"` selects
// them.
#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <array>
#include <cmath>

#include "contrast-problem.h"
#include "ops/adamw.h"
#include "ops/keyed_random.h"
#include "ops/momentum_filter.h"
#include "ops/scale_pixels.h"
#include "ops/top_k.h"
#include "ops/vocabulary_cross_entropy.h"
#include "queue-push-problem.h"

using namespace cots;
using at::Tensor;
using enum ops::DuplicatePolicy;
using test::add_ids;
using test::Problem;
using test::random_problem;

namespace {

at::Device device() { return at::hasCUDA() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU); }

Tensor there(const Tensor& x) { return x.defined() ? x.to(device()) : x; }
Tensor here(const Tensor& x) { return x.to(at::kCPU); }

struct Result {
  Tensor losses, image, text, log_scale;
};

/// By `losses_of`, on `where`, with matrices of one type and log_scale of another.
template <class F>
Result result_of(const F& losses_of, const Problem& problem, at::Device where, at::ScalarType type,
                 at::ScalarType scale_type) {
  ops::ContrastInputs in = problem.in;
  for (Tensor* x : {&in.image_BD, &in.text_BD, &in.image_key_BD, &in.text_key_BD,
                    &in.image_queue_nD, &in.text_queue_nD})
    *x = x->to(where, type);
  in.log_scale = in.log_scale.to(where, scale_type);
  for (Tensor* x : {&in.weights_B, &in.id_B, &in.queue_id_n}) *x = x->to(where);
  for (Tensor* x : {&in.image_BD, &in.text_BD, &in.log_scale})
    *x = x->detach().clone().requires_grad_();
  const Tensor losses = losses_of(in, problem.options);
  losses.select(0, 0).backward();
  return {here(losses.detach()), here(in.image_BD.grad()), here(in.text_BD.grad()),
          here(in.log_scale.grad())};
}

void check_contrast(const Problem& p) {
  INFO("B ", p.in.image_BD.size(0), " n ", p.in.image_queue_nD.size(0), " D ",
       p.in.image_BD.size(1), " policy ", static_cast<int64_t>(p.options.duplicate_policy));
  const Result kernel = result_of(ops::queue_contrast_loss, p, device(), at::kFloat, at::kFloat);
  const Result composite =
      result_of(ops::queue_contrast_composite, p, device(), at::kFloat, at::kFloat);
  const Result exact =
      result_of(ops::queue_contrast_composite, p, at::kCPU, at::kDouble, at::kDouble);
  test::check_twice(kernel.losses, composite.losses, exact.losses, 1.5);
  test::check_twice(kernel.image, composite.image, exact.image);
  test::check_twice(kernel.text, composite.text, exact.text);
  test::check_twice(kernel.log_scale, composite.log_scale, exact.log_scale, 1.5);
}

/// bfloat16 matrices: at most twice the error of the composite in bfloat16.
void check_contrast_bf16(Problem p) {
  for (Tensor* x : {&p.in.image_BD, &p.in.text_BD, &p.in.image_key_BD, &p.in.text_key_BD,
                    &p.in.image_queue_nD, &p.in.text_queue_nD})
    *x = x->to(at::kBFloat16).to(at::kFloat);
  const Result kernel = result_of(ops::queue_contrast_loss, p, device(), at::kBFloat16, at::kFloat);
  const Result composite =
      result_of(ops::queue_contrast_composite, p, device(), at::kBFloat16, at::kFloat);
  const Result exact =
      result_of(ops::queue_contrast_composite, p, at::kCPU, at::kDouble, at::kDouble);
  test::check_twice(kernel.losses, composite.losses, exact.losses, 1.5);
  test::check_twice(kernel.image, composite.image, exact.image);
  test::check_twice(kernel.text, composite.text, exact.text);
}

}  // namespace

TEST_CASE("device: queue_contrast on awkward shapes, policies and weights") {
  MESSAGE("device: " << device().str());
  for (const auto& [B, n, D] : {std::array<int64_t, 3>{1, 0, 8},
                                {1, 1, 1},
                                {2, 123, 33},
                                {123, 257, 64},
                                {257, 123, 200},
                                {257, 1030, 256}})
    for (const auto policy : {kKeep, kMaskSameImage, kMultiPositive}) {
      Problem p = random_problem(B, n, D);
      add_ids(p, policy, 9);
      p.options.include_positive = (B + n) % 2 == 0;
      p.options.stopgrad_target = D % 2 == 0;
      if (B > 1) p.in.weights_B[1].fill_(0.0f);
      check_contrast(p);
      if (device().is_cuda()) check_contrast_bf16(p);
    }
}

TEST_CASE("device: queue_contrast repeats bit for bit") {
  Problem p = random_problem(257, 4100, 256);
  add_ids(p, kKeep, 9);
  const auto type = device().is_cuda() ? at::kBFloat16 : at::kFloat;
  const Result first = result_of(ops::queue_contrast_loss, p, device(), type, at::kFloat);
  for (int repeat = 0; repeat < 3; ++repeat) {
    const Result again = result_of(ops::queue_contrast_loss, p, device(), type, at::kFloat);
    CHECK(again.losses.equal(first.losses));
    CHECK(again.image.equal(first.image));
    CHECK(again.text.equal(first.text));
  }
}

TEST_CASE("device: momentum_filter") {
  for (const int64_t n : {1, 123, 12800}) {
    const Tensor queue = test::unit_rows(1, n, 1).view({n}), score = test::unit_rows(1, 257, 2)[0];
    const auto [stats, keep] = ops::momentum_filter(there(score), there(queue), 1.0);
    const auto [expected, expected_keep] = ops::momentum_filter_composite(score, queue, 1.0);
    CHECK(test::max_error(here(stats), expected) < 1e-12);
    CHECK(here(keep).equal(expected_keep));
  }
}

TEST_CASE("device: queue_push_") {
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& s : test::kPushSizes) {
      const ops::QueueColumns expected = test::queue_columns(s.size, 256, s.next, s.filled, type);
      const ops::QueueColumns queue{
          there(expected.image_ND.clone()), there(expected.text_ND.clone()),
          there(expected.score_N.clone()),  there(expected.id_N.clone()),
          there(expected.valid_N.clone()),  there(expected.cursor_2.clone())};
      const ops::QueueBatch batch = test::queue_batch(s.batch, 256, s.kept, type);
      ops::queue_push_(queue, {there(batch.image_BD), there(batch.text_BD), there(batch.score_B),
                               there(batch.id_B), there(batch.keep_B)});
      ops::queue_push_composite_(expected, batch);
      const auto a = test::all_columns(queue), b = test::all_columns(expected);
      for (size_t i = 0; i < a.size(); ++i) CHECK(here(a[i]).equal(b[i]));
    }
}

TEST_CASE("device: scale_pixels") {
  const Tensor images = at::randint(0, 256, {5, 33, 31, 3}, test::generator(1), at::kByte);
  ops::PixelScale scale{{0.48, 0.45, 0.4}, {0.27, 0.26, 0.25}};
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    scale.type = type;
    CHECK(here(ops::scale_pixels(there(images), scale))
              .equal(ops::scale_pixels_composite(images, scale)));
  }
}

TEST_CASE("device: adamw_ with a moving average and live options") {
  const int64_t N = 70001;
  const auto draw = [&](uint64_t seed) {
    return at::randn({N}, test::generator(seed), at::TensorOptions());
  };
  const Tensor grad = draw(2) * 0.1, decay = draw(5).gt(0).to(at::kFloat);
  const Tensor live = at::tensor({0.5, 7.0, 0.25, 1.0}, at::kDouble);
  const ops::AdamW options{1e-3, 0.9, 0.999, 1e-8, 0.02, 1, 0.5};
  struct State {
    Tensor parameter, first, second, average;
  };
  const auto state = [&](auto&& move) {
    return State{move(draw(1)), move(draw(3) * 0.01), move(draw(4).square() * 1e-3), move(draw(6))};
  };
  const State kernel = state(there);
  const State f32 = state([](const Tensor& x) { return x; });
  const State f64 = state([](const Tensor& x) { return x.to(at::kDouble); });
  for (int step = 0; step < 3; ++step) {
    ops::adamw_(kernel.parameter, there(grad), kernel.first, kernel.second, there(decay), options,
                there(live), {kernel.average, 0.99});
    for (const auto& [s, type] : {std::pair{f32, at::kFloat}, {f64, at::kDouble}})
      ops::adamw_composite_(s.parameter, grad.to(type), s.first, s.second, decay.to(type), options,
                            live, {s.average, 0.99});
  }
  test::check_twice(here(kernel.parameter), f32.parameter, f64.parameter);
  test::check_twice(here(kernel.second), f32.second, f64.second);
  test::check_twice(here(kernel.average), f32.average, f64.average);
}

TEST_CASE("device: keyed draws and dropout have the CPU's bits") {
  const Tensor keys = ops::sample_keys(7, 1, at::arange(5, at::kLong));
  for (const int64_t n : {1, 257, 2049}) {
    CHECK(here(ops::keyed_uniform(there(keys), 3, n)).equal(ops::keyed_uniform(keys, 3, n)));
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      const Tensor x = test::unit_rows(5, n, 1).to(type);
      CHECK(here(ops::keyed_dropout(there(x), there(keys), 4, 0.1))
                .equal(ops::keyed_dropout(x, keys, 4, 0.1)));
    }
  }
}

TEST_CASE("device: vocabulary_cross_entropy") {
  for (const auto& [M, d, V] :
       {std::array<int64_t, 3>{1, 8, 2}, {123, 64, 257}, {300, 128, 8192}}) {
    const auto run = [&](const auto& loss_of, at::Device where, at::ScalarType type) {
      const auto leaf = [&](const Tensor& x, at::ScalarType as) {
        return x.to(where, as).detach().clone().requires_grad_();
      };
      const Tensor query = leaf(test::unit_rows(M, d, 1) * 4, type),
                   weight = leaf(test::unit_rows(V, d, 2) * 4, type),
                   bias = leaf(test::unit_rows(1, V, 3)[0],
                               type == at::kDouble ? at::kDouble : at::kFloat);
      const Tensor loss =
          loss_of(query, weight, bias, at::arange(M, at::kLong).remainder(V).to(where));
      loss.backward();
      return std::array<Tensor, 4>{here(loss.detach()), here(query.grad()), here(weight.grad()),
                                   here(bias.grad())};
    };
    const auto kernel = run(ops::vocabulary_cross_entropy, device(), at::kFloat);
    const auto composite = run(ops::vocabulary_cross_entropy_composite, device(), at::kFloat);
    const auto exact = run(ops::vocabulary_cross_entropy_composite, at::kCPU, at::kDouble);
    for (size_t i = 0; i < 4; ++i) test::check_twice(kernel[i], composite[i], exact[i]);
    if (!device().is_cuda()) continue;
    const auto half = run(ops::vocabulary_cross_entropy, device(), at::kBFloat16);
    for (size_t i = 0; i < 4; ++i)  // inputs and coefficients of 8 bits
      CHECK(test::max_error(half[i], exact[i]) <= 2e-2 * test::max_abs(exact[i]));
  }
}

TEST_CASE("device: top_k has the CPU's scores and order, ties included") {
  for (const int64_t Q : {1, 3, 300})
    for (const auto type : {at::kFloat, at::kHalf}) {
      Tensor gallery = test::unit_rows(5003, 64, 2).to(type);
      gallery.narrow(0, 100, 400).copy_(gallery[7].expand({400, 64}).clone());
      const Tensor query = test::unit_rows(Q, 64, 1);
      query[0].copy_(gallery[7].to(at::kFloat));
      for (const int64_t k : {1, 10, 450}) {
        const auto [score, index] = ops::top_k(there(query), there(gallery), k);
        const auto [expected, expected_index] = ops::top_k(query, gallery, k);
        CHECK(here(score).equal(expected));
        CHECK(here(index).equal(expected_index));
      }
    }
}
