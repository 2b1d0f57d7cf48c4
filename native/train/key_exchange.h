// Every rank gets the keys of the whole batch, so that the queues are the same on all (SPEC 3.5).
#pragma once

#include "train/batch.h"
#include "train/distributed.h"
#include "train/key_pass.h"

namespace cots {

/// The step's keys of all ranks, in the order of the global sample index. Legend: G pairs of all
/// ranks, B those of this one.
struct StepKeys {
  Keys all;           // [G]
  Tensor image_id_G;  // int64
  Tensor own_B;       // int64, rows of this rank's pairs in `all`; undefined alone: all of them
};

StepKeys exchange_keys(const Group& group, const Keys& own, const Batch& batch);
/// The same of ranks with as many pairs each: asks for no value on the host.
StepKeys exchange_equal_keys(const Group& group, const Keys& own, const Batch& batch);

}  // namespace cots
