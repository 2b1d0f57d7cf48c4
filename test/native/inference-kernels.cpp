// The kernels of the inference plans against the same written with plain float64 operators.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "infer/kernels/attention.h"
#include "infer/kernels/layer_norm.h"
#include "infer/kernels/packed_linear.h"
#include "tiny-model.h"

using namespace cots;

namespace {

const float* data(const Tensor& t) { return t.const_data_ptr<float>(); }

kernels::Rows2d rows_of(const Tensor& x) { return {data(x), x.stride(0)}; }

Tensor run(const kernels::PackedLinear& linear, const Tensor& x,
           const kernels::Epilogue& epilogue = {}) {
  Tensor y = at::full({x.size(0), linear.out()}, 1e9F);
  linear.run(rows_of(x), x.size(0), y.mutable_data_ptr<float>(), linear.out(), epilogue);
  return y;
}

struct AttentionCase {
  std::vector<int64_t> lengths;
  int64_t heads, width;
  bool causal, bias;
};

Tensor attention_by_hand(const AttentionCase& c, const Tensor& qkv_Md, const Tensor& bias_HLL) {
  const int64_t d = c.heads * c.width;
  std::vector<Tensor> outs;
  int64_t start = 0;
  for (const int64_t L : c.lengths) {
    const Tensor rows = qkv_Md.narrow(0, start, L).to(at::kDouble).view({L, 3, c.heads, c.width});
    const auto part = [&](int64_t i) { return rows.select(1, i).transpose(0, 1); };
    Tensor scores =
        part(0).matmul(part(1).transpose(1, 2)) / std::sqrt(static_cast<double>(c.width));
    if (c.bias) scores = scores + bias_HLL.narrow(1, 0, L).narrow(2, 0, L);
    if (c.causal)
      scores = scores.masked_fill(at::ones({L, L}, at::kBool).triu(1),
                                  -std::numeric_limits<double>::infinity());
    outs.push_back(scores.softmax(-1).matmul(part(2)).transpose(0, 1).reshape({L, d}));
    start += L;
  }
  return at::cat(outs);
}

}  // namespace

TEST_CASE("a packed linear layer with each epilogue equals the plain one, bit-equal in any batch") {
  const c10::InferenceMode inference;
  for (const auto& [M, K, N] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {7, 5, 16}, {13, 48, 33}, {101, 24, 100}, {200, 64, 31}, {97, 768, 48}}) {
    CAPTURE(M);
    CAPTURE(N);
    const Tensor x = test::normal({M, K}, 1), w = test::normal({N, K}, 2), b = test::normal({N}, 3),
                 gamma = test::normal({N}, 4), residual = test::normal({M, N}, 5);
    const kernels::PackedLinear linear(w, b);
    CHECK(at::equal(linear.unpack(), w));
    const auto wide = [](const Tensor& t) { return t.to(at::kDouble); };
    const Tensor plain = wide(x).matmul(wide(w).t()) + wide(b);
    const double tolerance = 1e-6 * std::sqrt(static_cast<double>(K)) * 4;
    CHECK(test::max_difference(run(linear, x), plain) < tolerance);
    CHECK(test::max_difference(run(linear, x, {.activation = kernels::LinearActivation::kGelu}),
                               at::gelu(plain)) < tolerance);
    CHECK(
        test::max_difference(run(linear, x, {.activation = kernels::LinearActivation::kQuickGelu}),
                             plain * at::sigmoid(1.702 * plain)) < tolerance);
    const kernels::Epilogue branch{
        .gamma = data(gamma), .residual = data(residual), .residual_stride = N};
    const Tensor together = run(linear, x, branch);
    CHECK(test::max_difference(together, wide(residual) + wide(gamma) * plain) < 4 * tolerance);
    for (int64_t row = 0; row < M; row += 5)
      CHECK(at::equal(run(linear, x.narrow(0, row, 1),
                          {.gamma = data(gamma), .residual = data(residual) + row * N})[0],
                      together[row]));
  }
}

TEST_CASE("GELU keeps its tails: large, small and extreme inputs") {
  const c10::InferenceMode inference;
  const Tensor x =
      at::tensor({-1e30, -200., -10., -5., -1e-3, 0., 1e-3, 5., 10., 200., 1e30}, at::kFloat)
          .unsqueeze(1);
  const kernels::PackedLinear identity(at::ones({1, 1}), Tensor());
  CHECK(test::max_difference(run(identity, x, {.activation = kernels::LinearActivation::kGelu}),
                             at::gelu(x)) < 1e-6);
  CHECK(
      test::max_difference(run(identity, x, {.activation = kernels::LinearActivation::kQuickGelu}),
                           x * at::sigmoid(1.702 * x)) < 1e-6);
}

TEST_CASE("layer norm equals the plain one at every width, in place too") {
  const c10::InferenceMode inference;
  for (const int64_t width : {1, 7, 16, 24, 100, 768}) {
    Tensor x = test::normal({67, width}, 6) * 3 + 100;
    const Tensor w = test::normal({width}, 7), b = test::normal({width}, 8);
    const Tensor expected =
        at::layer_norm(x.to(at::kDouble), {width}, w.to(at::kDouble), b.to(at::kDouble), 1e-6);
    kernels::layer_norm(rows_of(x), 67, width, data(w), data(b), 1e-6, x.mutable_data_ptr<float>(),
                        width);
    CHECK(test::max_difference(x, expected) < 2e-4);  // 100 is held to 4e-6 only
  }
}

TEST_CASE("attention equals the plain one: mixed lengths, causal, bias, odd head widths") {
  const c10::InferenceMode inference;
  for (const AttentionCase& c : std::vector<AttentionCase>{{{1}, 1, 4, false, false},
                                                           {{5, 1, 17, 49}, 2, 8, false, false},
                                                           {{33, 97}, 3, 24, true, false},
                                                           {{40, 40}, 2, 16, false, true},
                                                           {{23, 9}, 2, 40, true, true},
                                                           {{577}, 2, 64, false, false}}) {
    CAPTURE(c.lengths);
    const int64_t M = std::accumulate(c.lengths.begin(), c.lengths.end(), int64_t{0}),
                  d = c.heads * c.width,
                  longest = *std::max_element(c.lengths.begin(), c.lengths.end());
    const Tensor qkv = test::normal({M, 3 * d}, 9) * 2,
                 bias = test::normal({c.heads, longest, longest}, 10);
    Tensor out = at::full({M, d}, 1e9F), last = at::full({M, d}, 1e9F);
    const kernels::AttentionShape shape{.heads = c.heads,
                                        .head_width = c.width,
                                        .causal = c.causal,
                                        .bias = c.bias ? data(bias) : nullptr,
                                        .bias_length = longest};
    std::vector<kernels::AttentionSequence> all, one;
    int64_t start = 0;
    for (const int64_t L : c.lengths) {
      const float* row = data(qkv) + start * 3 * d;
      const kernels::AttentionSequence s{.q = {row, 3 * d},
                                         .k = {row + d, 3 * d},
                                         .v = {row + 2 * d, 3 * d},
                                         .queries = L,
                                         .keys = L,
                                         .first_query = 0,
                                         .out = out.mutable_data_ptr<float>() + start * d,
                                         .out_stride = d};
      all.push_back(s);
      one.push_back(s);  // the last query alone
      one.back().q.data += (L - 1) * 3 * d;
      one.back().queries = 1;
      one.back().first_query = L - 1;
      one.back().out = last.mutable_data_ptr<float>() + start * d;
      start += L;
    }
    const Tensor expected = attention_by_hand(c, qkv, bias);
    const auto check = [&](const kernels::AttentionShape& shape, double tolerance) {
      kernels::attention(shape, all);
      CHECK(test::max_difference(out, expected) < tolerance);
      kernels::attention(shape, one);
      start = 0;
      for (const int64_t L : c.lengths) {
        CHECK(at::equal(last[start], out[start + L - 1]));
        start += L;
      }
    };
    check(shape, 2e-5);
    // Queries, keys, weights and values each lose up to 2^-9 of themselves: scores of size 20 to 40
    // are 0.1 off at worst.
    kernels::AttentionShape halves = shape;
    halves.products = kernels::AttentionProducts::kBfloat16;
    for (const kernels::Dot2Path path :
         std::set<kernels::Dot2Path>{kernels::Dot2Path::kPortable, kernels::dot2_path()}) {
      CAPTURE(static_cast<int>(path));
      halves.path = path;
      check(halves, 0.15);
      const double mean = (out - expected).abs().mean().item<double>();
      CHECK(mean < 6e-3);
    }
  }
}
