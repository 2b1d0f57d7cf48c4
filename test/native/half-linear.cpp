// The layer of bfloat16 products: against the same rounding in plain tensor operators, over the
// paths that this machine can run.
#include "infer/kernels/half_linear.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "tiny-model.h"

using namespace cots;
using namespace cots::kernels;

namespace {

const float* data(const Tensor& t) { return t.const_data_ptr<float>(); }

Tensor rounded(const Tensor& x) { return x.to(at::kBFloat16).to(at::kDouble); }

Tensor run(const HalfLinear& linear, const Tensor& x, Dot2Path path,
           const Epilogue& epilogue = {}) {
  HalfRows rows;
  rows.round({data(x), x.size(1)}, x.size(0), x.size(1), path);
  Tensor y = at::full({x.size(0), linear.out()}, 1e9F);
  linear.run(rows, x.size(0), y.mutable_data_ptr<float>(), linear.out(), epilogue, path);
  return y;
}

}  // namespace

TEST_CASE("bfloat16: a layer equals the same rounding in plain operators, bit-equal in any batch") {
  const c10::InferenceMode inference;
  for (const auto& [M, K, N] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {7, 5, 16}, {13, 48, 33}, {101, 27, 100}, {200, 64, 31}, {26, 768, 48}}) {
    CAPTURE(M);
    CAPTURE(N);
    const Tensor x = test::normal({M, K}, 41), w = test::normal({N, K}, 42),
                 b = test::normal({N}, 43), gamma = test::normal({N}, 44),
                 residual = test::normal({M, N}, 45);
    const HalfLinear linear(w, b);
    const Tensor plain = rounded(x).matmul(rounded(w).t()) + b;
    const double tolerance = 1e-6 * std::sqrt(static_cast<double>(K)) * 4;
    for (const Dot2Path path : std::set<Dot2Path>{Dot2Path::kPortable, dot2_path()}) {
      CAPTURE(static_cast<int>(path));
      CHECK(test::max_difference(run(linear, x, path), plain) < tolerance);
      const Epilogue branch{.activation = LinearActivation::kGelu,
                            .gamma = data(gamma),
                            .residual = data(residual),
                            .residual_stride = N};
      const Tensor together = run(linear, x, path, branch);
      CHECK(test::max_difference(together, residual + gamma * at::gelu(plain)) < 4 * tolerance);
      for (int64_t row = 0; row < M; row += 5) {
        Epilogue one = branch;
        one.residual += row * N;
        CHECK(at::equal(run(linear, x.narrow(0, row, 1), path, one)[0], together[row]));
      }
    }
  }
}

TEST_CASE("bfloat16: rows are rounded to the nearest, ties to even, as libtorch does") {
  const c10::InferenceMode inference;
  const Tensor x =
      at::cat({test::normal({3, 37}, 46),
               at::tensor({1.00390625, 1.01171875, -1.00390625, 3.4e38, 1e-20, 0.0}, at::kFloat)
                   .repeat({3, 1})},
              1);
  for (const Dot2Path path : std::set<Dot2Path>{Dot2Path::kPortable, dot2_path()}) {
    HalfRows rows;
    rows.round({data(x), x.size(1)}, 3, x.size(1), path);
    const Tensor expected = x.to(at::kBFloat16);
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t k = 0; k < x.size(1); ++k)
        CHECK(rows.numbers()[r * rows.stride() + k] == expected[r][k].item<at::BFloat16>().x);
  }
}
