#include "train/gradient_buckets.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <unordered_set>

namespace cots {
namespace {

using torch::autograd::Node;

/// Called by autograd after a parameter's gradient was added to.
struct AfterAccumulation : torch::autograd::FunctionPostHook {
  explicit AfterAccumulation(std::function<void()> call) : call(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call();
    return outputs;
  }
  std::function<void()> call;
};

/// Every node of the graph below some tensors.
std::unordered_set<const Node*> nodes_below(const std::vector<Tensor>& roots) {
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> open;
  const auto visit = [&](const Node* node) {
    if (node != nullptr && seen.insert(node).second) open.push_back(node);
  };
  for (const Tensor& root : roots) visit(root.grad_fn().get());
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (const torch::autograd::Edge& edge : node->next_edges()) visit(edge.function.get());
  }
  return seen;
}

}  // namespace

GradientBuckets::GradientBuckets(const Parameters& parameters, const Group& group,
                                 int64_t bucket_bytes, bool sharded)
    : group_(group) {
  if (group_.world() == 1) return;
  flat_grad_ = parameters.flat_grad();
  const auto element = static_cast<int64_t>(sizeof(float));
  cut(parameters.count(), std::max<int64_t>(1, bucket_bytes / element), sharded);
  self_ = std::make_shared<GradientBuckets*>(this);
  int64_t offset = 0;
  for (const Parameter& parameter : parameters.all()) {
    const Range own{offset, offset + parameter.value.numel()};
    offset = own.end;
    // Buckets lie from the end to the beginning.
    const auto first = std::find_if(buckets_.begin(), buckets_.end(), [&](const Bucket& bucket) {
      return bucket.range.begin < own.end;
    });
    const auto past = std::find_if(
        first, buckets_.end(), [&](const Bucket& bucket) { return bucket.range.end <= own.begin; });
    span_.emplace_back(first - buckets_.begin(), past - buckets_.begin());
    for (auto bucket = first; bucket != past; ++bucket) ++bucket->parameters;
    hook(span_.size() - 1, parameter.value);
  }
}

void GradientBuckets::cut(int64_t count, int64_t bucket_count, bool sharded) {
  const int64_t parts = sharded ? group_.world() : 1;
  for (int64_t part = parts - 1; part >= 0; --part) {
    const Range range = sharded ? group_.part(count, part) : Range{0, count};
    for (int64_t end = range.end; end > range.begin; end -= bucket_count)
      buckets_.push_back(
          {{std::max(range.begin, end - bucket_count), end}, sharded ? part : -1, 0, 0, {}});
  }
}

void GradientBuckets::hook(size_t parameter, const Tensor& value) {
  // A pointer of one kind or another, by the version of libtorch.
  auto accumulator = torch::autograd::impl::grad_accumulator(value);
  accumulator->add_post_hook(
      std::make_unique<AfterAccumulation>([parameter, self = std::weak_ptr(self_)] {
        const auto buckets = self.lock();
        if (buckets) (*buckets)->ready(parameter);
      }));
  accumulators_.push_back(accumulator.get());
  kept_.push_back(std::make_shared<decltype(accumulator)>(std::move(accumulator)));
}

void GradientBuckets::begin_last(const std::vector<Tensor>& roots) {
  if (group_.world() == 1) return;
  const auto below = nodes_below(roots);
  active_ = true;
  next_ = 0;
  waited_for_.assign(span_.size(), true);
  for (Bucket& bucket : buckets_) bucket.left = bucket.parameters;
  // What this backward does not reach is ready as it is.
  for (size_t parameter = 0; parameter < span_.size(); ++parameter)
    if (!below.contains(accumulators_[parameter])) ready(parameter);
}

void GradientBuckets::ready(size_t parameter) {
  if (!active_ || !waited_for_[parameter]) return;
  waited_for_[parameter] = false;
  for (size_t bucket = span_[parameter].first; bucket < span_[parameter].second; ++bucket)
    --buckets_[bucket].left;
  send_complete(false);
}

/// In order: a rank whose pairs reach other parameters sends the same buckets in the same order.
void GradientBuckets::send_complete(bool all) {
  for (; next_ < buckets_.size() && (all || buckets_[next_].left == 0); ++next_) {
    Bucket& bucket = buckets_[next_];
    const Tensor grad = flat_grad_.narrow(0, bucket.range.begin, bucket.range.count());
    bucket.pending =
        bucket.owner < 0 ? group_.start_all_reduce(grad) : group_.start_reduce(grad, bucket.owner);
  }
}

void GradientBuckets::finish() {
  if (group_.world() == 1) return;
  if (!active_) next_ = 0;
  active_ = false;
  send_complete(true);
  for (Bucket& bucket : buckets_) bucket.pending.wait();
}

}  // namespace cots
