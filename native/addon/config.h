// Config objects of lib/binding.ts to structs and back. Always complete: no defaults here
// (DESIGN 2.5).
#pragma once

#include <napi.h>

#include "model/config.h"
#include "model/image_tokenizer.h"
#include "train/config.h"
#include "train/tokenizer_trainer.h"

namespace cots::addon {

ModelConfig read_model_config(const Napi::Object& o);
TokenizerConfig read_tokenizer_config(const Napi::Object& o);
TrainConfig read_train_config(const Napi::Object& o);
TokenizerTrainConfig read_tokenizer_train_config(const Napi::Object& o);

Napi::Object write_model_config(Napi::Env env, const ModelConfig& config);
Napi::Object write_train_config(Napi::Env env, const TrainConfig& config);

}  // namespace cots::addon
