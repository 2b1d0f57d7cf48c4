#include "addon/gallery_wrap.h"

#include "addon/addon.h"
#include "addon/convert.h"
#include "addon/ops_wrap.h"

namespace cots::addon {
namespace {

GalleryFile read_source(const Napi::Object& o) {
  return {.file = text(o, "file"),
          .offset = integer(o, "offset"),
          .rows = integer(o, "rows"),
          .dimension = count(o, "dimension", 1),
          .type = one_of<at::ScalarType>(o, "dtype",
                                         {{"float32", at::kFloat}, {"float16", at::kHalf}})};
}

}  // namespace

Napi::Value open_gallery(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&] {
    const Napi::Object o = options_of(info);
    const std::shared_ptr<Worker> worker = env.GetInstanceData<Addon>()->device_worker(env);
    JobOptions options;
    options.threads = static_cast<int>(count(o, "threads"));
    Work work = [source = read_source(o), owner = std::weak_ptr(worker),
                 threads = options.threads]() -> Settle {
      const auto gallery = std::make_shared<Gallery>(source);
      return [gallery, owner, threads](Napi::Env env) {
        return make_wrap(env, env.GetInstanceData<Addon>()->gallery_class,
                         Handle<Gallery>(gallery, owner.lock(), threads, false));
      };
    };
    return worker->post(env, std::move(work), options);
  });
}

Napi::FunctionReference GalleryWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeGallery",
                                      {InstanceMethod("topK", &GalleryWrap::top_k),
                                       InstanceMethod("dispose", &GalleryWrap::dispose)}));
}

GalleryWrap::GalleryWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<GalleryWrap>(info), handle_(take_handle<Gallery>(info)) {}

Napi::Value GalleryWrap::top_k(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    Work work = [gallery = handle_.state(), queries = matrix(o, "queries"),
                 k = count(o, "k", 1)]() -> Settle {
      return settle_top_k(gallery->top_k(queries, k));
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value GalleryWrap::dispose(const Napi::CallbackInfo& info) {
  handle_.dispose();
  return info.Env().Undefined();
}

}  // namespace cots::addon
