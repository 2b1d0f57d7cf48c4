// ops.*, retrieval ranks: kernels by themselves, on typed arrays.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value queue_contrast(const Napi::CallbackInfo& info);
Napi::Value momentum_filter(const Napi::CallbackInfo& info);
Napi::Value top_k(const Napi::CallbackInfo& info);
Napi::Value resize(const Napi::CallbackInfo& info);
Napi::Value retrieval_ranks(const Napi::CallbackInfo& info);

}  // namespace cots::addon
