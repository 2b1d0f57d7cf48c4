// Maps over patches: of every sort of tower, the score that embedding gives, and what is
// degenerate. Their values are held against PyTorch's in test/golden/attention.test.ts.
#include "infer/attention_map.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "tiny-towers.h"

using namespace cots;

namespace {

struct Model : test::TinyTowers {
  explicit Model(const ModelConfig& config) : TinyTowers(config, 0.3) {}
  AttentionMapper mapper() const { return AttentionMapper(config, weight()); }
};

}  // namespace

TEST_CASE("attention maps of ViT, CLIP and BEiT lie in [0, 1], beside the embeddings' score") {
  for (const ModelConfig& config : test::tower_variants()) {
    const Model model(config);
    const AttentionMapper mapper = model.mapper();
    const Tensor pixels = test::normal({1, 3, 16, 16}, 5);
    const int64_t D = config.has_projection() ? config.embed_dim : config.image.width;
    const Tensor text = test::unit_rows({1, D}, 6).select(0, 0);
    const double score =
        model.towers.encode_image(pixels).embedding_BD.select(0, 0).dot(text).item<double>();
    for (const MapMethod method :
         {MapMethod::kRelevancy, MapMethod::kPatchSimilarity, MapMethod::kLastAttention}) {
      const AttentionMap found = mapper.map(pixels, text, {method, -1});
      CHECK(found.score == doctest::Approx(score).epsilon(1e-4));
      CHECK(found.map_P.sizes() == at::IntArrayRef({config.image.patches()}));
      CHECK(found.map_P.min().item<float>() == 0);
      CHECK(found.map_P.max().item<float>() == 1);
    }
  }
}

TEST_CASE("an attention map of one value everywhere is all zeros") {
  Model model(test::tiny_model());
  // A bias alone makes the states: every patch is like every other.
  for (const char* name : {"visual.patch.weight", "visual.pos_embed"})
    model.parameters.find(name)->value.zero_();
  const Tensor text = test::unit_rows({1, 8}, 6).select(0, 0);
  const AttentionMap found =
      model.mapper().map(test::normal({1, 3, 16, 16}, 5), text, {MapMethod::kPatchSimilarity, -1});
  CHECK(found.map_P.eq(0).all().item<bool>());
}
