// The int8 layer: against the same rule in plain tensor operators, over all paths that this machine
// can run, and with the width of AVX-512 in plain C++ in place of its one instruction.
#include "infer/kernels/quantized_linear.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <vector>

#include "infer/kernels/quantized_tile.h"
#include "tiny-model.h"

using namespace cots;
using namespace cots::kernels;

namespace {

const float* data(const Tensor& t) { return t.const_data_ptr<float>(); }

/// VNNI's tile, layout and epilogue, with its one instruction written out. Runs without AVX-512:
/// the compiler lowers the vectors.
using WideDot4 = PlainDot4<Ints512Vector, Floats512, 1>;
void wide_piece(const QuantizedPiece& piece) { quantized_piece_body<WideDot4>(piece); }

struct Case {
  Tensor x, w, b;
  QuantizedRows rows;
  QuantizedLinear linear;
  Case(int64_t M, int64_t K, int64_t N)
      : x(test::normal({M, K}, 31) * 3 + 1),
        w(test::normal({N, K}, 32)),
        b(test::normal({N}, 33)),
        linear(w, b) {
    rows.quantize({data(x), K}, M, K);
  }
  Tensor run(Dot4Path path, const Epilogue& epilogue = {}) {
    Tensor y = at::full({x.size(0), w.size(0)}, 1e9F);
    linear.run(rows, x.size(0), y.mutable_data_ptr<float>(), w.size(0), epilogue, path);
    return y;
  }
};

std::vector<Dot4Path> other_paths() {
  std::vector<Dot4Path> paths{Dot4Path::kPortable};
#ifdef COTS_HAS_X86_DOTS
  if (ops::isa() != ops::Isa::kBaseline) paths.push_back(Dot4Path::kAvx2);
  if (__builtin_cpu_supports("avxvnni")) paths.push_back(Dot4Path::kAvxVnni);
  if (ops::isa() == ops::Isa::kAvx512 && __builtin_cpu_supports("avx512vnni"))
    paths.push_back(Dot4Path::kAvx512Vnni);
#endif
  return paths;
}

const std::vector<std::array<int64_t, 3>> kShapes{{1, 1, 1},      {7, 5, 16},    {13, 48, 33},
                                                  {101, 27, 100}, {200, 64, 31}, {26, 768, 48}};

/// What the header says, in float64: steps of a row's range / 255 and of an output's size / 127.
Tensor by_hand(const Tensor& x32, const Tensor& w32, const Tensor& b) {
  const Tensor x = x32.to(at::kDouble), w = w32.to(at::kDouble);
  const Tensor low = x.amin(1, true), scale = ((x.amax(1, true) - low) / 255).clamp_min(1e-30);
  const Tensor step = w.abs().amax(1, true) / 127;
  const Tensor near_x = ((x - low) / scale).round() * scale + low;
  return near_x.matmul(((w / step).round() * step).t()) + b;
}

}  // namespace

TEST_CASE("int8: a layer equals the same rule in plain operators, on every path bit for bit") {
  const c10::InferenceMode inference;
  for (const auto& [M, K, N] : kShapes) {
    CAPTURE(M);
    CAPTURE(N);
    Case c(M, K, N);
    const Tensor y = c.run(dot4_path()), expected = by_hand(c.x, c.w, c.b);
    // A value on the edge of two codes may fall to either side in float32: one step of one input.
    const double step = (c.x.amax() - c.x.amin()).item<double>() / 255 * 4;
    CHECK(test::max_difference(y, expected) < step * c.w.abs().max().item<double>() + 1e-6);
    CHECK((y - expected).norm().item<double>() < 3e-3 * expected.norm().item<double>() + 1e-6);
    const Tensor gamma = test::normal({N}, 34), residual = test::normal({M, N}, 35);
    for (const Epilogue& epilogue :
         {Epilogue{}, Epilogue{.activation = LinearActivation::kGelu},
          Epilogue{.activation = LinearActivation::kQuickGelu},
          Epilogue{.gamma = data(gamma), .residual = data(residual), .residual_stride = N}}) {
      const Tensor chosen = c.run(dot4_path(), epilogue);
      for (const Dot4Path path : other_paths()) CHECK(at::equal(c.run(path, epilogue), chosen));
      Tensor wide = at::full({M, N}, 1e9F);
      wide_piece(c.linear.piece(c.rows, M, wide.mutable_data_ptr<float>(), N, epilogue));
      CHECK(at::equal(wide, chosen));
    }
  }
}

TEST_CASE("int8: sums at the largest codes neither saturate nor overflow") {
  const c10::InferenceMode inference;
  constexpr int64_t kInputs = 16384;
  // Rows from 0 to 1: all codes 255 but one; weights all alike: codes of 127, of either sign.
  Tensor x = at::ones({3, kInputs}), w = at::ones({2, kInputs});
  x.select(1, 0).zero_();
  w[1].neg_();
  QuantizedRows rows;
  rows.quantize({data(x), kInputs}, 3, kInputs);
  const QuantizedLinear linear(w, Tensor());
  for (const Dot4Path path : other_paths()) {
    Tensor y = at::full({3, 2}, 1e9F);
    linear.run(rows, 3, y.mutable_data_ptr<float>(), 2, {}, path);
    for (int64_t row = 0; row < 3; ++row) {
      CHECK(y[row][0].item<double>() == doctest::Approx(kInputs - 1).epsilon(1e-6));
      CHECK(y[row][1].item<double>() == doctest::Approx(1 - kInputs).epsilon(1e-6));
    }
  }
}

TEST_CASE("int8: a row depends on itself alone; constant rows and zero weights are exact") {
  const c10::InferenceMode inference;
  Case c(97, 100, 48);
  const Tensor together = c.run(dot4_path());
  for (int64_t row = 0; row < 97; row += 8) {
    QuantizedRows one;
    one.quantize({data(c.x) + row * 100, 100}, 1, 100);
    Tensor y = at::full({1, 48}, 1e9F);
    c.linear.run(one, 1, y.mutable_data_ptr<float>(), 48);
    CHECK(at::equal(y[0], together[row]));
  }
  const Tensor constant = at::full({2, 100}, -2.5F);
  QuantizedRows rows;
  rows.quantize({data(constant), 100}, 2, 100);
  const QuantizedLinear zero(at::zeros({16, 100}), c.b.narrow(0, 0, 16));
  Tensor y = at::full({2, 16}, 1e9F);
  zero.run(rows, 2, y.mutable_data_ptr<float>(), 16);
  CHECK(at::equal(y[1], c.b.narrow(0, 0, 16)));
  CHECK(zero.relative_error() == 0);
  const QuantizedLinear ones(at::ones({16, 100}), Tensor());
  ones.run(rows, 2, y.mutable_data_ptr<float>(), 16);
  CHECK(test::max_difference(y, at::full({2, 16}, -250.)) < 1e-4);
}

TEST_CASE("int8: what the codes lose is told, and grows with outliers") {
  const Tensor w = test::normal({64, 768}, 36);
  const double normal = QuantizedLinear(w, Tensor()).relative_error();
  const Tensor step = w.abs().amax(1, true) / 127;
  const double expected = (((w / step).round() * step - w).norm() / w.norm()).item<double>();
  CHECK(normal == doctest::Approx(expected).epsilon(1e-3));
  CHECK(normal < 0.01);
  Tensor skewed = w.clone();
  skewed.select(1, 5).mul_(20);
  CHECK(QuantizedLinear(skewed, Tensor()).relative_error() > 0.02);
}
