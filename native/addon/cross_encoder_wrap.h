// timeCrossEncoder(): what a pair costs a single-stream model, for `bench retrieval`.
#pragma once

#include <napi.h>

namespace cots::addon {

/// Resolves to the seconds of each of `calls` calls of `pairs` pairs of `tokens` tokens, after one
/// to warm up.
Napi::Value time_cross_encoder(const Napi::CallbackInfo& call);

}  // namespace cots::addon
