// The plan of accelerators, on the CPU: against the CPU's own plans, in bfloat16, and out of
// memory.
#include "infer/device_plan.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include "infer/image_plan.h"
#include "infer/text_plan.h"
#include "io/failure.h"
#include "limited-memory.h"
#include "tiny-towers.h"

using namespace cots;

namespace {

const double kMean[3] = {0.48, 0.45, 0.4}, kStd[3] = {0.27, 0.26, 0.25};

struct Model : test::TinyTowers {
  explicit Model(const ModelConfig& config) : TinyTowers(config, 0.2) {}
  DevicePlan plan(at::ScalarType compute = at::kFloat) const {
    return DevicePlan(config, weight(), {at::kCPU, compute});
  }
};

Tensor images(int64_t count) {
  return (test::normal({count, 16, 16, 3}, 21) * 60 + 128).clamp(0, 255).to(at::kByte);
}

struct Texts {
  Tensor ids = (test::normal({6, 12}, 22).abs() * 1000).to(at::kLong).remainder(40),
         lengths = at::tensor({9, 4, 2, 12, 1, 9}, at::kLong);
};

double least_cosine(const Tensor& a_BD, const Tensor& b_BD) {
  return (a_BD * b_BD).sum(1).min().item<double>();
}

}  // namespace

TEST_CASE("the device plan gives the CPU plans' embeddings, padded or not") {
  const Texts texts;
  for (const ModelConfig& config : test::tower_variants()) {
    const Model model(config);
    const Tensor pixels = images(5);
    const c10::InferenceMode inference;
    DevicePlan plan = model.plan();

    const Tensor found = plan.embed_images(pixels, kMean, kStd);
    Tensor expected = at::empty_like(found);
    ImagePlan(config, ParameterWeights(model.parameters), Precision::kFloat32)
        .run(pixels, kMean, kStd, expected.mutable_data_ptr<float>());
    CHECK(test::max_difference(found, expected) < 1e-5);

    const Tensor words = plan.embed_texts(texts.ids, texts.lengths);
    expected = at::empty_like(words);
    TextPlan(config, ParameterWeights(model.parameters), Precision::kFloat32)
        .run(texts.ids.const_data_ptr<int64_t>(), 12, texts.lengths.const_data_ptr<int64_t>(), 6,
             expected.mutable_data_ptr<float>());
    CHECK(test::max_difference(words, expected) < 1e-5);

    // Shapes that are there are used again: what their last batch left does no harm.
    CHECK(plan.shapes() == 2);
    CHECK(test::max_difference(plan.embed_images(pixels.narrow(0, 0, 5).flip(0), kMean, kStd),
                               found.flip(0)) < 1e-6);
    const Tensor short_ids = texts.ids.narrow(0, 0, 5).narrow(1, 0, 9);
    CHECK(test::max_difference(
              plan.embed_texts(texts.ids.narrow(0, 0, 5), texts.lengths.narrow(0, 0, 5)),
              words.narrow(0, 0, 5)) < 1e-5);
    CHECK(plan.shapes() == 2);
    CHECK(test::max_difference(
              plan.embed_texts(short_ids.narrow(0, 0, 3), texts.lengths.narrow(0, 0, 3)),
              words.narrow(0, 0, 3)) < 1e-5);
    CHECK(plan.shapes() == 3);
    CHECK(plan.embed_images(images(0), kMean, kStd).size(0) == 0);
  }
}

TEST_CASE("the device plan follows another normalization") {
  const Model model(test::tiny_model());
  DevicePlan plan = model.plan();
  const double other_mean[3] = {0.1, 0.2, 0.3}, other_std[3] = {0.5, 0.6, 0.7};
  plan.embed_images(images(2), kMean, kStd);
  const Tensor found = plan.embed_images(images(2), other_mean, other_std);
  CHECK(at::equal(found, model.plan().embed_images(images(2), other_mean, other_std)));
}

TEST_CASE("the device plan in bfloat16 stays near float32, with unit rows in float32") {
  const Texts texts;
  for (const ModelConfig& config : test::tower_variants()) {
    const Model model(config);
    DevicePlan half = model.plan(at::kBFloat16), single = model.plan();
    const Tensor rows = half.embed_images(images(5), kMean, kStd);
    CHECK((rows.scalar_type() == at::kFloat));
    CHECK((rows.norm(2, 1) - 1).abs().max().item<double>() < 1e-6);
    CHECK(least_cosine(rows, single.embed_images(images(5), kMean, kStd)) > 0.99);
    CHECK(least_cosine(half.embed_texts(texts.ids, texts.lengths),
                       single.embed_texts(texts.ids, texts.lengths)) > 0.99);
  }
}

TEST_CASE("the device plan out of memory halves its batch, goes on, and ends at one row") {
  const Model model(test::tiny_model());
  const Tensor pixels = images(16), expected = model.plan().embed_images(pixels, kMean, kStd);
  {
    DevicePlan plan = model.plan();
    const int64_t at_first = plan.images_at_once();
    REQUIRE(at_first > 16);
    // The widest activation of 4 rows: 4 x 17 tokens of 48 floats for queries, keys and values.
    const test::LimitedMemory memory(4 * 17 * 48 * sizeof(float));
    CHECK(test::max_difference(plan.embed_images(pixels, kMean, kStd), expected) < 1e-5);
    CHECK(plan.images_at_once() == 4);
  }
  DevicePlan plan = model.plan();
  {
    const test::LimitedMemory memory(1000);
    CHECK_THROWS_WITH_AS(plan.embed_images(pixels, kMean, kStd),
                         doctest::Contains("memory for one row"), Failure);
  }
  CHECK(plan.shapes() == 0);
  CHECK(test::max_difference(plan.embed_images(pixels, kMean, kStd), expected) < 1e-5);
}
