// NativeGallery: vectors on disk, searched where they lie.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "search/gallery.h"

namespace cots::addon {

class GalleryWrap : public Napi::ObjectWrap<GalleryWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit GalleryWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value top_k(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Handle<Gallery> handle_;
};

Napi::Value open_gallery(const Napi::CallbackInfo& info);

}  // namespace cots::addon
