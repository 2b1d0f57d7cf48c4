// NativeModel: towers for embedding.
#pragma once

#include <napi.h>

#include "addon/handle.h"
#include "infer/embedder.h"

namespace cots::addon {

class ModelWrap : public Napi::ObjectWrap<ModelWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit ModelWrap(const Napi::CallbackInfo& info);
  void Finalize(Napi::Env env) override;

 private:
  Napi::Value embed_images(const Napi::CallbackInfo& info);
  Napi::Value embed_texts(const Napi::CallbackInfo& info);
  Napi::Value attention_map(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value parameter_counts(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  Handle<Embedder> handle_;
  int64_t bytes_ = 0;  // told to the garbage collector
};

Napi::Value create_model(const Napi::CallbackInfo& info);
Napi::Value load_model(const Napi::CallbackInfo& info);

/// A NativeModel around an embedder, on the environment's device worker.
Napi::Value wrap_model(Napi::Env env, std::shared_ptr<Embedder> embedder, int threads);

}  // namespace cots::addon
