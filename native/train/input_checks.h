// What a trainer is given, before anything is done with it.
#pragma once

#include "train/batch.h"
#include "train/config.h"

namespace cots {

/// Throws ERR_COTS_CONFIG for settings that do not go together. `world`: ranks.
void check_config(const TrainConfig& config, bool has_tokenizer, int64_t world);

/// Throws unless the batch has the shapes, types and ranges that the config asks for.
void check_batch(const TrainConfig& config, const Batch& batch);

}  // namespace cots
