// Steps of several ranks beside those of one over the whole batch.
#pragma once

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tiny-ranks.h"
#include "tiny-trainer.h"

namespace tiny {

/// A rank's pairs of a whole batch.
using Share = std::function<cots::Batch(const cots::Batch& whole, const cots::Group& group)>;

inline cots::Batch rows_of(const cots::Batch& whole, const Tensor& rows) {
  cots::Batch own;
  for (const auto field :
       {&cots::Batch::image_NSS3, &cots::Batch::token_view_NVV3, &cots::Batch::ids_BL,
        &cots::Batch::lengths_B, &cots::Batch::sample_B, &cots::Batch::image_id_B})
    own.*field = (whole.*field).index_select(0, rows);
  return own;
}

/// All but the norm of the gradients.
inline void check_same_step(const cots::StepMetrics& a, const cots::StepMetrics& b,
                            double tolerance) {
  CHECK(a.pairs == b.pairs);
  CHECK(a.filter_kept == b.filter_kept);
  CHECK(a.kept == b.kept);
  CHECK(a.queue_valid == b.queue_valid);
  for (const auto field : {&cots::StepMetrics::loss, &cots::StepMetrics::loss_image_to_text,
                           &cots::StepMetrics::loss_text_to_image, &cots::StepMetrics::loss_task,
                           &cots::StepMetrics::loss_cmvm, &cots::StepMetrics::loss_cmlm,
                           &cots::StepMetrics::filter_threshold})
    CHECK(std::abs(a.*field - b.*field) < tolerance);
}

/// One rank's parameter is `broken` after `steps` steps: the next is skipped on both.
inline void check_skips_on_all(const cots::TrainConfig& config, const Share& share, int64_t steps,
                               const char* parameter, float broken) {
  on_ranks(2, [&](const cots::Group& group) {
    cots::Trainer trainer(config, tokenizer(), group);
    for (int64_t step = 0; step < steps; ++step) trainer.step(share(batch_of_run(step), group));
    const Tensor before = trainer.model().parameters().flat().detach().clone();
    if (group.rank() == 1)
      trainer.model().parameters().find(parameter)->value.detach().fill_(broken);
    const cots::StepMetrics m = trainer.step(share(batch_of_run(steps), group));
    CHECK(m.skipped);
    CHECK(m.non_finite_in_row == 1);
    if (group.rank() == 0) CHECK(at::equal(trainer.model().parameters().flat(), before));
  });
}

}  // namespace tiny
