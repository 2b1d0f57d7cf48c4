// The execution plans against the towers that training runs (model/), for every variant of them.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include "infer/image_plan.h"
#include "infer/text_plan.h"
#include "io/pixels.h"
#include "tiny-model.h"

using namespace cots;

namespace {

const double kMean[3] = {0.48, 0.45, 0.4}, kStd[3] = {0.27, 0.26, 0.25};

/// A model whose every weight matters.
struct Towered {
  explicit Towered(const ModelConfig& config)
      : parameters(1), towers(config, Scope(parameters, "visual"), Scope(parameters, "text")) {
    parameters.flatten(false);
    test::enlarge_weights(parameters, 0.2);
  }
  Parameters parameters;
  Towers towers;
};

}  // namespace

TEST_CASE("the image plan gives the tower's embeddings, bit-equal in any batch") {
  const c10::InferenceMode inference;
  const Tensor images = (test::normal({5, 16, 16, 3}, 21) * 60 + 128).clamp(0, 255).to(at::kByte);
  for (const ModelConfig& config : test::tower_variants()) {
    const Towered model(config);
    const Tensor expected =
        model.towers.encode_image(io::normalize(images, kMean, kStd)).embedding_BD;
    ImagePlan plan(config, ParameterWeights(model.parameters), Precision::kFloat32);
    const auto run = [&](const Tensor& some) {
      Tensor out = at::full({some.size(0), expected.size(1)}, 1e9F);
      plan.run(some.contiguous(), kMean, kStd, out.mutable_data_ptr<float>());
      return out;
    };
    const Tensor all = run(images);
    CHECK(test::max_difference(all, expected) < 1e-5);
    for (int64_t b = 0; b < 5; ++b) CHECK(at::equal(run(images.narrow(0, b, 1))[0], all[b]));
  }
}

TEST_CASE("the text plan gives the tower's embeddings, whatever lies beside a text or after it") {
  const c10::InferenceMode inference;
  const Tensor ids = (test::normal({6, 12}, 22).abs() * 1000).to(at::kLong).remainder(40),
               lengths = at::tensor({9, 4, 2, 12, 1, 9}, at::kLong);
  for (const ModelConfig& config : test::tower_variants()) {
    const Towered model(config);
    const Tensor expected = model.towers.encode_text(ids, lengths).embedding_BD;
    TextPlan plan(config, ParameterWeights(model.parameters), Precision::kFloat32);
    const auto run = [&](const Tensor& some, const Tensor& their_lengths) {
      Tensor out = at::full({some.size(0), expected.size(1)}, 1e9F);
      const Tensor rows = some.contiguous();
      plan.run(rows.const_data_ptr<int64_t>(), rows.size(1),
               their_lengths.contiguous().const_data_ptr<int64_t>(), rows.size(0),
               out.mutable_data_ptr<float>());
      return out;
    };
    const Tensor all = run(ids, lengths);
    CHECK(test::max_difference(all, expected) < 1e-5);
    for (int64_t b = 0; b < 6; ++b) {
      const int64_t length = lengths[b].item<int64_t>();
      const Tensor alone = run(ids.narrow(0, b, 1).narrow(1, 0, length), lengths.narrow(0, b, 1));
      CHECK(at::equal(alone[0], all[b]));
    }
    CHECK_THROWS_WITH_AS(run(ids.narrow(0, 0, 1), at::tensor({13}, at::kLong)),
                         doctest::Contains("texts of 1 to 12 tokens"), c10::Error);
  }
}

namespace {

/// Embeddings of an image plan in one precision.
Tensor embed(const ModelConfig& config, const Parameters& parameters, Precision precision,
             const Tensor& images) {
  ImagePlan plan(config, ParameterWeights(parameters), precision);
  Tensor out = at::full({images.size(0), config.embed_dim}, 1e9F);
  plan.run(images.contiguous(), kMean, kStd, out.mutable_data_ptr<float>());
  return out;
}

double least_cosine(const Tensor& a, const Tensor& b) {
  return a.mul(b).sum(1).min().item<double>();  // unit rows
}

}  // namespace

TEST_CASE("bfloat16 and int8 plans of base width stay near float32, bit-equal in any batch") {
  const c10::InferenceMode inference;
  ModelConfig config;  // ViT-B/16 and BERT-base, on 4 x 4 patches
  config.image.size = 64;
  config.text.vocab_size = 40;
  Parameters parameters(1);
  const Towers towers(config, Scope(parameters, "visual"), Scope(parameters, "text"));
  parameters.flatten(false);
  const Tensor images = (test::normal({3, 64, 64, 3}, 23) * 60 + 128).clamp(0, 255).to(at::kByte),
               ids = (test::normal({3, 9}, 24).abs() * 1000).to(at::kLong).remainder(40),
               lengths = at::tensor({9, 2, 5}, at::kLong), one = at::tensor({5}, at::kLong);
  const auto embed_texts = [&](Precision precision, const Tensor& some, const Tensor& counts) {
    TextPlan plan(config, ParameterWeights(parameters), precision);
    Tensor out = at::full({some.size(0), config.embed_dim}, 1e9F);
    plan.run(some.contiguous().const_data_ptr<int64_t>(), 9, counts.const_data_ptr<int64_t>(),
             some.size(0), out.mutable_data_ptr<float>());
    return out;
  };
  const Tensor image32 = embed(config, parameters, Precision::kFloat32, images),
               text32 = embed_texts(Precision::kFloat32, ids, lengths);
  for (const auto& [precision, cosine] :
       {std::pair{Precision::kBfloat16, 0.9999}, {Precision::kInt8, 0.998}}) {
    const Tensor image = embed(config, parameters, precision, images),
                 text = embed_texts(precision, ids, lengths);
    CHECK(least_cosine(image, image32) >= cosine);
    CHECK(least_cosine(text, text32) >= cosine);
    CHECK(!at::equal(image, image32));
    CHECK(at::equal(embed(config, parameters, precision, images.narrow(0, 2, 1))[0], image[2]));
    CHECK(at::equal(embed_texts(precision, ids.narrow(0, 2, 1), one)[0], text[2]));
    MESSAGE(least_cosine(image, image32), " ", least_cosine(text, text32));
  }
}

TEST_CASE("bfloat16: a packed layer is the float32 layer of rounded weights, bit for bit") {
  const c10::InferenceMode inference;
  const Tensor w = test::normal({33, 50}, 25), x = test::normal({14, 50}, 26);
  const kernels::PackedLinear halves(w, Tensor(), kernels::Storage::kBfloat16),
      rounded(w.to(at::kBFloat16).to(at::kFloat), Tensor());
  CHECK(at::equal(halves.unpack(), rounded.unpack()));
  Tensor y = at::zeros({14, 33}), expected = at::zeros({14, 33});
  halves.run({x.const_data_ptr<float>(), 50}, 14, y.mutable_data_ptr<float>(), 33);
  rounded.run({x.const_data_ptr<float>(), 50}, 14, expected.mutable_data_ptr<float>(), 33);
  CHECK(at::equal(y, expected));
}

TEST_CASE("int8: a layer whose codes lose too much stays in float32") {
  const Tensor w = test::normal({64, 768}, 27);
  Tensor skewed = w.clone();
  skewed.select(1, 5).mul_(20);
  CHECK(PlannedLinear(w, Tensor(), Precision::kInt8).is_quantized());
  CHECK(!PlannedLinear(skewed, Tensor(), Precision::kInt8).is_quantized());
  CHECK(!PlannedLinear(w, Tensor(), Precision::kFloat32).is_quantized());
}
