#include "addon/tokenizer_wrap.h"

#include "addon/addon.h"
#include "addon/config.h"
#include "addon/convert.h"
#include "infer/image_tokens.h"

namespace cots::addon {

at::Tensor square_images(const Napi::Object& options) {
  const int64_t images = count(options, "count", 1), size = count(options, "size", 1);
  return bytes(options, "images", {images, size, size, 3});
}

Napi::Value load_tokenizer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&] {
    const Napi::Object o = options_of(info);
    const TokenizerConfig config = read_tokenizer_config(object(o, "config"));
    const std::string file = is_null(o, "file") ? "" : text(o, "file");
    const std::shared_ptr<Worker> worker = env.GetInstanceData<Addon>()->device_worker(env);
    JobOptions options;
    options.threads = static_cast<int>(count(o, "threads"));
    Work work = [config, file, owner = std::weak_ptr(worker),
                 threads = options.threads]() -> Settle {
      const std::shared_ptr<ImageTokenizer> tokenizer =
          load_image_tokenizer(config, file, /*with_decoder=*/true);
      return [tokenizer, owner, threads](Napi::Env env) {
        return make_wrap(env, env.GetInstanceData<Addon>()->tokenizer_class,
                         Handle<ImageTokenizer>(tokenizer, owner.lock(), threads, false));
      };
    };
    return worker->post(env, std::move(work), options);
  });
}

Napi::FunctionReference TokenizerWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeTokenizer",
                                      {InstanceMethod("tokens", &TokenizerWrap::tokens),
                                       InstanceMethod("reconstruct", &TokenizerWrap::reconstruct),
                                       InstanceMethod("dispose", &TokenizerWrap::dispose)}));
}

TokenizerWrap::TokenizerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TokenizerWrap>(info), handle_(take_handle<ImageTokenizer>(info)) {}

Napi::Value TokenizerWrap::tokens(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    Work work = [tokenizer = handle_.state(), images = square_images(o)]() -> Settle {
      const at::Tensor tokens = image_tokens(*tokenizer, images).to(at::kInt);
      return [tokens](Napi::Env env) { return to_int32_array(env, tokens); };
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value TokenizerWrap::reconstruct(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    Work work = [tokenizer = handle_.state(), images = square_images(o)]() -> Settle {
      const at::Tensor back = reconstruct_images(*tokenizer, images);
      return [back](Napi::Env env) { return to_uint8_array(env, back); };
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value TokenizerWrap::dispose(const Napi::CallbackInfo& info) {
  handle_.dispose();
  return info.Env().Undefined();
}

}  // namespace cots::addon
