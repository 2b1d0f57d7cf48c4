#include "model/image_tokenizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <optional>
#include <vector>

#include "model/transformer.h"
#include "model/weights.h"
#include "ops/cancel.h"

namespace cots {
namespace {

constexpr double kMapEps = 0.1;          // SPEC 4.3
constexpr int64_t kReduction = 8;        // pixels a side of one code
constexpr int64_t kGroups = 4;           // openai
constexpr int64_t kRowsPerChunk = 4096;  // positions whose logits tokens() holds at a time

/// Convolution whose zero padding keeps the grid at stride 1 and halves it with a 4 x 4 kernel at
/// stride 2. Initialized N(0, 1 / (n_in k^2)), as DALL-E's. A cancel point stands before each: one
/// convolution of a large batch takes a second.
struct Conv {
  Tensor weight, bias;
  int64_t stride = 1;
  Conv() = default;
  Conv(const Scope& scope, int64_t in, int64_t out, int64_t k, const char* w = "w",
       const char* b = "b", int64_t stride = 1)
      : weight(scope.add(w, {out, in, k, k},
                         Init::normal(1 / std::sqrt(static_cast<double>(in * k * k))), true)),
        bias(scope.add(b, {out}, Init::zeros(), false)),
        stride(stride) {}
  Tensor operator()(const Tensor& x) const {
    const auto type = x.scalar_type();  // that of the weights, or less (place())
    return at::conv2d(cancel_point(x), weight.to(type), bias.to(type), {stride, stride},
                      {(weight.size(2) - 1) / 2, (weight.size(3) - 1) / 2});
  }
};

Conv named_conv(const Scope& scope, const std::string& name, int64_t in, int64_t out, int64_t k,
                int64_t stride = 1) {
  return Conv(scope.child(name), in, out, k, "weight", "bias", stride);
}

// ------------------------------------------------------------- OpenAI's network (SPEC 4.1, 4.2)

/// out = id(x) + gain * residual(x); residual = four times ReLU and conv, a quarter of the width
/// inside.
class OpenAiBlock {
 public:
  OpenAiBlock(const Scope& scope, int64_t in, int64_t out, const std::vector<int64_t>& kernels,
              double gain)
      : gain_(gain) {
    if (in != out) id_ = Conv(scope.child("id_path"), in, out, 1);
    const int64_t h = out / 4;
    const int64_t widths[] = {in, h, h, h, out};
    for (size_t i = 0; i < kernels.size(); ++i)
      residual_.emplace_back(scope.child("res_path.conv_" + std::to_string(i + 1)), widths[i],
                             widths[i + 1], kernels[i]);
  }
  Tensor operator()(const Tensor& x) const {
    Tensor residual = x;
    for (const Conv& conv : residual_)  // in place in all that is not the input itself
      residual = conv(residual.is_same(x) ? x.relu() : residual.relu_());
    return id_.weight.defined() ? id_(x).add_(residual, gain_) : x.add(residual, gain_);
  }

 private:
  double gain_;
  Conv id_;
  std::vector<Conv> residual_;
};

/// input conv, four groups of residual blocks with a change of scale between them, ReLU. The output
/// conv is apart.
class OpenAiTrunk {
 public:
  OpenAiTrunk(const Scope& scope, const std::vector<int64_t>& widths, const Conv& input,
              const std::vector<int64_t>& kernels, int64_t blocks)
      : input_(input) {
    const auto layers = static_cast<double>(kGroups * blocks);
    for (size_t g = 0; g < kGroups; ++g) {
      auto& group = groups_.emplace_back();
      for (int64_t b = 0; b < blocks; ++b)
        group.emplace_back(
            scope.child("group_" + std::to_string(g + 1) + ".block_" + std::to_string(b + 1)),
            b == 0 ? widths[g] : widths[g + 1], widths[g + 1], kernels, 1 / (layers * layers));
    }
  }
  template <typename Rescale>
  Tensor forward(Tensor x, Rescale rescale) const {
    x = input_(x);
    for (size_t g = 0; g < kGroups; ++g) {
      for (const OpenAiBlock& block : groups_[g]) x = block(x);
      if (g + 1 < kGroups) x = rescale(x);
    }
    return x.relu();
  }

 private:
  Conv input_;
  std::vector<std::vector<OpenAiBlock>> groups_;
};

// ----------------------------------------------------------------- the small network (SPEC 4.5)

/// x + conv1x1(ReLU(conv3x3(ReLU(conv3x3(x))))).
struct SmallBlock {
  Conv conv_1, conv_2, conv_3;
  SmallBlock(const Scope& scope, int64_t width)
      : conv_1(named_conv(scope, "conv_1", width, width, 3)),
        conv_2(named_conv(scope, "conv_2", width, width, 3)),
        conv_3(named_conv(scope, "conv_3", width, width, 1)) {}
  Tensor operator()(const Tensor& x) const { return x + conv_3(conv_2(conv_1(x).relu()).relu()); }
};

std::vector<SmallBlock> small_blocks(const Scope& scope, int64_t width, int64_t count) {
  std::vector<SmallBlock> blocks;
  for (int64_t i = 0; i < count; ++i)
    blocks.emplace_back(scope.child("res." + std::to_string(i)), width);
  return blocks;
}

/// 4 x 4 transposed convolution at stride 2: doubles the grid. Each output pixel sums n_in * 4
/// products.
struct UpConv {
  Tensor weight, bias;
  UpConv(const Scope& scope, int64_t width)
      : weight(scope.add("weight", {width, width, 4, 4},
                         Init::normal(1 / std::sqrt(static_cast<double>(width * 4))), true)),
        bias(scope.add("bias", {width}, Init::zeros(), false)) {}
  Tensor operator()(const Tensor& x) const {
    return at::conv_transpose2d(cancel_point(x), weight, bias, {2, 2}, {1, 1});
  }
};

}  // namespace

/// Encoder without its last 1x1 convolution, that convolution, and the decoder.
struct ImageTokenizer::Net {
  Net(const TokenizerConfig& config, std::optional<int64_t> seed, bool has_decoder)
      : config(config), parameters(seed), has_decoder(has_decoder) {}
  virtual ~Net() = default;
  virtual Tensor features(const Tensor& mapped) const = 0;  // [B, C, h, w]
  virtual Tensor decode(const Tensor& codes_BVhw) const = 0;

  TokenizerConfig config;
  Parameters parameters;
  Conv out;  // C -> V, always float32
  bool has_decoder;
};

namespace {

struct OpenAiNet final : ImageTokenizer::Net {
  OpenAiNet(const TokenizerConfig& c, std::optional<int64_t> seed, bool with_decoder)
      : Net(c, seed, with_decoder) {
    const int64_t n = c.hidden;
    const Scope blocks(parameters, "blocks");
    encoder.emplace(blocks, std::vector<int64_t>{n, n, 2 * n, 4 * n, 8 * n},
                    Conv(blocks.child("input"), 3, n, 7), std::vector<int64_t>{3, 3, 3, 1},
                    c.blocks);
    out = Conv(blocks.child("output.conv"), 8 * n, c.vocab, 1);
    if (!with_decoder) return;
    const Scope mirror(parameters, "decoder.blocks");
    decoder.emplace(mirror, std::vector<int64_t>{c.codebook_dim, 8 * n, 4 * n, 2 * n, n},
                    Conv(mirror.child("input"), c.vocab, c.codebook_dim, 1),
                    std::vector<int64_t>{1, 3, 3, 3}, c.blocks);
    decoder_out = Conv(mirror.child("output.conv"), n, 6, 1);
  }
  Tensor features(const Tensor& mapped) const override {
    return encoder->forward(mapped, [](const Tensor& x) { return at::max_pool2d(x, {2, 2}); });
  }
  Tensor decode(const Tensor& codes_BVhw) const override {
    const auto twice = [](const Tensor& x) {
      return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
    };
    return decoder_out(decoder->forward(codes_BVhw, twice));
  }
  std::optional<OpenAiTrunk> encoder, decoder;
  Conv decoder_out;
};

struct SmallNet final : ImageTokenizer::Net {
  SmallNet(const TokenizerConfig& c, std::optional<int64_t> seed, bool with_decoder)
      : Net(c, seed, with_decoder) {
    const int64_t n = c.hidden;
    const Scope encoder(parameters, "encoder");
    for (int64_t i = 0; i < 3; ++i)
      down.push_back(named_conv(encoder, "down." + std::to_string(i), i == 0 ? 3 : n, n, 4, 2));
    encoder_blocks = small_blocks(encoder, n, c.blocks);
    out = named_conv(encoder, "out", n, c.vocab, 1);
    if (!with_decoder) return;
    codebook = parameters.add("codebook.weight", {c.vocab, c.codebook_dim}, Init::normal(1), true);
    const Scope decoder(parameters, "decoder");
    input = named_conv(decoder, "input", c.codebook_dim, n, 1);
    decoder_blocks = small_blocks(decoder, n, c.blocks);
    for (int64_t i = 0; i < 3; ++i) up.emplace_back(decoder.child("up." + std::to_string(i)), n);
    output = named_conv(decoder, "output", n, 3, 1);
  }
  Tensor features(const Tensor& mapped) const override {
    Tensor x = mapped;
    for (const Conv& conv : down) x = conv(x).relu();
    for (const SmallBlock& block : encoder_blocks) x = block(x);
    return x;
  }
  Tensor decode(const Tensor& codes_BVhw) const override {
    // Codes mix their codebook rows; the result is channels-last in memory.
    Tensor x = input(at::matmul(codes_BVhw.permute({0, 2, 3, 1}), codebook).permute({0, 3, 1, 2}));
    for (const SmallBlock& block : decoder_blocks) x = block(x);
    for (const UpConv& conv : up) x = conv(x).relu();
    return output(x);
  }
  std::vector<Conv> down;
  std::vector<SmallBlock> encoder_blocks, decoder_blocks;
  Tensor codebook;
  Conv input, output;
  std::vector<UpConv> up;
};

/// Not flattened yet.
std::unique_ptr<ImageTokenizer::Net> make_net(const TokenizerConfig& config,
                                              std::optional<int64_t> seed, bool with_decoder) {
  if (config.arch == TokenizerArch::kOpenAi)
    return std::make_unique<OpenAiNet>(config, seed, with_decoder);
  return std::make_unique<SmallNet>(config, seed, with_decoder);
}

}  // namespace

// ------------------------------------------------------------------------------ the public face

// Without a decoder it is a frozen tokenizer: no gradient.
ImageTokenizer::ImageTokenizer(const TokenizerConfig& config, int64_t seed, bool with_decoder)
    : net_(make_net(config, seed, with_decoder)) {
  net_->parameters.flatten(/*requires_grad=*/with_decoder);
}

ImageTokenizer::ImageTokenizer(const TokenizerConfig& config,
                               const std::map<std::string, Tensor>& tensors,
                               const std::string& file, bool with_decoder)
    : net_(make_net(config, std::nullopt, with_decoder)) {
  fill_weights(net_->parameters, /*requires_grad=*/with_decoder, tensors, file,
               [](const std::string& name) { return name; });
}

ImageTokenizer::~ImageTokenizer() = default;

Tensor ImageTokenizer::logits(const Tensor& pixels_BCHW) const {
  return net_->out(net_->features(map_pixels(pixels_BCHW)));
}

Tensor ImageTokenizer::tokens(const Tensor& pixels_BCHW) const {
  const c10::NoGradGuard no_grad;
  const Tensor mapped = map_pixels(pixels_BCHW).to(compute_);
  const Tensor features_BhwC = net_->features(mapped).permute({0, 2, 3, 1}).to(at::kFloat);
  const int64_t B = pixels_BCHW.size(0), C = features_BhwC.size(3);
  const Tensor rows_MC = features_BhwC.reshape({-1, C});
  const Tensor weight_VC = net_->out.weight.view({-1, C});
  std::vector<Tensor> tokens;
  for (const Tensor& rows : rows_MC.split(kRowsPerChunk)) {
    ops::check_cancelled();
    tokens.push_back(at::linear(rows, weight_VC, net_->out.bias).argmax(1));
  }
  return at::cat(tokens).view({B, -1});
}

void ImageTokenizer::place(const Placement& placement) {
  net_->parameters.move(placement.device, at::kFloat);
  compute_ = placement.compute;
}

Tensor ImageTokenizer::decode(const Tensor& codes_BVhw) const {
  TORCH_CHECK(net_->has_decoder, "this tokenizer was made without its decoder");
  TORCH_CHECK(codes_BVhw.dim() == 4 && codes_BVhw.size(1) == net_->config.vocab,
              "Expected codes of shape [B, ", net_->config.vocab, ", h, w], got ",
              codes_BVhw.sizes(), ".");
  return net_->decode(codes_BVhw);
}

Tensor ImageTokenizer::reconstruct(const Tensor& decoded) const {
  const Tensor mean = decoded.narrow(1, 0, 3);
  if (net_->config.pixels == PixelRule::kMeanStdHalf) return (mean * 0.5 + 0.5).clamp(0, 1);
  const Tensor mapped = net_->config.arch == TokenizerArch::kOpenAi ? mean.sigmoid() : mean;
  return ((mapped - kMapEps) / (1 - 2 * kMapEps)).clamp(0, 1);
}

/// The result is channels-last in memory, which the convolutions keep: libtorch's are faster so on
/// a CPU.
Tensor ImageTokenizer::map_pixels(const Tensor& pixels_BCHW) const {
  TORCH_CHECK(pixels_BCHW.dim() == 4 && pixels_BCHW.size(1) == 3 &&
                  pixels_BCHW.size(2) % kReduction == 0 && pixels_BCHW.size(3) % kReduction == 0,
              "Expected pixels of shape [B, 3, H, W] with H and W multiples of ", kReduction,
              ", got ", pixels_BCHW.sizes(), ".");
  const Tensor mapped = net_->config.pixels == PixelRule::kMapPixels
                            ? pixels_BCHW * (1 - 2 * kMapEps) + kMapEps
                            : (pixels_BCHW - 0.5) / 0.5;
  return mapped.contiguous(at::MemoryFormat::ChannelsLast);
}

Parameters& ImageTokenizer::parameters() { return net_->parameters; }

const Parameters& ImageTokenizer::parameters() const { return net_->parameters; }

const TokenizerConfig& ImageTokenizer::config() const { return net_->config; }

}  // namespace cots
