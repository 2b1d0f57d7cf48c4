// ops.*, retrieval ranks: kernels by themselves, on typed arrays.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

#include <tuple>

#include "addon/job.h"

namespace cots::addon {

Napi::Value queue_contrast(const Napi::CallbackInfo& info);
Napi::Value momentum_filter(const Napi::CallbackInfo& info);
Napi::Value top_k(const Napi::CallbackInfo& info);
Napi::Value resize(const Napi::CallbackInfo& info);
Napi::Value retrieval_ranks(const Napi::CallbackInfo& info);

/// (scores, indices) of top_k as { indices, scores, shape }.
Settle settle_top_k(const std::tuple<at::Tensor, at::Tensor>& found);

}  // namespace cots::addon
