// The smaller CUDA kernels, run on the host, against the CPU's ops and the composites in float64.
#include "cuda-emulator.h"
// The kernels need the emulator's words, so it comes first.
#include <ATen/ATen.h>

#include "ops/adamw.h"
#include "ops/cuda/adamw.cuh"
#include "ops/cuda/keyed_random.cuh"
#include "ops/cuda/momentum_filter.cuh"
#include "ops/cuda/queue_push.cuh"
#include "ops/cuda/scale_pixels.cuh"
#include "ops/cuda/top_k.cuh"
#include "ops/cuda/vocabulary_cross_entropy.cuh"
#include "ops/exact_dot.h"
#include "ops/keyed_random.h"
#include "ops/momentum_filter.h"
#include "ops/scale_pixels.h"
#include "ops/vocabulary_cross_entropy.h"
#include "queue-push-problem.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;

namespace {

float* floats(const Tensor& x) { return x.mutable_data_ptr<float>(); }

Tensor draw(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, test::generator(seed), at::TensorOptions());
}

}  // namespace

TEST_CASE("cuda adamw: the CPU's numbers, with the moving average and with live options") {
  for (const int64_t N : {1, 2, 123, 257, 1030}) {
    const Tensor grad = draw({N}, 2) * 0.1, decay = draw({N}, 5).gt(0).to(at::kFloat);
    const auto state = [&] {
      return std::array<Tensor, 4>{draw({N}, 1), draw({N}, 3) * 0.01, draw({N}, 4).square() * 1e-3,
                                   draw({N}, 6)};
    };
    const auto kernel = state(), expected = state();
    const Tensor live = at::tensor({0.5, 7.0, 0.25, 1.0}, at::kDouble);
    const ops::AdamW options{1e-3, 0.9, 0.999, 1e-8, 0.02, 1, 0.5};
    for (const bool is_live : {false, true}) {
      cuda::adamw_launches(
          {floats(kernel[0]), floats(grad), floats(kernel[1]), floats(kernel[2]), floats(decay),
           floats(kernel[3]),
           is_live ? reinterpret_cast<const ops::LiveAdamW*>(live.const_data_ptr<double>())
                   : nullptr,
           options, 0.01f, N},
          emulator::Launch());
      ops::adamw_(expected[0], grad, expected[1], expected[2], decay, options,
                  is_live ? live : Tensor(), {expected[3], 0.99});
      for (size_t i = 0; i < 4; ++i)
        CHECK(test::max_error(kernel[i], expected[i]) <= 3e-7 * test::max_abs(expected[i]));
    }
    const Tensor before = kernel[0].clone();
    live[3].fill_(0.0);
    cuda::adamw_launches(
        {floats(kernel[0]), floats(grad), floats(kernel[1]), floats(kernel[2]), floats(decay),
         floats(kernel[3]), reinterpret_cast<const ops::LiveAdamW*>(live.const_data_ptr<double>()),
         options, 0.01f, N},
        emulator::Launch());
    CHECK(kernel[0].equal(before));
  }
}

TEST_CASE("cuda keyed_random: bit for bit the CPU's draws and dropout") {
  const Tensor keys = ops::sample_keys(7, 1, at::arange(3, at::kLong));
  const int64_t* key = keys.const_data_ptr<int64_t>();
  for (const int64_t n : {1, 3, 4, 5, 257, 1025}) {
    const Tensor uniform = at::full({3, n}, NAN);
    cuda::keyed_uniform_launches(key, 9, 3, n, floats(uniform), emulator::Launch());
    CHECK(uniform.equal(ops::keyed_uniform(keys, 9, n)));
    for (const auto type : {at::kFloat, at::kBFloat16})
      for (const double p : {0.0, 0.1, 0.999}) {
        const Tensor x = draw({3, n}, 8).to(type), out = at::full_like(x, NAN);
        const auto scale = static_cast<float>(1 / (1 - p));
        const bool is_bf16 = type == at::kBFloat16;
        cuda::keyed_dropout_launches({key, 4, 3, n, static_cast<int32_t>(std::ceil(p * 0x1p24)),
                                      is_bf16 ? static_cast<float>(at::BFloat16(scale)) : scale,
                                      x.const_data_ptr(), out.mutable_data_ptr()},
                                     is_bf16, emulator::Launch());
        CHECK(out.equal(ops::keyed_dropout(x, keys, 4, p)));
      }
  }
}

TEST_CASE("cuda momentum_filter: the composite's statistics and decisions") {
  for (const int64_t n : {1, 2, 123, 1025, 3000})
    for (const int64_t B : {0, 1, 37}) {
      const Tensor queue = draw({n}, 1) * 0.1 + 0.3, score = draw({B}, 2) * 0.3 + 0.3;
      if (B > 2) score[1].fill_(NAN), score[2].fill_(INFINITY);
      const Tensor stats = at::full({3}, NAN, at::kDouble), keep = at::zeros({B}, at::kBool);
      cuda::momentum_filter_launches(
          {floats(score), B, floats(queue), n, 1.5, stats.mutable_data_ptr<double>(),
           keep.mutable_data_ptr<bool>()},
          emulator::Launch());
      const auto [expected, expected_keep] = ops::momentum_filter_composite(score, queue, 1.5);
      CHECK(test::max_error(stats, expected) < 1e-12);
      CHECK(keep.equal(expected_keep));
    }
}

TEST_CASE("cuda momentum_filter: scores that are all alike keep every finite pair") {
  const Tensor queue = at::full({50}, 0.25f), score = at::tensor({0.1f, 0.25f, 0.9f});
  const Tensor stats = at::zeros({3}, at::kDouble), keep = at::zeros({3}, at::kBool);
  cuda::momentum_filter_launches({floats(score), 3, floats(queue), 50, 2.0,
                                  stats.mutable_data_ptr<double>(), keep.mutable_data_ptr<bool>()},
                                 emulator::Launch());
  CHECK(keep.all().item<bool>());
}

TEST_CASE("cuda queue_push: bit for bit the composite, whatever the order of the threads") {
  constexpr int64_t D = 6;
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto& s : test::kPushSizes)
      for (const auto order : {emulator::Order::kForward, emulator::Order::kShuffled}) {
        INFO("queue ", s.size, " at ", s.next, " batch ", s.batch);
        const ops::QueueColumns queue = test::queue_columns(s.size, D, s.next, s.filled, type);
        const ops::QueueColumns expected = test::cloned(queue);
        const ops::QueueBatch batch = test::queue_batch(s.batch, D, s.kept, type);
        const Tensor place = at::full({s.batch}, -7, at::kLong);
        emulator::machine().order = order;
        const auto words = [](const Tensor& x) {
          return static_cast<uint32_t*>(x.mutable_data_ptr());
        };
        cuda::queue_push_launches(
            {words(queue.image_ND), words(queue.text_ND), floats(queue.score_N),
             queue.id_N.mutable_data_ptr<int64_t>(), queue.valid_N.mutable_data_ptr<bool>(),
             queue.cursor_2.mutable_data_ptr<int64_t>(), s.size,
             D * queue.image_ND.element_size() / 4, words(batch.image_BD), words(batch.text_BD),
             floats(batch.score_B), batch.id_B.const_data_ptr<int64_t>(),
             batch.keep_B.const_data_ptr<bool>(), s.batch, place.mutable_data_ptr<int64_t>()},
            emulator::Launch());
        emulator::machine().order = emulator::Order::kForward;
        ops::queue_push_composite_(expected, batch);
        const auto a = test::all_columns(queue), b = test::all_columns(expected);
        for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].equal(b[i]));
      }
}

TEST_CASE("cuda softmax_rows: losses and gradients of the logits") {
  for (const int64_t V : {1, 2, 123, 513, 1100}) {
    constexpr int64_t R = 3;
    const Tensor logits = draw({R, V}, 1) * 4, bias = draw({V}, 2);
    const Tensor target = at::arange(R, at::kLong).remainder(V);
    const Tensor exact = (logits.to(at::kDouble) + bias).requires_grad_();
    const Tensor loss =
        (exact.logsumexp(1) - exact.gather(1, target.unsqueeze(1)).squeeze(1)).sum();
    loss.backward();
    for (const bool is_half : {false, true}) {
      const Tensor work = logits.clone(), half = at::full({R, V}, NAN, at::kBFloat16);
      const Tensor loss_R = at::full({R}, NAN, at::kDouble), sum = at::zeros({}, at::kDouble);
      cuda::softmax_rows_launches(
          {floats(work), floats(bias), target.const_data_ptr<int64_t>(), R, V, true,
           is_half ? static_cast<uint16_t*>(half.mutable_data_ptr()) : nullptr,
           loss_R.mutable_data_ptr<double>()},
          emulator::Launch());
      cuda::add_losses_launches(loss_R.const_data_ptr<double>(), R, sum.mutable_data_ptr<double>(),
                                emulator::Launch());
      CHECK(test::max_error(sum, loss.detach()) < 2e-6 * std::max(1.0, loss.item<double>()));
      CHECK(test::max_error(is_half ? half : work, exact.grad()) < (is_half ? 4e-3 : 1e-6));
    }
  }
}

TEST_CASE("cuda softmax_rows: a target out of range gives NaN and reads nothing") {
  const Tensor logits = draw({2, 5}, 1), target = at::tensor({int64_t{5}, int64_t{-1}}, at::kLong);
  const Tensor loss_R = at::zeros({2}, at::kDouble);
  cuda::softmax_rows_launches({floats(logits), nullptr, target.const_data_ptr<int64_t>(), 2, 5,
                               true, nullptr, loss_R.mutable_data_ptr<double>()},
                              emulator::Launch());
  CHECK(loss_R.isnan().all().item<bool>());
}

TEST_CASE("cuda softmax_rows: an ignored target has no loss and no gradient") {
  for (const bool half : {false, true}) {
    const Tensor logits = draw({2, 600}, 3), before = logits.clone();
    const Tensor target = at::tensor({ops::kIgnoredTarget, int64_t{7}}, at::kLong);
    Tensor loss = at::full({2}, 9.0, at::kDouble), grad = at::full({2, 600}, 3, at::kBFloat16);
    cuda::softmax_rows_launches(
        {floats(logits), nullptr, target.const_data_ptr<int64_t>(), 2, 600, true,
         half ? static_cast<uint16_t*>(grad.mutable_data_ptr()) : nullptr,
         loss.mutable_data_ptr<double>()},
        emulator::Launch());
    const Tensor found = half ? grad : logits;
    CHECK(found[0].abs().max().item<float>() == 0);
    CHECK(found[1][7].item<float>() < 0);
    CHECK(loss[0].item<double>() == 0);
    CHECK(loss[1].item<double>() ==
          doctest::Approx((before[1].logsumexp(0) - before[1][7]).item<double>()));
  }
}

TEST_CASE("cuda top_k: scores of a few queries, and exact scores bit for bit") {
  for (const auto type : {at::kFloat, at::kHalf})
    for (const int64_t D : {1, 31, 33, 256}) {
      constexpr int64_t Q = 3, N = 41, c = 7;
      const Tensor query = test::unit_rows(Q, D, 1), gallery = test::unit_rows(N, D, 2).to(type);
      const cuda::Rows rows{floats(query), gallery.const_data_ptr(), type == at::kHalf, Q, N, D};
      const Tensor score = at::full({Q, N}, NAN);
      cuda::score_rows_launches(rows, floats(score), emulator::Launch());
      CHECK(test::max_error(score, query.to(at::kDouble).mm(gallery.to(at::kDouble).t())) < 1e-6);
      const Tensor index = at::arange(Q * c, at::kLong).mul(5).remainder(N).view({Q, c});
      const Tensor exact = at::full({Q, c}, NAN), widened = gallery.to(at::kFloat);
      cuda::exact_scores_launches(rows, index.const_data_ptr<int64_t>(), c, floats(exact),
                                  emulator::Launch());
      for (int64_t q = 0; q < Q; ++q)
        for (int64_t i = 0; i < c; ++i)
          CHECK(exact[q][i].item<float>() ==
                ops::exact_dot(floats(query) + q * D,
                               floats(widened) + index[q][i].item<int64_t>() * D, D));
    }
}

TEST_CASE("cuda scale_pixels: the composite bit for bit, in float32 and in bfloat16") {
  const Tensor images = at::randint(0, 256, {3, 9, 7, 3}, test::generator(1), at::kByte);
  ops::PixelScale scale{{0.48, 0.45, 0.4}, {0.27, 0.26, 0.25}};
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    scale.type = type;
    const Tensor expected = ops::scale_pixels_composite(images, scale);
    const Tensor planes = at::full_like(expected, NAN);
    cuda::ScalePixelsArguments p{.rgb_N3 = images.const_data_ptr<uint8_t>(), .N = 3 * 63, .P = 63};
    for (size_t c = 0; c < 3; ++c)
      p.mean[c] = static_cast<float>(scale.mean[c]), p.std[c] = static_cast<float>(scale.std[c]);
    if (type == at::kFloat)
      p.planes = planes.mutable_data_ptr<float>();
    else
      p.planes_half = static_cast<uint16_t*>(planes.mutable_data_ptr());
    cuda::scale_pixels_launches(p, emulator::Launch());
    CHECK(planes.equal(expected));
  }
}
