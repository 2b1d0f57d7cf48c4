// NativeTokenizer: the frozen image tokenizer by itself.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "model/image_tokenizer.h"

namespace cots::addon {

class TokenizerWrap : public Napi::ObjectWrap<TokenizerWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit TokenizerWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value tokens(const Napi::CallbackInfo& info);
  Napi::Value reconstruct(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Handle<ImageTokenizer> handle_;
};

Napi::Value load_tokenizer(const Napi::CallbackInfo& info);

/// uint8 [count, size, size, 3] of the option `images`.
at::Tensor square_images(const Napi::Object& options);

}  // namespace cots::addon
