#include "model/image_tokenizer.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <atomic>

#include "ops/cancel.h"
#include "tiny-model.h"

using namespace cots;
using test::max_difference;

namespace {

TokenizerConfig openai(int64_t hidden, int64_t vocab) {
  return {.arch = TokenizerArch::kOpenAi,
          .vocab = vocab,
          .hidden = hidden,
          .codebook_dim = 128,
          .blocks = 2,
          .pixels = PixelRule::kMapPixels};
}

TokenizerConfig small() {
  return {.arch = TokenizerArch::kSmall,
          .vocab = 30,
          .hidden = 8,
          .codebook_dim = 6,
          .blocks = 1,
          .pixels = PixelRule::kMeanStdHalf};
}

std::vector<std::string> names(ImageTokenizer& tokenizer, const std::string& prefix) {
  std::vector<std::string> found;
  for (const Parameter& p : tokenizer.parameters().all())
    if (p.name.starts_with(prefix)) found.push_back(p.name);
  return found;
}

int64_t count(ImageTokenizer& tokenizer, const std::string& prefix) {
  int64_t total = 0;
  for (const Parameter& p : tokenizer.parameters().all())
    if (p.name.starts_with(prefix)) total += p.value.numel();
  return total;
}

}  // namespace

TEST_CASE("OpenAI's dVAE has the published tensors: 74 and 53.79 M, decoder 43.83 M") {
  ImageTokenizer tokenizer(openai(256, 8192), 1, /*with_decoder=*/true);
  CHECK(names(tokenizer, "blocks.").size() == 74);
  CHECK(test::relative_error(count(tokenizer, "blocks."), 53.79e6) < 1e-4);
  CHECK(names(tokenizer, "decoder.").size() == 76);
  CHECK(test::relative_error(count(tokenizer, "decoder."), 43.83e6) < 1e-4);

  const auto shape = [&](const std::string& name) {
    const Parameter* p = tokenizer.parameters().find(name);
    REQUIRE_MESSAGE(p != nullptr, name);
    return p->value.sizes().vec();
  };
  using Shape = std::vector<int64_t>;
  CHECK(shape("blocks.input.w") == Shape{256, 3, 7, 7});
  CHECK(shape("blocks.group_2.block_1.id_path.w") == Shape{512, 256, 1, 1});
  CHECK(shape("blocks.group_4.block_1.res_path.conv_1.w") == Shape{512, 1024, 3, 3});
  CHECK(shape("blocks.group_4.block_2.res_path.conv_4.w") == Shape{2048, 512, 1, 1});
  CHECK(shape("blocks.output.conv.w") == Shape{8192, 2048, 1, 1});
  CHECK(tokenizer.parameters().find("blocks.group_1.block_1.id_path.w") == nullptr);
  CHECK(shape("decoder.blocks.input.w") == Shape{128, 8192, 1, 1});
  CHECK(shape("decoder.blocks.group_1.block_1.id_path.w") == Shape{2048, 128, 1, 1});
  CHECK(shape("decoder.blocks.group_1.block_1.res_path.conv_1.w") == Shape{512, 128, 1, 1});
  CHECK(shape("decoder.blocks.group_4.block_2.res_path.conv_4.w") == Shape{256, 64, 3, 3});
  CHECK(shape("decoder.blocks.output.conv.w") == Shape{6, 256, 1, 1});

  // N(0, 1 / (n_in k^2))
  const Tensor w =
      tokenizer.parameters().find("blocks.group_3.block_2.res_path.conv_2.w")->value.detach();
  CHECK(test::relative_error(w.std().item<double>(), 1 / std::sqrt(256.0 * 9)) < 0.02);
}

TEST_CASE("tokens are the argmax of the logits, row by row, aligned with the image") {
  for (const TokenizerConfig& config : {openai(8, 20), small()}) {
    ImageTokenizer tokenizer(config, 3, false);
    test::enlarge_weights(tokenizer.parameters(), 0.3);
    const Tensor pixels = test::normal({2, 3, 24, 40}, 1).sigmoid();
    const Tensor logits = tokenizer.logits(pixels), tokens = tokenizer.tokens(pixels);
    CHECK(logits.sizes().vec() == std::vector<int64_t>{2, config.vocab, 3, 5});
    CHECK(at::equal(tokens, logits.argmax(1).flatten(1)));
    CHECK(std::get<0>(at::_unique(tokens)).numel() > 1);
    CHECK_FALSE(logits.requires_grad());  // without its decoder it is frozen

    Tensor changed = pixels.clone();
    changed[0].narrow(1, 16, 8).narrow(2, 32, 8).fill_(1);  // the last code's own pixels
    const Tensor moved = (tokenizer.logits(changed) - logits)[0].abs().sum(0);
    CHECK(moved.argmax().item<int64_t>() == 14);
  }
}

TEST_CASE("the decoder gives pixels back at the encoder's size, and trains") {
  for (const TokenizerConfig& config : {openai(8, 20), small()}) {
    ImageTokenizer tokenizer(config, 3, true);
    const Tensor pixels = test::normal({2, 3, 16, 24}, 1).sigmoid();
    const Tensor decoded = tokenizer.decode(tokenizer.logits(pixels).softmax(1));
    const int64_t channels = config.arch == TokenizerArch::kOpenAi ? 6 : 3;
    CHECK(decoded.sizes().vec() == std::vector<int64_t>{2, channels, 16, 24});
    const Tensor image = tokenizer.reconstruct(decoded);
    CHECK(image.sizes() == pixels.sizes());
    CHECK(image.min().item<double>() >= 0);
    CHECK(image.max().item<double>() <= 1);
    decoded.square().sum().backward();
    for (const Parameter& p : tokenizer.parameters().all())
      CHECK_MESSAGE(p.value.grad().abs().sum().item<double>() > 0, p.name);
  }
}

TEST_CASE("pixels are mapped by the rule of the tokenizer, and back") {
  const Tensor pixels = at::linspace(0, 1, 3 * 8 * 8).view({1, 3, 8, 8});
  const ImageTokenizer mapped(openai(8, 20), 1, false), normalized(small(), 1, false);
  CHECK(max_difference(mapped.map_pixels(pixels), pixels * 0.8 + 0.1) < 1e-7);
  CHECK(max_difference(normalized.map_pixels(pixels), pixels * 2 - 1) < 1e-6);
  CHECK(max_difference(mapped.reconstruct(mapped.map_pixels(pixels).logit()), pixels) < 1e-5);
  CHECK(max_difference(normalized.reconstruct(normalized.map_pixels(pixels)), pixels) < 1e-6);
}

TEST_CASE("a one-hot code decodes to its codebook row") {
  ImageTokenizer tokenizer(small(), 3, true);
  const Tensor code =
      at::one_hot(at::full({1, 1, 1}, 7, at::kLong), 30).permute({0, 3, 1, 2}).to(at::kFloat);
  const Tensor whole = tokenizer.decode(code).detach();
  const Tensor codebook = tokenizer.parameters().find("codebook.weight")->value.detach();
  codebook[8].fill_(100);
  CHECK(max_difference(tokenizer.decode(code), whole) == 0);
  codebook[7].fill_(100);
  CHECK(max_difference(tokenizer.decode(code), whole) > 1);
}

TEST_CASE("a cancelled job ends between two convolutions, forward and backward") {
  for (const TokenizerConfig& config : {openai(8, 20), small()}) {
    const ImageTokenizer tokenizer(config, 3, true);
    const Tensor pixels = at::full({1, 3, 16, 16}, 0.5), codes = at::ones({1, config.vocab, 2, 2});
    const Tensor loss = tokenizer.decode(tokenizer.logits(pixels).softmax(1)).sum();
    const std::atomic<bool> cancelled{true};
    const ops::CancelScope scope(&cancelled);
    CHECK_THROWS_AS(tokenizer.logits(pixels), ops::Cancelled);
    CHECK_THROWS_AS(tokenizer.tokens(pixels), ops::Cancelled);
    CHECK_THROWS_AS(tokenizer.decode(codes), ops::Cancelled);
    CHECK_THROWS_AS(loss.backward(), ops::Cancelled);
  }
}

TEST_CASE("sizes that are no multiple of 8, and codes of another vocabulary, are refused") {
  const ImageTokenizer tokenizer(small(), 3, true), frozen(small(), 3, false);
  CHECK_THROWS_WITH_AS(tokenizer.tokens(at::zeros({1, 3, 20, 16})),
                       doctest::Contains("multiples of 8, got [1, 3, 20, 16]"), c10::Error);
  CHECK_THROWS_WITH_AS(tokenizer.decode(at::zeros({1, 31, 2, 2})),
                       doctest::Contains("[B, 30, h, w], got [1, 31, 2, 2]"), c10::Error);
  CHECK_THROWS_AS(frozen.decode(at::zeros({1, 30, 2, 2})), c10::Error);
}
