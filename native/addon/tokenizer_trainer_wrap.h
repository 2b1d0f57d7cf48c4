// NativeTokenizerTrainer: training of the discrete VAE on a thread of its own.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "train/tokenizer_trainer.h"

namespace cots::addon {

class TokenizerTrainerWrap : public Napi::ObjectWrap<TokenizerTrainerWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit TokenizerTrainerWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value evaluate(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Handle<TokenizerTrainer> handle_;
  bool busy_ = false;  // a step has not settled
};

Napi::Value create_tokenizer_trainer(const Napi::CallbackInfo& info);

}  // namespace cots::addon
