#include "addon/checkpoint_wrap.h"

#include "addon/addon.h"
#include "addon/convert.h"
#include "io/memory.h"

namespace cots::addon {

Napi::Value wrap_checkpoint(Napi::Env env, std::shared_ptr<Capture> part) {
  Addon* const addon = env.GetInstanceData<Addon>();
  return make_wrap(env, addon->checkpoint_class,
                   Handle<Capture>(std::move(part), addon->file_worker(env), 0, false));
}

Napi::FunctionReference CheckpointWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeCheckpoint", {InstanceMethod("write", &CheckpointWrap::write)}));
}

CheckpointWrap::CheckpointWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<CheckpointWrap>(info), handle_(take_handle<Capture>(info)) {}

/// Its memory is free when this has settled: a second call rejects ERR_COTS_DISPOSED.
Napi::Value CheckpointWrap::write(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    // The only reference left: the part is freed on the file thread.
    auto part = std::make_shared<std::shared_ptr<Capture>>(handle_.state());
    Work work = [part, directory = text(options_of(info), "directory")]() -> Settle {
      (*part)->write(directory);
      part->reset();
      io::release_freed_blocks();
      return [](Napi::Env env) { return env.Undefined(); };
    };
    const Napi::Value promise = handle_.post(info.Env(), Value(), std::move(work));
    handle_.let_go();
    return promise;
  });
}

}  // namespace cots::addon
