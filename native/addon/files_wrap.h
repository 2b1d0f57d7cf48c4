// Weights files: Hugging Face's in and out, and a look at a file's table of contents.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value import_hugging_face(const Napi::CallbackInfo& info);
Napi::Value export_hugging_face(const Napi::CallbackInfo& info);
Napi::Value read_safetensors_header(const Napi::CallbackInfo& info);

}  // namespace cots::addon
