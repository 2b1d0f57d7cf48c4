#include "train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "model/weights.h"

namespace cots {
namespace {

constexpr int64_t kBlock =
    1 << 16;  // elements summed by one thread: the result does not depend on the thread count
constexpr int64_t kLanes = 16;
constexpr int64_t kSpan = 1 << 20;  // elements updated by one call; bounds the masks below

double sum_of_squares(const float* values, int64_t count) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += static_cast<double>(values[i + lane]) * values[i + lane];
  for (; i < count; ++i) lanes[0] += static_cast<double>(values[i]) * values[i];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

/// What AdamW reads and writes of a span.
struct SpanTensors {
  Tensor parameter, grad, exp_avg, exp_avg_sq, decay_mask;
};

}  // namespace

Optimizer::Optimizer(Parameters& parameters, const OptimizerConfig& config,
                     const std::vector<double>& lr_scales, std::optional<Range> own, int64_t cut)
    : parameters_(parameters),
      config_(config),
      own_(own.value_or(Range{0, parameters.count()})),
      exp_avg_(at::zeros({own_.count()})),
      exp_avg_sq_(at::zeros({own_.count()})),
      spans_(make_spans(parameters, lr_scales, own_, cut)),
      decayed_(at::ones({std::min(kSpan, own_.count())})),
      undecayed_(at::zeros_like(decayed_)) {}

/// Neighbors of the flat buffer with the same rule of weight decay and the same rate: two short
/// masks then serve for one as long as the weights.
std::vector<Optimizer::Span> Optimizer::make_spans(const Parameters& parameters,
                                                   const std::vector<double>& lr_scales, Range own,
                                                   int64_t cut) {
  TORCH_INTERNAL_ASSERT(lr_scales.size() == parameters.all().size());
  std::vector<Span> spans;
  int64_t end = 0;  // of the parameter
  for (size_t i = 0; i < lr_scales.size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    int64_t offset = std::max(end, own.begin);
    end += parameter.value.numel();
    for (int64_t left = std::min(end, own.end) - offset; left > 0;) {
      const bool extends = !spans.empty() && spans.back().decay == parameter.decay &&
                           spans.back().lr_scale == lr_scales[i] && spans.back().count < kSpan &&
                           offset != cut;
      if (!extends) spans.push_back({offset, 0, parameter.decay, lr_scales[i]});
      int64_t taken = std::min(left, kSpan - spans.back().count);
      if (offset < cut) taken = std::min(taken, cut - offset);
      spans.back().count += taken;
      offset += taken;
      left -= taken;
    }
  }
  return spans;
}

double Optimizer::grad_norm() const { return std::sqrt(grad_square()); }

double Optimizer::grad_square() const {
  const Tensor grad = parameters_.flat_grad().narrow(0, own_.begin, own_.count());
  const float* values = grad.const_data_ptr<float>();
  const int64_t count = grad.numel(), blocks = (count + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<size_t>(blocks));
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block)
      sums[block] =
          sum_of_squares(values + block * kBlock, std::min(kBlock, count - block * kBlock));
  });
  double sum = 0;
  for (const double block : sums) sum += block;
  return sum;
}

void Optimizer::step(double lr, double norm) {
  const at::NoGradGuard no_grad;
  const double scale =
      config_.clip_grad > 0 && norm > config_.clip_grad ? config_.clip_grad / norm : 1.0;
  ops::AdamW update{lr,           config_.beta1, config_.beta2, config_.eps, config_.weight_decay,
                    updates_ + 1, scale};
  for_spans([&](const Span& span, const SpanTensors& t) {
    update.lr = lr * span.lr_scale;
    ops::adamw_(t.parameter, t.grad, t.exp_avg, t.exp_avg_sq, t.decay_mask, update);
  });
  ++updates_;
}

Tensor Optimizer::grad_norm_tensor() const {
  return at::linalg_vector_norm(parameters_.flat_grad().narrow(0, own_.begin, own_.count()), 2,
                                std::nullopt, false, at::kDouble);
}

void Optimizer::step(const Tensor& live_4, const ops::MovingAverage& average) {
  const at::NoGradGuard no_grad;
  ops::AdamW update{1, config_.beta1, config_.beta2, config_.eps, config_.weight_decay, 1, 1};
  for_spans([&](const Span& span, const SpanTensors& t) {
    update.lr = span.lr_scale;
    ops::MovingAverage part;
    if (average.average.defined() && span.begin < average.average.numel())
      part = {average.average.narrow(0, span.begin, span.count), average.decay};
    ops::adamw_(t.parameter, t.grad, t.exp_avg, t.exp_avg_sq, t.decay_mask, update, live_4, part);
  });
}

void Optimizer::move(at::Device device) {
  for (Tensor* tensor : {&exp_avg_, &exp_avg_sq_, &decayed_, &undecayed_})
    *tensor = tensor->to(device);
}

/// Calls update(span, its tensors) for each.
template <typename Update>
void Optimizer::for_spans(Update update) const {
  for (const Span& span : spans_) {
    const auto part = [&](const Tensor& flat) { return flat.narrow(0, span.begin, span.count); };
    const auto moment = [&](const Tensor& own) {
      return own.narrow(0, span.begin - own_.begin, span.count);
    };
    update(span, SpanTensors{part(parameters_.flat()), part(parameters_.flat_grad()),
                             moment(exp_avg_), moment(exp_avg_sq_),
                             (span.decay ? decayed_ : undecayed_).narrow(0, 0, span.count)});
  }
}

std::vector<std::pair<std::string, Tensor>> Optimizer::state() const {
  return {{"optimizer.exp_avg", exp_avg_},
          {"optimizer.exp_avg_sq", exp_avg_sq_},
          {"optimizer.updates", at::scalar_tensor(updates_, at::kLong)}};
}

void Optimizer::restore(const std::vector<std::pair<std::string, Tensor>>& state) {
  const std::map<std::string, Tensor> tensors(state.begin(), state.end());
  const std::string where = "the checkpoint";
  const Tensor& exp_avg = require_tensor(tensors, "optimizer.exp_avg", exp_avg_.sizes(), where);
  const Tensor& exp_avg_sq =
      require_tensor(tensors, "optimizer.exp_avg_sq", exp_avg_sq_.sizes(), where);
  updates_ = require_tensor(tensors, "optimizer.updates", {}, where).item<int64_t>();
  exp_avg_.copy_(exp_avg);
  exp_avg_sq_.copy_(exp_avg_sq);
}

}  // namespace cots
