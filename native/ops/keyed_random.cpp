// Legend: B rows (one key each), n elements a row.
#include "ops/keyed_random.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <cmath>
#include <numbers>
#include <optional>

#include "ops/dispatch.h"
#include "ops/philox.h"

namespace cots::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The finalizer of splitmix64 (Steele et al. 2014): a bijection of 64-bit words that avalanches.
uint64_t finalize(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

struct KeyedDropout : torch::autograd::Function<KeyedDropout> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& keys_B,
                        int64_t site, double p, const std::optional<Tensor>& starts) {
    context->saved_data["keys"] = keys_B;  // integer constants: no need of saved_variables
    if (starts) context->saved_data["starts"] = *starts;
    context->saved_data["site"] = site;
    context->saved_data["p"] = p;
    at::AutoDispatchBelowADInplaceOrView below;
    return keyed_dropout(x, keys_B, site, p, starts.value_or(Tensor()));
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    variable_list out(5);
    auto& saved = context->saved_data;
    if (grads[0].defined())
      out[0] = keyed_dropout(grads[0], saved["keys"].toTensor(), saved["site"].toInt(),
                             saved["p"].toDouble(),
                             saved.count("starts") > 0 ? saved["starts"].toTensor() : Tensor());
    return out;
  }
};

Tensor keyed_dropout_autograd(const Tensor& x, const Tensor& keys_B, int64_t site, double p,
                              const std::optional<Tensor>& starts) {
  return KeyedDropout::apply(x, keys_B, site, p, starts);
}

}  // namespace

uint64_t mix(uint64_t a, uint64_t b) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
  return finalize(finalize(a + kGolden) + b);
}

Tensor sample_keys(int64_t seed, int64_t step, const Tensor& sample_B) {
  TORCH_CHECK(sample_B.dim() == 1, "sample_keys: expected one global index a row, got ",
              sample_B.sizes());
  const uint64_t step_key = mix(static_cast<uint64_t>(seed), static_cast<uint64_t>(step));
  const Tensor sample = sample_B.to(at::kCPU, at::kLong).contiguous();
  Tensor keys_B = at::empty_like(sample);
  const int64_t* in = sample.const_data_ptr<int64_t>();
  int64_t* out = keys_B.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < sample.size(0); ++b)
    out[b] = static_cast<int64_t>(mix(step_key, static_cast<uint64_t>(in[b])));
  return keys_B.to(sample_B.device());
}

Tensor keyed_uniform(const Tensor& keys_B, int64_t site, int64_t n) {
  static const auto op = find_op<Tensor(const Tensor&, int64_t, int64_t)>("cots::keyed_uniform");
  return op.call(keys_B, site, n);
}

Tensor keyed_dropout(const Tensor& x, const Tensor& keys_B, int64_t site, double p,
                     const Tensor& starts) {
  static const auto op =
      find_op<Tensor(const Tensor&, const Tensor&, int64_t, double, const std::optional<Tensor>&)>(
          "cots::keyed_dropout");
  return op.call(x, keys_B, site, p, starts.defined() ? std::optional(starts) : std::nullopt);
}

Tensor keyed_dropout_composite(const Tensor& x, const Tensor& keys_B, int64_t site, double p) {
  if (x.numel() == 0) return x.clone();
  const Tensor uniform = keyed_uniform(keys_B, site, x.numel() / x.size(0)).view(x.sizes());
  return at::where(uniform.to(at::kDouble).ge(p), x / (1 - p), at::zeros({}, x.options()));
}

Tensor keyed_normal(int64_t key, int64_t n) {
  TORCH_CHECK(n >= 0, "keyed_normal: expected n >= 0, got ", n);
  Tensor draws_n = at::empty({n}, at::kFloat);
  float* out = draws_n.mutable_data_ptr<float>();
  for (int64_t i = 0; i < n; i += 2) {
    const auto bits = philox(static_cast<uint64_t>(key), 0, static_cast<uint64_t>(i / 2));
    // Box-Muller wants a radius argument in (0, 1]; 53 random bits give tails that 24 would cut
    // at 5.8.
    const double u = ((uint64_t{bits[0]} << 21 | bits[1] >> 11) + 1) * 0x1p-53;
    const double radius = std::sqrt(-2 * std::log(u)),
                 angle = 2 * std::numbers::pi * (bits[2] * 0x1p-32);
    out[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < n) out[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return draws_n;
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def("keyed_uniform(Tensor keys, int site, int n) -> Tensor");
  m.def("keyed_dropout(Tensor x, Tensor keys, int site, float p, Tensor? starts=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(cots, Autograd, m) { m.impl("keyed_dropout", keyed_dropout_autograd); }

}  // namespace cots::ops
