// Legend: B pairs, A pairs whose weight is not 0, n queue entries, D embedding.
#include "ops/queue_contrast.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <functional>
#include <optional>

#include "ops/dispatch.h"

namespace cots::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using OptionalTensor = std::optional<Tensor>;
using LossesAndGradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

struct QueueContrast : torch::autograd::Function<QueueContrast> {
  static Tensor forward(AutogradContext* context, const Tensor&, const Tensor&,
                        const Tensor& log_scale,
                        const std::function<LossesAndGradients()>& compute) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [losses_4, grad_image, grad_text, grad_log_scale] = compute();
    context->save_for_backward({grad_image, grad_text, grad_log_scale.view(log_scale.sizes())});
    return losses_4;
  }

  // Only element 0, the total, carries gradient; the other three are for the log.
  static variable_list backward(AutogradContext* context, variable_list grads) {
    if (!grads[0].defined()) return variable_list(4);
    const Tensor upstream = grads[0].select(0, 0);
    const auto saved = context->get_saved_variables();
    return {saved[0] * upstream, saved[1] * upstream, saved[2] * upstream, Tensor()};
  }
};

struct Masks {
  Tensor masked_An;   // bool: the column is out of both distributions of the row
  Tensor matched_An;  // bool: the column is a positive of the row (multi_positive)
};

Masks dense_masks(const Tensor& active_A, const ContrastInputs& in, const ContrastOptions& o) {
  const int64_t n = in.image_queue_nD.size(0);
  const Tensor column_1n = at::arange(n, active_A.options()).unsqueeze(0);
  Tensor own_An = o.batch_key_column < 0
                      ? at::zeros({active_A.size(0), n}, active_A.options().dtype(at::kBool))
                      : column_1n.eq(active_A.unsqueeze(1) + o.batch_key_column);
  Tensor same_An = at::zeros_like(own_An);
  if (o.duplicate_policy != DuplicatePolicy::kKeep)
    same_An = in.id_B.index_select(0, active_A)
                  .unsqueeze(1)
                  .eq(in.queue_id_n.unsqueeze(0))
                  .logical_and(own_An.logical_not());
  if (o.duplicate_policy == DuplicatePolicy::kMaskSameImage)
    return {own_An.logical_or(same_An), at::zeros_like(own_An)};
  return {own_An, same_An};
}

/// A - sum_j y_j a_j a row, y uniform over the positives. logits_A1n: column 0 is the pair itself.
Tensor info_nce_rows(const Tensor& logits_A1n, const Tensor& masked_A1n,
                     const Tensor& positive_A1n) {
  const Tensor lse_A = logits_A1n.masked_fill(masked_A1n, -INFINITY).logsumexp(1);
  const Tensor target_A1n = positive_A1n.to(logits_A1n.scalar_type());
  return lse_A - (target_A1n * logits_A1n).sum(1) / target_A1n.sum(1);
}

/// KL(p || q) + KL(q || p) a row over the columns that are not masked; 0 where none is left.
Tensor symmetric_kl_rows(const Tensor& a_Am, const Tensor& b_Am, const Tensor& masked_Am,
                         bool stopgrad_target) {
  const Tensor any_A = masked_Am.logical_not().any(1);
  const Tensor out_Am =
      masked_Am.logical_and(any_A.unsqueeze(1));  // a row with no column left must stay finite
  const Tensor log_p =
      at::log_softmax(a_Am.masked_fill(out_Am, -INFINITY), 1).masked_fill(out_Am, 0);
  const Tensor log_q =
      at::log_softmax(b_Am.masked_fill(out_Am, -INFINITY), 1).masked_fill(out_Am, 0);
  const auto target = [&](const Tensor& x) { return stopgrad_target ? x.detach() : x; };
  const Tensor p = log_p.exp().masked_fill(out_Am, 0), q = log_q.exp().masked_fill(out_Am, 0);
  const Tensor kl_Am = target(p) * (target(log_p) - log_q) + target(q) * (target(log_q) - log_p);
  return kl_Am.sum(1).masked_fill(any_A.logical_not(), 0);
}

}  // namespace

LossesAndGradients queue_contrast(const ContrastInputs& in, const ContrastOptions& o) {
  static const auto op = find_op<LossesAndGradients(
      const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
      const Tensor&, const Tensor&, const OptionalTensor&, const OptionalTensor&, double, double,
      double, bool, bool, int64_t, int64_t)>("cots::queue_contrast");
  const auto optional = [](const Tensor& t) {
    return t.defined() ? OptionalTensor(t) : std::nullopt;
  };
  return op.call(in.image_BD, in.text_BD, in.image_key_BD, in.text_key_BD, in.image_queue_nD,
                 in.text_queue_nD, in.weights_B, in.log_scale, optional(in.id_B),
                 optional(in.queue_id_n), o.normalizer, o.instance_weight, o.task_weight,
                 o.include_positive, o.stopgrad_target, static_cast<int64_t>(o.duplicate_policy),
                 o.batch_key_column);
}

Tensor queue_contrast_composite(const ContrastInputs& in, const ContrastOptions& o) {
  // Rows of weight 0 are selected away, not multiplied: 0 * NaN would poison the sum.
  const Tensor active_A = in.weights_B.nonzero().squeeze(1);
  const auto rows = [&](const Tensor& x) { return x.index_select(0, active_A); };
  const Tensor image_AD = rows(in.image_BD), text_AD = rows(in.text_BD);
  const Tensor scale = in.log_scale.exp();
  const auto logits = [&](const Tensor& query_AD, const Tensor& key_AD, const Tensor& queue_nD) {
    return scale * at::cat({(query_AD * key_AD).sum(1, true), query_AD.matmul(queue_nD.t())}, 1);
  };
  const Tensor a_A1n = logits(image_AD, rows(in.text_key_BD), in.text_queue_nD);
  const Tensor b_A1n = logits(text_AD, rows(in.image_key_BD), in.image_queue_nD);

  const int64_t A = active_A.size(0), n = in.image_queue_nD.size(0);
  const Masks masks = dense_masks(active_A, in, o);
  const Tensor no_A1 = at::zeros({A, 1}, masks.masked_An.options());
  const Tensor masked_A1n = at::cat({no_A1, masks.masked_An}, 1);
  const Tensor positive_A1n = at::cat({no_A1.logical_not(), masks.matched_An}, 1);

  const int64_t first = o.include_positive ? 0 : 1;
  const auto task = [&](const Tensor& x) { return x.narrow(1, first, n + 1 - first); };
  const Tensor share_A = rows(in.weights_B).to(a_A1n.scalar_type()) / o.normalizer;
  const Tensor i2t = (share_A * info_nce_rows(a_A1n, masked_A1n, positive_A1n)).sum();
  const Tensor t2i = (share_A * info_nce_rows(b_A1n, masked_A1n, positive_A1n)).sum();
  const Tensor kl =
      (share_A * symmetric_kl_rows(task(a_A1n), task(b_A1n), task(masked_A1n), o.stopgrad_target))
          .sum();
  return at::stack({o.instance_weight * (i2t + t2i) + o.task_weight * kl, i2t.detach(),
                    t2i.detach(), kl.detach()});
}

Tensor queue_contrast_loss(const ContrastInputs& in, const ContrastOptions& o) {
  if (in.image_BD.scalar_type() == at::kDouble)  // gradient checks; the kernels are float32
    return queue_contrast_composite(in, o);
  // bfloat16 rows are multiplied as they are where tensor cores sum in float32, and only there.
  const bool is_half = in.image_BD.is_cuda() && in.image_BD.scalar_type() == at::kBFloat16;
  const at::ScalarType type = is_half ? at::kBFloat16 : at::kFloat;
  ContrastInputs typed = in;
  for (Tensor* x : {&typed.image_BD, &typed.text_BD, &typed.image_key_BD, &typed.text_key_BD,
                    &typed.image_queue_nD, &typed.text_queue_nD})
    *x = x->to(type);
  return QueueContrast::apply(typed.image_BD, typed.text_BD, in.log_scale, [&] {
    ContrastInputs constants = typed;
    for (Tensor* x : {&constants.image_BD, &constants.text_BD, &constants.image_key_BD,
                      &constants.text_key_BD, &constants.log_scale})
      *x = x->detach();
    return queue_contrast(constants, o);
  });
}

TORCH_LIBRARY_FRAGMENT(cots, m) {
  m.def(
      "queue_contrast(Tensor image, Tensor text, Tensor image_key, Tensor text_key, Tensor "
      "image_queue, "
      "Tensor text_queue, Tensor weights, Tensor log_scale, Tensor? id, Tensor? queue_id, float "
      "normalizer, "
      "float instance_weight, float task_weight, bool include_positive, bool stopgrad_target, int "
      "duplicate_policy, "
      "int batch_key_column) -> (Tensor losses, Tensor grad_image, Tensor grad_text, Tensor "
      "grad_log_scale)");
}

}  // namespace cots::ops
