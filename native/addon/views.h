// Images to pixels and to the views that the networks take, on threads beside the training step.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value make_views(const Napi::CallbackInfo& info);
Napi::Value prepare_views(const Napi::CallbackInfo& info);
Napi::Value prepare_jpeg_views(const Napi::CallbackInfo& info);
Napi::Value decode_jpeg(const Napi::CallbackInfo& info);
Napi::Value jpeg_header(const Napi::CallbackInfo& info);

}  // namespace cots::addon
