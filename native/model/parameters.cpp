#include "model/parameters.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string_view>

#include "ops/keyed_random.h"

namespace cots {
namespace {

/// FNV-1a, 64 bits: a name's key must be the same on every machine, which std::hash does not
/// promise.
uint64_t hash(std::string_view text) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const unsigned char c : text) h = (h ^ c) * 0x100000001b3u;
  return h;
}

constexpr double kFixedStd = 0.02;

/// Normal draws mapped to the normal distribution cut at two standard deviations:
/// x = Phi^-1(Phi(-2) + Phi(z) (Phi(2) - Phi(-2))), which in erf is the line below.
Tensor truncate(const Tensor& normal) {
  const double sqrt2 = std::sqrt(2.0);
  return at::erfinv(at::erf(normal / sqrt2) * std::erf(sqrt2)) * sqrt2;
}

/// Standard deviation of a weight matrix [out, in...].
double weight_std(at::IntArrayRef shape, double gain, WeightInit rule) {
  if (rule == WeightInit::kFixed) return kFixedStd;
  const int64_t fan_in = c10::multiply_integers(shape.slice(1));
  return gain / std::sqrt(static_cast<double>(fan_in));
}

Tensor initial_value(int64_t key, at::IntArrayRef shape, Init init, WeightInit rule) {
  // A leaf of autograd: a view would hold on to what it is one of, long after flatten() moved it.
  const at::AutoDispatchBelowADInplaceOrView below;
  if (init.kind == Init::Kind::kWeight)
    init = Init::truncated_normal(weight_std(shape, init.value, rule));
  switch (init.kind) {
    case Init::Kind::kZeros:
      return at::zeros(shape);
    case Init::Kind::kOnes:
      return at::ones(shape);
    case Init::Kind::kConstant:
      return at::full(shape, init.value, at::kFloat);
    case Init::Kind::kNormal:
      return (ops::keyed_normal(key, c10::multiply_integers(shape)) * init.value).view(shape);
    case Init::Kind::kWeight:  // resolved above
    case Init::Kind::kTruncatedNormal:
      return (truncate(ops::keyed_normal(key, c10::multiply_integers(shape))) * init.value)
          .view(shape);
  }
  TORCH_INTERNAL_ASSERT(false, "unknown kind of initialization");
}

/// Zeros of a shape in the memory of one.
Tensor shared_zero(at::IntArrayRef shape) {
  const at::AutoDispatchBelowADInplaceOrView below;  // as in initial_value()
  return at::zeros({}).expand(shape);
}

}  // namespace

Tensor Parameters::add(const std::string& name, at::IntArrayRef shape, Init init, bool decay) {
  TORCH_INTERNAL_ASSERT(!flat_.defined(), "parameter ", name, " is added after flatten()");
  TORCH_INTERNAL_ASSERT(find(name) == nullptr, "parameter ", name, " is added twice");
  const Tensor value =
      seed_
          ? initial_value(static_cast<int64_t>(ops::mix(static_cast<uint64_t>(*seed_), hash(name))),
                          shape, init, weights_)
          : shared_zero(shape);
  parameters_.push_back({name, value, decay && shape.size() >= 2});
  return value;
}

void Parameters::flatten(bool requires_grad) {
  TORCH_INTERNAL_ASSERT(!flat_.defined(), "flatten() is called twice");
  flat_ = at::empty({count()});
  if (requires_grad) flat_grad_ = at::zeros({count()});
  // One value after the other: each gives its own memory back before the next page is touched.
  bind([](const Tensor& view, const Tensor& value) { view.copy_(value); });
}

void Parameters::move(at::Device device, at::ScalarType type) {
  TORCH_INTERNAL_ASSERT(flat_.defined(), "move() comes after flatten()");
  flat_ = flat_.to(device, type);
  if (flat_grad_.defined()) flat_grad_ = at::zeros_like(flat_);
  bind([](const Tensor&, const Tensor&) {});
}

/// Makes every parameter a view of flat_, `fill`ed from what it was, and its gradient one of
/// flat_grad_.
template <typename Fill>
void Parameters::bind(Fill fill) {
  int64_t offset = 0;
  for (const Parameter& parameter : parameters_) {
    const Tensor& value = parameter.value;
    const int64_t n = value.numel();
    const std::vector<int64_t> shape = value.sizes().vec();
    const Tensor view = flat_.narrow(0, offset, n).view(shape);
    fill(view, value);
    if (value.grad().defined()) value.mutable_grad() = Tensor();  // of the buffer before
    value.set_data(view);
    if (flat_grad_.defined()) {
      value.set_requires_grad(true);
      // Autograd adds in place into a gradient that is there, so this view stays one of flat_grad_.
      value.mutable_grad() = flat_grad_.narrow(0, offset, n).view(shape);
    }
    offset += n;
  }
}

const Parameter* Parameters::find(const std::string& name) const {
  for (const auto& parameter : parameters_)
    if (parameter.name == name) return &parameter;
  return nullptr;
}

int64_t Parameters::count() const {
  int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter.value.numel();
  return total;
}

void Parameters::zero_grad() {
  if (flat_grad_.defined()) flat_grad_.zero_();
}

}  // namespace cots
