// queue_contrast against its composite in float64, the composite against a plain loop and finite
// differences, and the rows of SPEC 3.8 that this op holds. Legend: B pairs, n queue entries, D
// embedding.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "ops/queue_contrast.h"
#include "tensors.h"

using namespace cots;
using at::Tensor;
using enum ops::DuplicatePolicy;

namespace {

struct Problem {
  Tensor image, text, image_key, text_key, image_queue, text_queue, weights, log_scale;
  Tensor id, queue_id;
  double normalizer = 1, instance_weight = 1, task_weight = 1;
  bool include_positive = true, stopgrad_target = false;
  ops::DuplicatePolicy policy = kKeep;
  int64_t batch_key_column = -1;

  Problem to(at::ScalarType type) const {
    Problem p = *this;
    for (Tensor* x : {&p.image, &p.text, &p.log_scale})
      *x = x->detach().to(type).clone().requires_grad_();
    for (Tensor* x : {&p.image_key, &p.text_key, &p.image_queue, &p.text_queue}) *x = x->to(type);
    return p;
  }
};

Problem random_problem(int64_t B, int64_t n, int64_t D, double tau = 0.07) {
  Problem p;
  p.image = test::unit_rows(B, D, 1), p.text = test::unit_rows(B, D, 2);
  p.image_key = test::unit_rows(B, D, 3), p.text_key = test::unit_rows(B, D, 4);
  p.image_queue = test::unit_rows(n, D, 5), p.text_queue = test::unit_rows(n, D, 6);
  p.weights = at::ones({B});
  p.log_scale = at::scalar_tensor(std::log(1 / tau));
  p.normalizer = static_cast<double>(B);
  p.task_weight = 0.7;
  return p;
}

/// Ids that repeat: every row matches several queue entries.
void add_ids(Problem& p, ops::DuplicatePolicy policy, int64_t distinct) {
  p.policy = policy;
  p.id = at::arange(p.image.size(0), at::kLong).remainder(distinct);
  p.queue_id = at::arange(p.image_queue.size(0), at::kLong).remainder(distinct + 1);
}

template <class F>
Tensor losses_by(const F& function, const Problem& p) {
  return function({p.image, p.text, p.image_key, p.text_key, p.image_queue, p.text_queue, p.weights,
                   p.log_scale, p.id, p.queue_id},
                  {p.normalizer, p.instance_weight, p.task_weight, p.include_positive,
                   p.stopgrad_target, p.policy, p.batch_key_column});
}
Tensor kernel_losses(const Problem& p) { return losses_by(ops::queue_contrast_loss, p); }
Tensor composite_losses(const Problem& p) { return losses_by(ops::queue_contrast_composite, p); }

struct Result {
  Tensor losses, image, text, log_scale;
};

Result result_of(const Tensor& losses, const Problem& p) {
  losses.select(0, 0).backward();
  return {losses.detach(), p.image.grad(), p.text.grad(), p.log_scale.grad()};
}

/// Kernel and float32 composite against the float64 composite, at most twice its error.
Result compare(const Problem& inputs) {
  const Problem k = inputs.to(at::kFloat), c = inputs.to(at::kFloat), r = inputs.to(at::kDouble);
  const Result kernel = result_of(kernel_losses(k), k),
               composite = result_of(composite_losses(c), c);
  const Result reference = result_of(composite_losses(r), r);
  INFO("B ", k.image.size(0), " n ", k.image_queue.size(0), " D ", k.image.size(1),
       " include_positive ", k.include_positive, " stopgrad_target ", k.stopgrad_target, " policy ",
       static_cast<int64_t>(k.policy));
  // A logit is off by its product's rounding times the scale, and with it a loss by as much, a p
  // and so a gradient by that share of itself.
  const double scale = 0.1 * std::exp(inputs.log_scale.item<double>()),
               steepness = std::max(1.0, scale);
  test::check_twice(kernel.losses, composite.losses, reference.losses, steepness);
  for (const auto& [k_Bd, c_Bd, r_Bd] : {std::tie(kernel.image, composite.image, reference.image),
                                         std::tie(kernel.text, composite.text, reference.text)})
    test::check_twice(k_Bd, c_Bd, r_Bd, steepness * test::max_abs(r_Bd));
  test::check_twice(kernel.log_scale, composite.log_scale, reference.log_scale, scale);
  return kernel;
}

/// SPEC 3.2 and 3.3 by plain loops over one row's logits, index 0 the positive.
struct RowLosses {
  double instance = 0, task = 0;
};

double log_sum_exp(const std::vector<double>& x, size_t first) {
  double top = -INFINITY, sum = 0;
  for (size_t j = first; j < x.size(); ++j) top = std::max(top, x[j]);
  for (size_t j = first; j < x.size(); ++j) sum += std::exp(x[j] - top);
  return top + std::log(sum);
}

RowLosses loop_losses(const std::vector<double>& a, const std::vector<double>& b,
                      bool include_positive) {
  RowLosses row{log_sum_exp(a, 0) - a[0] + log_sum_exp(b, 0) - b[0], 0};
  const size_t first = include_positive ? 0 : 1;
  if (first == a.size()) return row;
  const double A = log_sum_exp(a, first), C = log_sum_exp(b, first);
  for (size_t j = first; j < a.size(); ++j) {
    const double log_p = a[j] - A, log_q = b[j] - C;
    row.task += std::exp(log_p) * (log_p - log_q) + std::exp(log_q) * (log_q - log_p);
  }
  return row;
}

double loop_total(const Problem& p) {
  const Problem d = p.to(at::kDouble);
  const double s = std::exp(d.log_scale.item<double>());
  const auto logits = [&](const Tensor& query, const Tensor& key, const Tensor& queue) {
    const Tensor x = s * at::cat({key.dot(query).view({1}), queue.mv(query)});
    return std::vector<double>(x.const_data_ptr<double>(), x.const_data_ptr<double>() + x.numel());
  };
  double total = 0;
  for (int64_t i = 0; i < d.image.size(0); ++i) {
    const RowLosses row =
        loop_losses(logits(d.image.detach()[i], d.text_key[i], d.text_queue),
                    logits(d.text.detach()[i], d.image_key[i], d.image_queue), p.include_positive);
    total += p.weights[i].item<double>() / p.normalizer *
             (p.instance_weight * row.instance + p.task_weight * row.task);
  }
  return total;
}

/// Central differences of the total in float64.
Tensor finite_differences(const Problem& p, Tensor Problem::*argument) {
  Problem moved = p.to(at::kDouble);
  Tensor x = (moved.*argument).detach();
  const Tensor flat = x.view({-1}), gradient = at::zeros_like(flat);
  constexpr double kStep = 1e-5;
  for (int64_t i = 0; i < flat.numel(); ++i) {
    const double value = flat[i].item<double>();
    const auto total = [&](double at) {
      flat[i].fill_(at);
      moved.*argument = x;
      return composite_losses(moved)[0].item<double>();
    };
    gradient[i].fill_((total(value + kStep) - total(value - kStep)) / (2 * kStep));
    flat[i].fill_(value);
  }
  return gradient.view(x.sizes());
}

}  // namespace

TEST_CASE("queue_contrast: the composite is SPEC 3.2 and 3.3 by plain loops") {
  for (const bool include_positive : {true, false}) {
    Problem p = random_problem(4, 37, 8);
    p.include_positive = include_positive;
    const double expected = loop_total(p);
    CHECK(std::abs(composite_losses(p.to(at::kDouble))[0].item<double>() - expected) <
          1e-14 * expected * 4);
  }
}

TEST_CASE("queue_contrast: gradients against float64 central differences") {
  for (const bool include_positive : {true, false}) {
    Problem p = random_problem(4, 37, 8);
    p.include_positive = include_positive;
    const Problem d = p.to(at::kDouble), f = p.to(at::kFloat);
    const Result composite = result_of(composite_losses(d), d),
                 kernel = result_of(kernel_losses(f), f);
    const Tensor image = finite_differences(p, &Problem::image),
                 text = finite_differences(p, &Problem::text);
    const Tensor log_scale = finite_differences(p, &Problem::log_scale);
    CHECK(test::max_abs(image) > 1);
    CHECK(test::max_error(composite.image, image) < 1e-7);
    CHECK(test::max_error(composite.text, text) < 1e-7);
    CHECK(test::max_error(composite.log_scale, log_scale) < 1e-7);
    CHECK(test::max_error(kernel.image, image) < 1e-5 * test::max_abs(image));
    CHECK(test::max_error(kernel.text, text) < 1e-5 * test::max_abs(text));
    CHECK(test::max_error(kernel.log_scale, log_scale) < 1e-5 * test::max_abs(log_scale));
  }
}

TEST_CASE(
    "queue_contrast equals its composite on awkward shapes, both task modes and both "
    "stop-gradients") {
  for (const int64_t B : {1, 2, 123, 257})
    for (const int64_t n : {0, 1, 2, 123, 257})
      for (const int64_t D : {1, 2, 123}) {
        Problem p = random_problem(B, n, D);
        p.include_positive = (B + n) % 2 == 0;
        p.stopgrad_target = (n + D) % 3 == 0;
        compare(p);
      }
  for (const bool include_positive : {true, false})
    for (const bool stopgrad_target : {true, false}) {
      Problem p = random_problem(123, 257, 257);
      p.include_positive = include_positive, p.stopgrad_target = stopgrad_target;
      compare(p);
    }
}

TEST_CASE("queue_contrast over several chunks, tiles and row blocks") {
  Problem p = random_problem(300, 5003, 16);
  add_ids(p, kMaskSameImage, 40);
  compare(p);
  p.policy = kMultiPositive, p.include_positive = false;
  compare(p);
}

TEST_CASE("queue_contrast repeats bit for bit with two threads") {
  const Problem p = random_problem(64, 4100, 32);
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const Problem once = p.to(at::kFloat);
  const Result first = result_of(kernel_losses(once), once);
  for (int repeat = 0; repeat < 5; ++repeat) {
    const Problem again = p.to(at::kFloat);
    const Result second = result_of(kernel_losses(again), again);
    CHECK(first.losses.equal(second.losses));
    CHECK(first.image.equal(second.image));
    CHECK(first.text.equal(second.text));
  }
  at::set_num_threads(threads);
}

TEST_CASE("queue_contrast with duplicate keys and large logits") {
  Problem p = random_problem(33, 130, 8);
  p.text_queue.narrow(0, 3, 60).copy_(
      p.text_key.narrow(0, 0, 1).expand({60, 8}));  // ties with a positive
  p.image_queue.narrow(0, 70, 50).copy_(p.image_queue.narrow(0, 0, 1).expand({50, 8}));
  compare(p);
  Problem steep = p;
  steep.log_scale = at::scalar_tensor(std::log(1e3));
  compare(steep);
}

TEST_CASE("queue_contrast: weights in [0, 1] and a normalizer of the whole step") {
  Problem p = random_problem(9, 70, 16);
  p.weights = at::tensor({1.0f, 0.0f, 0.5f, 1.0f, 0.0f, 0.25f, 1.0f, 0.0f, 1.0f});
  p.normalizer = 31;
  const Result kernel = compare(p);
  CHECK(test::max_abs(kernel.image[1]) == 0.0);
  CHECK(test::max_abs(kernel.text[7]) == 0.0);
}

TEST_CASE("queue_contrast: a row of weight 0 may hold NaN") {
  Problem p = random_problem(5, 20, 8);
  p.weights = at::tensor({1.0f, 1.0f, 0.0f, 1.0f, 1.0f});
  const Problem clean = p.to(at::kFloat);
  for (Tensor* x : {&p.image, &p.text, &p.image_key, &p.text_key}) {
    *x = x->clone();
    x->select(0, 2).fill_(std::numeric_limits<float>::quiet_NaN());
  }
  const Problem poisoned = p.to(at::kFloat);
  const Result expected = result_of(kernel_losses(clean), clean),
               got = result_of(kernel_losses(poisoned), poisoned);
  CHECK(got.losses.equal(expected.losses));
  CHECK(got.image.equal(expected.image));
  CHECK(got.log_scale.equal(expected.log_scale));
  const Problem composite = p.to(at::kFloat);
  CHECK(result_of(composite_losses(composite), composite).text.isfinite().all().item<bool>());
}

TEST_CASE("queue_contrast: every pair of weight 0 gives loss 0 and gradient 0") {
  Problem p = random_problem(5, 20, 8);
  p.weights = at::zeros({5});
  const Result kernel = compare(p);
  CHECK(test::max_abs(kernel.losses) == 0.0);
  CHECK(test::max_abs(kernel.image) == 0.0);
}

TEST_CASE("queue_contrast: only element 0 carries gradient, scaled by what comes from above") {
  const Problem p = random_problem(6, 30, 8).to(at::kFloat), q = p.to(at::kFloat);
  const Result once = result_of(kernel_losses(p), p);
  const Tensor losses = kernel_losses(q);
  (losses * at::tensor({3.0f, 100.0f, 100.0f, 100.0f})).sum().backward();
  CHECK(test::max_error(q.image.grad(), 3 * once.image) < 1e-6);
}

TEST_CASE("queue_contrast: the batch's own keys, each row without its own column") {
  for (const auto policy : {kKeep, kMaskSameImage, kMultiPositive}) {
    Problem p = random_problem(7, 40, 8);
    if (policy != kKeep) add_ids(p, policy, 5);
    p.image_queue = at::cat({p.image_queue, p.image_key}),
    p.text_queue = at::cat({p.text_queue, p.text_key});
    if (policy != kKeep) p.queue_id = at::cat({p.queue_id, p.id});
    p.batch_key_column = 40;
    p.weights[3].fill_(
        0.0f);  // a row's column is its place in the batch, not among the rows with a weight
    compare(p);
  }
}

TEST_CASE("include_positive false and n = 0") {
  Problem p = random_problem(5, 0, 8);
  p.include_positive = false;
  const Result kernel = compare(p);
  CHECK(kernel.losses[3].item<float>() == 0.0f);
  CHECK(test::max_abs(kernel.losses) ==
        0.0);  // nothing to tell the pair from: InfoNCE is 0 as well
  CHECK(test::max_abs(kernel.image) == 0.0);
}

TEST_CASE("same image (or same text) in the queue") {
  // Row 0 has id 7; queue entries 1 and 4 are other captions of the same image.
  Problem p = random_problem(2, 6, 8);
  p.id = at::tensor({int64_t{7}, int64_t{8}}, at::kLong);
  p.queue_id = at::tensor({int64_t{1}, int64_t{7}, int64_t{2}, int64_t{3}, int64_t{7}, int64_t{4}},
                          at::kLong);
  p.task_weight = 0;
  p.weights = at::tensor({1.0f, 0.0f});
  p.normalizer = 1;
  const double s = std::exp(p.log_scale.item<double>());
  const Tensor a =
      s * at::cat({p.text_key[0].dot(p.image[0]).view({1}), p.text_queue.mv(p.image[0])})
              .to(at::kDouble);
  const auto image_to_text = [&](ops::DuplicatePolicy policy) {
    p.policy = policy;
    return compare(p).losses[1].item<double>();
  };
  const auto at_columns = [&](std::vector<int64_t> columns) {
    return a.index_select(0, at::tensor(columns, at::kLong));
  };
  const double all = a.logsumexp(0).item<double>(), a0 = a[0].item<double>();
  CHECK(image_to_text(kKeep) == doctest::Approx(all - a0).epsilon(1e-5));
  CHECK(
      image_to_text(kMaskSameImage) ==
      doctest::Approx(at_columns({0, 1, 3, 4, 6}).logsumexp(0).item<double>() - a0).epsilon(1e-5));
  CHECK(image_to_text(kMultiPositive) ==
        doctest::Approx(all - at_columns({0, 2, 5}).mean().item<double>()).epsilon(1e-5));
  p.task_weight = 0.7;
  for (const auto policy : {kMaskSameImage, kMultiPositive})
    for (const bool include_positive : {true, false}) {
      p.policy = policy, p.include_positive = include_positive;
      compare(p);
    }
}

TEST_CASE("all columns of a row masked") {
  for (const bool include_positive : {true, false}) {
    Problem p = random_problem(3, 10, 8);
    p.include_positive = include_positive;
    p.policy = kMaskSameImage;
    p.id = at::tensor({int64_t{1}, int64_t{2}, int64_t{1}}, at::kLong);
    p.queue_id = at::ones({10}, at::kLong);
    const Result kernel = compare(p);
    CHECK(test::max_abs(kernel.image[0]) == 0.0);  // only the positive remains: p_0 = 1
    CHECK(test::max_abs(kernel.text[2]) == 0.0);
    CHECK(test::max_abs(kernel.image[1]) > 0.0);
    p.weights = at::tensor({1.0f, 0.0f, 1.0f});
    CHECK(test::max_abs(compare(p).losses) == 0.0);
  }
}

TEST_CASE("p underflow") {
  // Logits 4,000 apart: every p but one is 0 in float32, d = a - b is still exact and nothing is
  // NaN.
  for (const bool include_positive : {true, false}) {
    Problem p = random_problem(4, 37, 8);
    p.include_positive = include_positive;
    p.log_scale = at::scalar_tensor(std::log(2000.0));
    const Result kernel = compare(p);
    CHECK(kernel.losses.isfinite().all().item<bool>());
    CHECK(kernel.image.isfinite().all().item<bool>());
    CHECK(kernel.losses[3].item<double>() > 100);
  }
  // The other way round: the positive takes everything, and the queue's own distribution must not
  // divide by e^-4000.
  Problem p = random_problem(2, 8, 8);
  p.image = p.text_key.clone(), p.text = p.image_key.clone();
  p.text_queue = -p.text_key[0].expand({8, 8}).clone() + 0.01 * p.text_queue;
  p.image_queue = -p.image_key[0].expand({8, 8}).clone() + 0.01 * p.image_queue;
  p.log_scale = at::scalar_tensor(std::log(2000.0));
  p.include_positive = false;
  p.weights = at::tensor({1.0f, 0.0f});
  compare(p);
}

TEST_CASE("queue_contrast refuses shapes that disagree and a policy without ids") {
  Problem p = random_problem(3, 10, 8);
  p.text_queue = test::unit_rows(9, 8, 1);
  CHECK_THROWS_WITH_AS(kernel_losses(p),
                       doctest::Contains("expected text_queue as float32 [10, 8]"), c10::Error);
  p = random_problem(3, 10, 8);
  p.policy = kMaskSameImage;
  CHECK_THROWS_WITH_AS(kernel_losses(p), doctest::Contains("a duplicate policy needs id"),
                       c10::Error);
}
