#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "loss/contrast.h"
#include "ops/queue_contrast.h"
#include "tiny-model.h"

using namespace cots;
using test::max_difference;

namespace {

constexpr int64_t B = 5, D = 8;
constexpr double kTau = 0.1;

struct Case {
  loss::ContrastInputs in;
  loss::ContrastOptions options{.normalizer = 3,
                                .instance_weight = 0.7,
                                .task_weight = 0.4,
                                .include_positive = true,
                                .stopgrad_target = false};
  explicit Case(int64_t n) {
    in.image_BD = test::unit_rows({B, D}, 1).requires_grad_();
    in.text_BD = test::unit_rows({B, D}, 2).requires_grad_();
    in.image_key_BD = test::unit_rows({B, D}, 3);
    in.text_key_BD = test::unit_rows({B, D}, 4);
    in.image_queue_nD = n > 0 ? test::unit_rows({n, D}, 5) : at::empty({0, D});
    in.text_queue_nD = n > 0 ? test::unit_rows({n, D}, 6) : at::empty({0, D});
    in.weights_B = at::tensor({1, 0, 1, 1, 0}, at::kFloat);
    in.log_scale = at::scalar_tensor(std::log(1 / kTau)).requires_grad_();
  }
};

/// The formulas of SPEC 3.2 and 3.3 written out in float64: image to text, text to image, task,
/// total.
std::vector<Tensor> by_the_formulas(const Case& c, const Tensor& image_BD, const Tensor& text_BD,
                                    const Tensor& log_scale) {
  const auto f64 = [](const Tensor& t) { return t.to(at::kDouble); };
  const auto logits = [&](const Tensor& f, const Tensor& key, const Tensor& queue) {
    return log_scale.exp() * at::cat({(f * f64(key)).sum(1, true), f.matmul(f64(queue).t())}, 1);
  };
  const Tensor a = logits(image_BD, c.in.text_key_BD, c.in.text_queue_nD);
  const Tensor b = logits(text_BD, c.in.image_key_BD, c.in.image_queue_nD);
  const auto mean = [&](const Tensor& rows_B) {
    return (rows_B * f64(c.in.weights_B)).sum() / c.options.normalizer;
  };
  const Tensor log_p = a.log_softmax(1), log_q = b.log_softmax(1);
  const Tensor i2t = mean(-log_p.select(1, 0)), t2i = mean(-log_q.select(1, 0));
  const Tensor task = mean(((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1));
  return {i2t, t2i, task, c.options.instance_weight * (i2t + t2i) + c.options.task_weight * task};
}

}  // namespace

TEST_CASE("contrast equals the written-out formulas, gradients included") {
  for (const int64_t n : {1, 7, 300}) {
    CAPTURE(n);
    const Case c(n);
    const loss::ContrastLoss loss = loss::contrast(c.in, c.options);
    loss.total.backward();

    const Tensor image = c.in.image_BD.detach().to(at::kDouble).requires_grad_();
    const Tensor text = c.in.text_BD.detach().to(at::kDouble).requires_grad_();
    const Tensor log_scale = c.in.log_scale.detach().to(at::kDouble).requires_grad_();
    const auto expected = by_the_formulas(c, image, text, log_scale);
    expected[3].backward();
    CHECK(max_difference(loss.image_to_text, expected[0]) < 1e-5);
    CHECK(max_difference(loss.text_to_image, expected[1]) < 1e-5);
    CHECK(max_difference(loss.task, expected[2]) < 1e-5);
    CHECK(max_difference(loss.total, expected[3]) < 1e-5);
    CHECK(max_difference(c.in.image_BD.grad(), image.grad()) < 1e-5);
    CHECK(max_difference(c.in.text_BD.grad(), text.grad()) < 1e-5);
    CHECK(max_difference(c.in.log_scale.grad(), log_scale.grad()) < 1e-4);
    CHECK_FALSE(loss.task.requires_grad());
    CHECK(c.in.image_BD.grad()[1].eq(0).all().item<bool>());  // a filtered pair pulls nothing
  }
}

TEST_CASE("queue not full") {
  // n = 0: nothing to tell the pair from, so no loss and no gradient.
  const Case empty(0);
  const loss::ContrastLoss nothing = loss::contrast(empty.in, empty.options);
  nothing.total.backward();
  CHECK(nothing.total.item<double>() == 0);
  CHECK(nothing.task.item<double>() == 0);
  CHECK(empty.in.image_BD.grad().eq(0).all().item<bool>());
  CHECK(empty.in.text_BD.grad().eq(0).all().item<bool>());

  // Only the n filled entries count: the same loss as a queue that holds nothing else.
  Case partial(9);
  const auto expected =
      by_the_formulas(partial, partial.in.image_BD.to(at::kDouble),
                      partial.in.text_BD.to(at::kDouble), partial.in.log_scale.to(at::kDouble));
  const Tensor full_image = at::cat({partial.in.image_queue_nD, at::full({20, D}, 1e9)});
  const Tensor full_text = at::cat({partial.in.text_queue_nD, at::full({20, D}, 1e9)});
  partial.in.image_queue_nD = full_image.narrow(0, 0, 9);
  partial.in.text_queue_nD = full_text.narrow(0, 0, 9);
  CHECK(max_difference(loss::contrast(partial.in, partial.options).total, expected[3]) < 1e-5);
}

TEST_CASE("at random features both directions cost about ln(n + 1) each") {
  Case c(4000);
  c.options.normalizer = B;
  c.in.weights_B = at::ones({B});
  c.in.log_scale = at::scalar_tensor(0.0);  // tau 1: no row stands out
  const loss::ContrastLoss loss = loss::contrast(c.in, c.options);
  CHECK(test::relative_error(loss.image_to_text.item<double>(), std::log(4001.0)) < 0.06);
  CHECK(test::relative_error(loss.text_to_image.item<double>(), std::log(4001.0)) < 0.06);
}
