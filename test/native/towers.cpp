#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>

#include <atomic>

#include "io/failure.h"
#include "model/cots.h"
#include "model/relative_bias.h"
#include "model/weights.h"
#include "ops/cancel.h"
#include "tiny-model.h"

using namespace cots;

namespace {

struct Inputs {
  Tensor pixels_BCHW = test::normal({5, 3, 16, 16}, 11);
  Tensor ids_BL = (test::normal({5, 9}, 12).abs() * 1000).to(at::kLong).remainder(40);
  Tensor lengths_B = at::tensor({9, 4, 2, 7, 9}, at::kLong);
};

/// A model whose every weight matters.
struct Tiny {
  Cots model;
  explicit Tiny(Pool pool = Pool::kCls) : model(config_of(pool), test::tiny_token(), 0.05, 1) {
    test::enlarge_weights(model.parameters(), 0.2);
  }
  static ModelConfig config_of(Pool pool) {
    ModelConfig config = test::tiny_model();
    config.image.pool = config.text.pool = pool;
    return config;
  }
  Tensor weight(const std::string& name) { return model.parameters().find(name)->value.detach(); }
};

}  // namespace

TEST_CASE("in evaluation an item's embedding is the same in any batch") {
  const c10::NoGradGuard no_grad;
  const Inputs in;
  for (const Pool pool : {Pool::kCls, Pool::kMean}) {
    const Tiny tiny(pool);
    const Towers& towers = tiny.model.towers();
    const Tensor image = towers.encode_image(in.pixels_BCHW).embedding_BD;
    const Tensor text = towers.encode_text(in.ids_BL, in.lengths_B).embedding_BD;
    for (int64_t rows = 1; rows < 5; ++rows) {
      CHECK(test::max_difference(
                towers.encode_image(in.pixels_BCHW.narrow(0, 5 - rows, rows)).embedding_BD,
                image.narrow(0, 5 - rows, rows)) < 1e-5);
      CHECK(test::max_difference(towers
                                     .encode_text(in.ids_BL.narrow(0, 5 - rows, rows),
                                                  in.lengths_B.narrow(0, 5 - rows, rows))
                                     .embedding_BD,
                                 text.narrow(0, 5 - rows, rows)) < 1e-5);
    }
  }
}

TEST_CASE("padding changes nothing: neither its length nor its ids") {
  const c10::NoGradGuard no_grad;
  const Inputs in;
  for (const Pool pool : {Pool::kCls, Pool::kMean}) {
    const Tiny tiny(pool);
    const Tensor text = tiny.model.towers().encode_text(in.ids_BL, in.lengths_B).embedding_BD;
    const Tensor alone =
        tiny.model.towers()
            .encode_text(in.ids_BL.narrow(0, 1, 1).narrow(1, 0, 4), in.lengths_B.narrow(0, 1, 1))
            .embedding_BD;
    CHECK(test::max_difference(alone, text.narrow(0, 1, 1)) < 1e-5);
    Tensor other = in.ids_BL.clone();
    other[1].narrow(0, 4, 5).fill_(39);
    CHECK(test::max_difference(tiny.model.towers().encode_text(other, in.lengths_B).embedding_BD,
                               text) < 1e-6);
    other[1][3] = (other[1][3] + 1).remainder(40);  // a word that is read
    CHECK(test::max_difference(tiny.model.towers().encode_text(other, in.lengths_B).embedding_BD,
                               text) > 1e-3);
  }
}

TEST_CASE("a masked patch is the mask token before its position is added") {
  const c10::NoGradGuard no_grad;
  const Inputs in;
  Tiny tiny;
  const Tensor mask_BP = test::normal({5, 16}, 13) > 0.3;
  const Tensor masked = tiny.model.towers().encode_image(in.pixels_BCHW, mask_BP).states_BLd;

  // The same by hand: the positions of masked patches give what the patch lacks. A patch of zero
  // pixels embeds as its bias, so that bias + position' = mask token + position.
  const Tensor as_patches = mask_BP.view({5, 4, 4, 1, 1})
                                .expand({5, 4, 4, 4, 4})
                                .permute({0, 1, 3, 2, 4})
                                .reshape({5, 1, 16, 16});
  const Tensor blank = in.pixels_BCHW.masked_fill(as_patches, 0);
  const Tensor position = tiny.weight("visual.pos_embed"), plain = position.clone();
  const Tensor shift_1d =
      tiny.weight("visual.mask_token").view({1, 16}) - tiny.weight("visual.patch.bias");
  for (int64_t b = 0; b < 5; ++b) {
    position.copy_(plain);
    position[0].narrow(0, 1, 16).add_(mask_BP[b].unsqueeze(1).to(at::kFloat) * shift_1d);
    const Tensor by_hand = tiny.model.towers().encode_image(blank.narrow(0, b, 1)).states_BLd;
    CHECK(test::max_difference(by_hand[0], masked[b]) < 1e-5);
  }
  position.copy_(plain);
  CHECK(test::max_difference(tiny.model.towers().encode_image(in.pixels_BCHW).states_BLd, masked) >
        0.1);
}

TEST_CASE("asking for the global state alone gives the same state, gradients included") {
  const Inputs in;
  const Tensor keys_B = ops::sample_keys(1, 2, at::arange(5));
  for (const Pool pool : {Pool::kCls, Pool::kMean}) {
    Tiny tiny(pool);
    Tensor grads[2], embeddings[2];
    for (const Need need : {Need::kAll, Need::kGlobal}) {
      const auto i = static_cast<size_t>(need);
      const Encoded image = tiny.model.towers().encode_image(in.pixels_BCHW, {}, {keys_B}, need);
      const Encoded text = tiny.model.towers().encode_text(in.ids_BL, in.lengths_B, {keys_B}, need);
      embeddings[i] = at::cat({image.embedding_BD, text.embedding_BD}).detach();
      tiny.model.parameters().zero_grad();
      (image.embedding_BD * text.embedding_BD + image.global_Bd.sum()).sum().backward();
      grads[i] = tiny.model.parameters().flat_grad().clone();
      CHECK(image.states_BLd.defined() == (need == Need::kAll));
    }
    CHECK(test::max_difference(embeddings[0], embeddings[1]) < 1e-5);
    CHECK(test::max_difference(grads[0], grads[1]) < 1e-4 * grads[0].abs().max().item<double>());
  }
}

TEST_CASE("dropout and drop-path follow the sample, not its place in the batch") {
  const c10::NoGradGuard no_grad;
  const Inputs in;
  const Tiny tiny;
  const Tensor keys_B = ops::sample_keys(1, 2, at::arange(5)),
               order = at::tensor({3, 0, 4, 1, 2}, at::kLong);
  const auto image = [&](const Tensor& rows, const Tensor& keys) {
    return tiny.model.towers()
        .encode_image(in.pixels_BCHW.index_select(0, rows), {}, {keys.index_select(0, rows)})
        .embedding_BD;
  };
  const auto text = [&](const Tensor& rows, const Tensor& keys) {
    return tiny.model.towers()
        .encode_text(in.ids_BL.index_select(0, rows), in.lengths_B.index_select(0, rows),
                     {keys.index_select(0, rows)})
        .embedding_BD;
  };
  const Tensor other_B = ops::sample_keys(1, 3, at::arange(5)), plain = at::arange(5);
  CHECK(test::max_difference(image(order, keys_B), image(plain, keys_B).index_select(0, order)) <
        1e-5);
  CHECK(test::max_difference(text(order, keys_B), text(plain, keys_B).index_select(0, order)) <
        1e-5);
  CHECK(test::max_difference(image(plain, keys_B), image(plain, other_B)) >
        1e-2);  // another step, other draws
  CHECK(test::max_difference(text(plain, keys_B), text(plain, other_B)) > 1e-2);
  CHECK(test::max_difference(
            text(plain, keys_B),
            tiny.model.towers().encode_text(in.ids_BL, in.lengths_B).embedding_BD) > 1e-2);
}

TEST_CASE("a dropped path leaves the residual, a kept one is scaled by 1 / (1 - p)") {
  const c10::NoGradGuard no_grad;
  Parameters parameters(1);
  const BlockConfig config = {.width = 16,
                              .heads = 2,
                              .feed_forward = 32,
                              .layer_norm_eps = 1e-6,
                              .order = NormOrder::kPre,
                              .drop_path = 0.25,
                              .site = 4};
  const Block block(config, Scope(parameters, "block"));
  parameters.flatten(false);
  test::enlarge_weights(parameters, 0.3);
  parameters.find("block.fc2.weight")->value.zero_();
  parameters.find("block.fc2.bias")->value.zero_();  // only the attention branch is left
  const Tensor x = test::normal({400, 3, 16}, 1), keys_B = ops::sample_keys(0, 0, at::arange(400));
  const auto branch_of = [&](const Regularization& reg) {
    return block.forward(x.flatten(0, 1), Sequences::even(400, 3), reg).view(x.sizes()) - x;
  };
  const Tensor branch = branch_of({}), regularized = branch_of({keys_B});
  int64_t dropped = 0;
  for (int64_t b = 0; b < 400; ++b) {
    const bool gone = regularized[b].eq(0).all().item<bool>();
    dropped += gone;
    if (!gone) CHECK(test::max_difference(regularized[b], branch[b] / 0.75) < 1e-5);
  }
  CHECK(std::abs(static_cast<double>(dropped) / 400 - 0.25) <
        0.07);  // 3 deviations of the binomial
}

TEST_CASE("‖z‖ = 0") {
  Tiny tiny;
  const Inputs in;
  tiny.weight("visual.proj.weight").zero_();
  tiny.weight("visual.proj.bias").zero_();
  const Encoded image = tiny.model.towers().encode_image(in.pixels_BCHW);
  CHECK(image.embedding_BD.eq(0).all().item<bool>());
  image.embedding_BD.sum().backward();
  CHECK(tiny.model.parameters().flat_grad().isfinite().all().item<bool>());
  // Elsewhere rows have length 1.
  const Tensor text = tiny.model.towers().encode_text(in.ids_BL, in.lengths_B).embedding_BD;
  CHECK(test::max_difference(text.norm(2, 1), at::ones({5})) < 1e-6);
}

TEST_CASE("without a projection the embedding is the normalized pooled state") {
  const c10::NoGradGuard no_grad;
  ModelConfig config = test::tiny_model();
  config.embed_dim = 0;
  Parameters parameters(1);
  const Towers towers(config, Scope(parameters, "visual"), Scope(parameters, "text"));
  parameters.flatten(false);
  CHECK(parameters.find("visual.proj.weight") == nullptr);
  const Encoded image = towers.encode_image(Inputs().pixels_BCHW);
  const Tensor cls_Bd = image.states_BLd.select(1, 0);
  CHECK(test::max_difference(image.embedding_BD, cls_Bd / cls_Bd.norm(2, 1, true)) < 1e-6);
}

/// Towers by themselves, every weight large enough to matter.
struct Bare {
  Parameters parameters{1};
  Towers towers;
  explicit Bare(const ModelConfig& config)
      : towers(config, Scope(parameters, "visual"), Scope(parameters, "text")) {
    parameters.flatten(false);
    test::enlarge_weights(parameters, 0.2);
  }
};

TEST_CASE("with a relative position bias the CLS row alone is that of all rows") {
  const c10::NoGradGuard no_grad;
  ModelConfig config = test::tiny_model();
  config.image.relative_bias = config.image.layer_scale = config.image.input_norm = true;
  config.image.activation = Activation::kQuickGelu;
  const Bare bare(config);
  const Tensor pixels = Inputs().pixels_BCHW;
  CHECK(test::max_difference(bare.towers.encode_image(pixels, {}, {}, Need::kAll).embedding_BD,
                             bare.towers.encode_image(pixels, {}, {}, Need::kGlobal).embedding_BD) <
        1e-5);
  CHECK(bare.parameters.find("visual.blocks.1.rel_bias")->value.sizes().vec() ==
        std::vector<int64_t>{7 * 7 + 3, 2});
}

TEST_CASE("offsets of patches: one row of the table for each, three for CLS") {
  const Tensor index_LL = relative_index(3);
  CHECK(index_LL[0][0].item<int64_t>() == 27);
  CHECK(index_LL[0][5].item<int64_t>() == 25);
  CHECK(index_LL[5][0].item<int64_t>() == 26);
  // Patch (1, 2) asks patch (2, 0): dy -1, dx +2.
  CHECK(index_LL[1 + 3 + 2][1 + 6].item<int64_t>() == (2 - 1) * 5 + 2 + 2);
  CHECK(std::get<0>(at::_unique(index_LL)).numel() == relative_offsets(3));
}

TEST_CASE("a causal text: what follows a token changes nothing before it, the last one is pooled") {
  const c10::NoGradGuard no_grad;
  ModelConfig config = test::tiny_model();
  config.text.causal = true;
  config.text.norm = NormOrder::kPre;
  config.text.pool = Pool::kLast;
  const Bare bare(config);
  CHECK(bare.parameters.find("text.embed.ln.weight") == nullptr);
  CHECK(bare.parameters.find("text.norm.weight") != nullptr);
  const Inputs in;
  const Encoded text = bare.towers.encode_text(in.ids_BL, in.lengths_B);
  Tensor other = in.ids_BL.clone();
  other.narrow(1, 4, 5).fill_(39);
  const Encoded changed = bare.towers.encode_text(other, in.lengths_B);
  CHECK(test::max_difference(text.states_BLd.narrow(1, 0, 4), changed.states_BLd.narrow(1, 0, 4)) <
        1e-6);
  CHECK(test::max_difference(text.states_BLd.select(1, 4), changed.states_BLd.select(1, 4)) > 1e-3);
  for (int64_t row = 0; row < 5; ++row)
    CHECK(at::equal(text.global_Bd[row],
                    text.states_BLd[row][in.lengths_B[row].item<int64_t>() - 1]));
}

TEST_CASE("a tower that the model does not have takes no parameters") {
  ModelConfig config = test::tiny_model();
  config.towers = TowerSet::kImage;
  const Bare bare(config);
  for (const Parameter& p : bare.parameters.all()) CHECK(has_prefix(p.name, "visual."));
}

TEST_CASE("every fusion and global source gives a query of the own width") {
  const Tensor h_Md = test::normal({6, 16}, 1), g_Md = test::normal({6, 16}, 2),
               g_MD = test::normal({6, 8}, 3);
  for (const Fusion fusion : {Fusion::kAdd, Fusion::kConcat, Fusion::kNone})
    for (const GlobalSource source :
         {GlobalSource::kHidden, GlobalSource::kEmbed, GlobalSource::kMomentum})
      for (const ImageHead head : {ImageHead::kMlp, ImageHead::kBare}) {
        TokenConfig token = test::tiny_token();
        token.fusion = fusion, token.global_source = source, token.head_image = head;
        Cots model(test::tiny_model(), token, 0.05, 1);
        test::enlarge_weights(model.parameters(), 0.2);
        const MaskedHeads& heads = model.heads();
        const bool hidden = source == GlobalSource::kHidden;
        const auto query = [&](const Tensor& g) {
          return heads.image_query(h_Md, heads.image_global(g));
        };
        const Tensor& g = hidden ? g_Md : g_MD;
        const Tensor u_Md = query(g);
        CHECK(u_Md.sizes() == h_Md.sizes());
        CHECK(heads.text_query(h_Md, heads.text_global(g)).sizes() == h_Md.sizes());
        const double change = test::max_difference(query(g + 1), u_Md);
        CHECK((fusion == Fusion::kNone ? change == 0 : change > 1e-3));
        if (fusion == Fusion::kAdd && hidden && head == ImageHead::kBare)
          CHECK(test::max_difference(u_Md, h_Md + g_Md) == 0);
      }
}

TEST_CASE("hidden states of different widths cannot be added") {
  ModelConfig config = test::tiny_model();
  config.text.width = 24;
  CHECK_THROWS_AS(Cots(config, test::tiny_token(), 0.05, 1), Failure);
  TokenConfig concat = test::tiny_token();
  concat.fusion = Fusion::kConcat;
  const Cots model(config, concat, 0.05, 1);
  CHECK(model.heads().image_query(at::ones({2, 16}), at::ones({2, 24})).size(1) == 16);
}

TEST_CASE("the decoder of CMLM is the word embedding itself") {
  const Tiny tiny;
  CHECK(tiny.model.heads().text_classifier().weight.data_ptr() ==
        tiny.model.towers().text().word_embedding().data_ptr());
}

TEST_CASE("a cancel flag ends a pass between two layers, forward and backward") {
  const Tiny tiny;
  const Inputs in;
  std::atomic<bool> cancelled{false};
  const ops::CancelScope scope(&cancelled);
  const Tensor sum = tiny.model.towers().encode_image(in.pixels_BCHW).embedding_BD.sum();
  cancelled = true;
  CHECK_THROWS_AS(tiny.model.towers().encode_image(in.pixels_BCHW), ops::Cancelled);
  CHECK_THROWS_AS(sum.backward(), ops::Cancelled);
  const c10::NoGradGuard no_grad;
  CHECK_THROWS_AS(tiny.model.towers().encode_text(in.ids_BL, in.lengths_B), ops::Cancelled);
}

TEST_CASE("inputs of another size are refused with both sizes") {
  const Tiny tiny;
  CHECK_THROWS_WITH_AS(
      tiny.model.towers().encode_image(at::zeros({1, 3, 20, 16})),
      doctest::Contains("Expected pixels of shape [B, 3, 16, 16], got [1, 3, 20, 16]."),
      c10::Error);
  CHECK_THROWS_WITH_AS(
      tiny.model.towers().encode_text(at::zeros({1, 13}, at::kLong), at::full({1}, 13, at::kLong)),
      doctest::Contains("1 to 12 tokens (max_positions), got 13."), c10::Error);
}
