// A chunk of rows at a time: logits by GEMM, then softmax in place, then the three gradients by
// GEMM from the same buffer. Memory: kChunkBytes of logits beside the gradients, whatever M.
// Legend: M rows, d width, V classes, R rows of a chunk.
#include "ops/vocabulary_cross_entropy.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <vector>

#include "ops/cancel.h"
#include "ops/cpu/lanes.h"

namespace cots::ops {
namespace {

constexpr int64_t kChunkBytes =
    8 << 20;  // 8 to 64 MiB measured alike; 1 MiB costs 1.6x at V 8192, d 768

/// logsumexp of a row of V logits; the row becomes its softmax when `keep` is set.
template <class Floats>
COTS_INLINE double softmax_row_body(float* row, int64_t V, bool keep) {
  const int64_t whole = V / kLanes * kLanes, rest = V - whole;
  constexpr float kLowest = -3.0e38f;
  Floats top = rest ? load_part<Floats>(row + whole, rest, kLowest) : splat<Floats>(kLowest);
  for (int64_t j = 0; j < whole; j += kLanes) top = maximum(load<Floats>(row + j), top);
  const float m = reduce_max(top);
  Floats sum{};
  for (int64_t j = 0; j < whole; j += kLanes) {
    const Floats e = exponential(load<Floats>(row + j) - m);
    sum += e;
    if (keep) store(row + j, e);
  }
  if (rest) {
    const Floats e = exponential(load_part<Floats>(row + whole, rest, kLowest) - m);
    sum += e;
    if (keep) store_part(row + whole, rest, e);
  }
  const double total = reduce_sum(sum);
  if (keep) {
    const float inverse = static_cast<float>(1 / total);
    for (int64_t j = 0; j < V; ++j) row[j] *= inverse;
  }
  return static_cast<double>(m) + std::log(total);
}
COTS_LANE_VERSIONS(double, softmax_row, (float* row, int64_t V, bool keep), (row, V, keep))

/// Sum of the chunk's losses; logits_RV becomes their gradient, softmax - onehot, when `keep` is
/// set.
double chunk_loss(const Tensor& logits_RV, const int64_t* target, bool keep) {
  const int64_t R = logits_RV.size(0), V = logits_RV.size(1);
  float* logits = logits_RV.mutable_data_ptr<float>();
  std::vector<double> loss_R(static_cast<size_t>(R));
  at::parallel_for(0, R, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* row = logits + r * V;
      if (target[r] == kIgnoredTarget) {
        if (keep) std::fill_n(row, V, 0.0f);
        continue;  // its loss is 0
      }
      const double target_logit = row[target[r]];
      loss_R[static_cast<size_t>(r)] = softmax_row(row, V, keep) - target_logit;
      if (keep) row[target[r]] -= 1;
    }
  });
  double sum = 0;  // in row order, whatever the thread count
  for (const double loss : loss_R) sum += loss;
  return sum;
}

void check_arguments(const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V,
                     const Tensor& target_M) {
  for (const Tensor& x : {query_Md, weight_Vd, bias_V})
    TORCH_CHECK(x.scalar_type() == at::kFloat, "vocabulary_cross_entropy: expected float32, got ",
                x.scalar_type());
  check_vocabulary_shapes(query_Md, weight_Vd, bias_V, target_M);
  const Tensor counted = target_M.masked_select(target_M != kIgnoredTarget);
  if (counted.numel() == 0) return;
  const auto [low, high] = counted.aminmax();
  TORCH_CHECK(low.item<int64_t>() >= 0 && high.item<int64_t>() < weight_Vd.size(0),
              "vocabulary_cross_entropy: expected targets in [0, ", weight_Vd.size(0), "), got ",
              low.item<int64_t>(), " to ", high.item<int64_t>());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> vocabulary_cross_entropy_cpu(
    const Tensor& query_Md, const Tensor& weight_Vd, const Tensor& bias_V, const Tensor& target_M,
    std::array<bool, 3> wanted) {
  check_arguments(query_Md, weight_Vd, bias_V, target_M);
  const int64_t M = query_Md.size(0), V = weight_Vd.size(0);
  const int64_t rows = std::clamp<int64_t>(kChunkBytes / (4 * std::max<int64_t>(V, 1)), 32, 4096);
  const bool keep = wanted[0] || wanted[1] || wanted[2];
  const Tensor target = target_M.contiguous();
  const int64_t* targets = target.const_data_ptr<int64_t>();
  Tensor grad_query = wanted[0] ? at::empty(query_Md.sizes(), query_Md.options()) : Tensor();
  Tensor grad_weight = wanted[1] ? at::zeros(weight_Vd.sizes(), weight_Vd.options()) : Tensor();
  Tensor grad_bias = wanted[2] ? at::zeros({V}, bias_V.options()) : Tensor();
  Tensor buffer_RV = at::empty({std::min(rows, M), V}, query_Md.options());

  double loss = 0;
  for (int64_t begin = 0; begin < M; begin += rows) {
    check_cancelled();
    const int64_t R = std::min(rows, M - begin);
    const Tensor query_Rd = query_Md.narrow(0, begin, R);
    Tensor logits_RV = buffer_RV.narrow(0, 0, R);
    at::addmm_out(logits_RV, bias_V, query_Rd, weight_Vd.t());
    loss += chunk_loss(logits_RV, targets + begin, keep);
    if (wanted[0]) {
      Tensor grad_Rd = grad_query.narrow(0, begin, R);
      at::mm_out(grad_Rd, logits_RV, weight_Vd);
    }
    if (wanted[1]) grad_weight.addmm_(logits_RV.t(), query_Rd);
    if (wanted[2]) grad_bias.add_(logits_RV.sum(0));
  }
  return {at::scalar_tensor(loss, query_Md.options()), grad_query, grad_weight, grad_bias};
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) {
  m.impl("vocabulary_cross_entropy", vocabulary_cross_entropy_cpu);
}

}  // namespace cots::ops
