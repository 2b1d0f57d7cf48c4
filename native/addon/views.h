// makeViews: decoded images to the views that the networks take, on a thread beside the training
// step.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value make_views(const Napi::CallbackInfo& info);
Napi::Value make_jpeg_views(const Napi::CallbackInfo& info);
Napi::Value jpeg_header(const Napi::CallbackInfo& info);

}  // namespace cots::addon
