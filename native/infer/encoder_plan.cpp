#include "infer/encoder_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "infer/kernels/tasks.h"
#include "ops/cancel.h"

namespace cots {
namespace {

using kernels::Epilogue;
using kernels::LinearActivation;
using kernels::Rows2d;

/// The rows `rows` of x, side by side.
void gather(const float* x, const std::vector<int64_t>& rows, int64_t width, float* to) {
  for (const int64_t row : rows) {
    std::memcpy(to, x + row * width, static_cast<size_t>(width) * sizeof(float));
    to += width;
  }
}

const float* data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

/// Rows of a group, about: what a layer makes of them stays in the last-level cache.
constexpr int64_t kRowsAGroup = 512;

/// y += gamma * (x W^T + b), the end of a residual branch.
void add_branch(const PlannedLinear& linear, const LinearInput& x, int64_t rows,
                const Tensor& gamma, float* y) {
  const int64_t width = linear.out();
  linear.run(x, rows, y, width,
             Epilogue{.gamma = data_of(gamma), .residual = y, .residual_stride = width});
}

}  // namespace

std::vector<EncoderPlan::Group> EncoderPlan::groups_of(const std::vector<int64_t>& starts,
                                                       const std::vector<int64_t>& needed) {
  std::vector<Group> groups;
  for (size_t s = 0; s + 1 < starts.size(); ++s) {
    if (groups.empty() || groups.back().starts.back() >= kRowsAGroup)
      groups.push_back({.row = starts[s], .sequence = static_cast<int64_t>(s), .starts = {0}});
    Group& group = groups.back();
    group.starts.push_back(starts[s + 1] - group.row);
    if (!needed.empty()) group.needed.push_back(needed[s] - group.row);
  }
  return groups;
}

float* reserve(Tensor& kept, int64_t floats) {
  if (!kept.defined() || kept.numel() < floats) kept = at::empty({floats}, at::kFloat);
  return kept.mutable_data_ptr<float>();
}

PlannedNorm::PlannedNorm(const WeightSource& weights, const std::string& name, double eps)
    : weight(weights.weight(name + ".weight")), bias(weights.weight(name + ".bias")), eps(eps) {}

void PlannedNorm::run(Rows2d x, int64_t rows, float* y) const {
  const int64_t width = weight.numel();
  kernels::layer_norm(x, rows, width, data_of(weight), data_of(bias), eps, y, width);
}

EncoderPlan::EncoderPlan(const WeightSource& weights, const std::string& prefix,
                         const EncoderShape& shape, Precision precision)
    : shape_(shape), precision_(precision) {
  for (int64_t n = 0; n < shape.layers; ++n) {
    const std::string block = prefix + std::to_string(n) + ".";
    const auto optional = [&](const char* name) {
      return weights.has(block + name) ? weights.weight(block + name) : Tensor();
    };
    const auto norm = [&](const char* name) {
      return PlannedNorm(weights, block + name, shape.layer_norm_eps);
    };
    const std::vector<int64_t> split{shape.width, 2 * shape.width};
    const auto qkv = weights.weight(block + "qkv.weight").split_with_sizes(split),
               biases = weights.weight(block + "qkv.bias").split_with_sizes(split);
    layers_.push_back({.ln1 = norm("ln1"),
                       .ln2 = norm("ln2"),
                       .query = {qkv[0], biases[0], precision},
                       .key_value = {qkv[1], biases[1], precision},
                       .proj = plan_linear(weights, block + "proj", precision),
                       .fc1 = plan_linear(weights, block + "fc1", precision),
                       .fc2 = plan_linear(weights, block + "fc2", precision),
                       .gamma1 = optional("gamma1"),
                       .gamma2 = optional("gamma2"),
                       .relative_bias_NH = optional("rel_bias")});
  }
}

const float* EncoderPlan::run(float* x, const std::vector<int64_t>& starts,
                              const std::vector<int64_t>& needed) {
  const int64_t d = shape_.width, S = static_cast<int64_t>(needed.size());
  const std::vector<Group> groups = groups_of(starts, needed);
  // As many groups as the pool can share evenly go through a layer on a thread each, without a
  // wait; the threads then share the work of each group that is left.
  const auto count = static_cast<int64_t>(groups.size());
  const int64_t threads = at::get_num_threads(), apart = count / threads * threads;
  make_workspaces(groups, apart > 0 ? threads : 1);
  float* kept = reserve(picked_, S * d);
  for (const Layer& layer : layers_) {
    ops::check_cancelled();
    const bool picks = &layer == &layers_.back() && S > 0;
    const kernels::AttentionShape attention = attention_shape(layer);
    const auto run_group = [&](const Group& group, Workspace& workspace) {
      float* states = x + group.row * d;
      if (picks)
        run_last_layer(layer, attention, states, group, kept + group.sequence * d, workspace);
      else
        run_layer(layer, attention, states, group.starts, workspace);
    };
    kernels::for_each_task(
        apart, [&](int64_t g) { run_group(groups[g], workspaces_[at::get_thread_num()]); });
    for (int64_t g = apart; g < count; ++g) run_group(groups[g], workspaces_[0]);
  }
  return S > 0 ? kept : x;
}

/// Memory for the largest group, `count` times.
void EncoderPlan::make_workspaces(const std::vector<Group>& groups, int64_t count) {
  const int64_t d = shape_.width, F = shape_.feed_forward;
  int64_t rows = 0, sequences = 0;
  for (const Group& group : groups) {
    rows = std::max(rows, group.starts.back());
    sequences = std::max(sequences, static_cast<int64_t>(group.needed.size()));
  }
  if (static_cast<int64_t>(workspaces_.size()) < count) workspaces_.resize(count);
  for (Workspace& workspace : workspaces_) {
    reserve(workspace.narrow, rows * d);
    reserve(workspace.wide, rows * std::max(3 * d, F));
    reserve(workspace.query, sequences * d);
    if (precision_ == Precision::kInt8)
      workspace.codes.reserve(rows, std::max(d, F));
    else if (multiplies_halves(precision_))
      workspace.halves.reserve(rows, std::max(d, F));
  }
}

void EncoderPlan::run_layer(const Layer& layer, const kernels::AttentionShape& attention, float* x,
                            const std::vector<int64_t>& starts, Workspace& workspace) const {
  const int64_t M = starts.back(), d = shape_.width;
  const LinearInput input = input_of(attention_input(layer, x, M, workspace), M, d, workspace);
  float *qkv = workspace.wide.mutable_data_ptr<float>(),
        *mixed = workspace.narrow.mutable_data_ptr<float>();
  layer.query.run(input, M, qkv, 3 * d);
  layer.key_value.run(input, M, qkv + d, 3 * d);
  std::vector<kernels::AttentionSequence> sequences;
  for (size_t s = 0; s + 1 < starts.size(); ++s) {
    const int64_t L = starts[s + 1] - starts[s];
    const float* rows = qkv + starts[s] * 3 * d;
    sequences.push_back({.q = {rows, 3 * d},
                         .k = {rows + d, 3 * d},
                         .v = {rows + 2 * d, 3 * d},
                         .queries = L,
                         .keys = L,
                         .first_query = 0,
                         .out = mixed + starts[s] * d,
                         .out_stride = d});
  }
  kernels::attention(attention, sequences);
  finish_layer(layer, x, M, mixed, workspace);
}

/// The needed rows of x after the layer, into `kept`.
void EncoderPlan::run_last_layer(const Layer& layer, const kernels::AttentionShape& attention,
                                 const float* x, const Group& group, float* kept,
                                 Workspace& workspace) const {
  const std::vector<int64_t>&starts = group.starts, &needed = group.needed;
  const int64_t M = starts.back(), d = shape_.width, S = static_cast<int64_t>(needed.size());
  const float* input = attention_input(layer, x, M, workspace);
  float *query = workspace.query.mutable_data_ptr<float>(),
        *key_value = workspace.wide.mutable_data_ptr<float>();
  layer.key_value.run(input_of(input, M, d, workspace), M, key_value, 2 * d);
  gather(input, needed, d, kept);
  layer.query.run(input_of(kept, S, d, workspace), S, query, d);
  std::vector<kernels::AttentionSequence> sequences;
  for (int64_t s = 0; s < S; ++s) {
    const float* rows = key_value + starts[s] * 2 * d;
    sequences.push_back({.q = {query + s * d, d},
                         .k = {rows, 2 * d},
                         .v = {rows + d, 2 * d},
                         .queries = 1,
                         .keys = starts[s + 1] - starts[s],
                         .first_query = needed[s] - starts[s],
                         .out = query + s * d,  // each head reads its query before it writes
                         .out_stride = d});
  }
  kernels::attention(attention, sequences);
  gather(x, needed, d, kept);
  finish_layer(layer, kept, S, query, workspace);
}

/// Rows side by side as linear layers read them; valid until the next call.
LinearInput EncoderPlan::input_of(const float* x, int64_t rows, int64_t width,
                                  Workspace& workspace) const {
  LinearInput input{.rows = {x, width}};
  if (precision_ == Precision::kInt8) {
    workspace.codes.quantize(input.rows, rows, width);
    input.codes = &workspace.codes;
  } else if (multiplies_halves(precision_)) {
    workspace.halves.round(input.rows, rows, width);
    input.halves = &workspace.halves;
  }
  return input;
}

/// What the attention of a block reads: the states, normalized first in a pre-LN block.
const float* EncoderPlan::attention_input(const Layer& layer, const float* x, int64_t rows,
                                          Workspace& workspace) const {
  if (shape_.order == NormOrder::kPost) return x;
  float* normalized = workspace.narrow.mutable_data_ptr<float>();
  layer.ln1.run({x, shape_.width}, rows, normalized);
  return normalized;
}

/// The rest of a block, in place on `rows` states x, from the mixed values of its attention.
void EncoderPlan::finish_layer(const Layer& layer, float* x, int64_t rows, const float* mixed,
                               Workspace& workspace) const {
  const int64_t d = shape_.width, F = shape_.feed_forward;
  const bool post = shape_.order == NormOrder::kPost;
  float *normalized = workspace.narrow.mutable_data_ptr<float>(),
        *hidden = workspace.wide.mutable_data_ptr<float>();
  add_branch(layer.proj, input_of(mixed, rows, d, workspace), rows, layer.gamma1, x);
  if (post)
    layer.ln1.run({x, d}, rows, x);
  else
    layer.ln2.run({x, d}, rows, normalized);
  layer.fc1.run(
      input_of(post ? x : normalized, rows, d, workspace), rows, hidden, F,
      {.activation = shape_.activation == Activation::kGelu ? LinearActivation::kGelu
                                                            : LinearActivation::kQuickGelu});
  add_branch(layer.fc2, input_of(hidden, rows, F, workspace), rows, layer.gamma2, x);
  if (post) layer.ln2.run({x, d}, rows, x);
}

kernels::AttentionShape EncoderPlan::attention_shape(const Layer& layer) {
  kernels::AttentionShape shape{.heads = shape_.heads,
                                .head_width = shape_.width / shape_.heads,
                                .causal = shape_.causal,
                                .products = multiplies_halves(precision_)
                                                ? kernels::AttentionProducts::kBfloat16
                                                : kernels::AttentionProducts::kFloat32};
  if (!layer.relative_bias_NH.defined()) return shape;
  // Formed when it is used: of all layers at once it would take more memory than the weights.
  const int64_t L = shape_.relative_index_LL.size(0);
  if (!bias_HLL_.defined()) bias_HLL_ = at::empty({shape_.heads, L, L}, at::kFloat);
  const Tensor rows = layer.relative_bias_NH.t().contiguous(),
               index = shape_.relative_index_LL.reshape({-1});
  for (int64_t h = 0; h < shape_.heads; ++h) {
    Tensor head = bias_HLL_[h].view({-1});
    at::index_select_out(head, rows[h], 0, index);
  }
  shape.bias = bias_HLL_.const_data_ptr<float>();
  shape.bias_length = L;
  return shape;
}

}  // namespace cots
