#include "train/key_exchange.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace cots {

namespace {

/// `gather`: the rows of all ranks.
template <typename Gather>
StepKeys exchange(const Gather& gather, const Keys& own, const Batch& batch) {
  const at::NoGradGuard no_grad;
  const int64_t D = own.image_BD.size(1);
  const Tensor key_G =
      gather(at::cat({own.image_BD, own.text_BD, own.score_B.unsqueeze(1)}, 1));  // [G, 2D + 1]
  const Tensor fact_G3 =
      gather(at::stack({batch.sample_B, batch.image_id_B, own.finite_B.to(at::kLong)}, 1));

  const Tensor order_G = fact_G3.select(1, 0).argsort();  // samples are unique
  const Tensor key = key_G.index_select(0, order_G), fact = fact_G3.index_select(0, order_G);
  StepKeys keys;
  keys.all = {key.narrow(1, 0, D).contiguous(), key.narrow(1, D, D).contiguous(),
              key.select(1, 2 * D).contiguous(), fact.select(1, 2).to(at::kBool)};
  keys.image_id_G = fact.select(1, 1).contiguous();
  keys.own_B = at::searchsorted(fact.select(1, 0).contiguous(), batch.sample_B);
  return keys;
}

}  // namespace

StepKeys exchange_keys(const Group& group, const Keys& own, const Batch& batch) {
  if (group.world() == 1) return {own, batch.image_id_B, {}};
  return exchange([&](const Tensor& rows_b) { return group.all_gather_rows(rows_b); }, own, batch);
}

StepKeys exchange_equal_keys(const Group& group, const Keys& own, const Batch& batch) {
  if (group.world() == 1) return {own, batch.image_id_B, {}};
  return exchange([&](const Tensor& rows_b) { return group.all_gather(rows_b).flatten(0, 1); }, own,
                  batch);
}

}  // namespace cots
