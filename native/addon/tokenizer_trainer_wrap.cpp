#include "addon/tokenizer_trainer_wrap.h"

#include "addon/addon.h"
#include "addon/config.h"
#include "addon/convert.h"
#include "addon/tokenizer_wrap.h"

namespace cots::addon {
namespace {

Napi::Object write_metrics(Napi::Env env, const TokenizerMetrics& m) {
  Napi::Object o = Napi::Object::New(env);
  const std::pair<const char*, double> numbers[] = {{"step", m.step},
                                                    {"loss", m.loss},
                                                    {"reconstruction", m.reconstruction},
                                                    {"kl", m.kl},
                                                    {"temperature", m.temperature},
                                                    {"lr", m.lr},
                                                    {"gradNorm", m.grad_norm},
                                                    {"perplexity", m.perplexity},
                                                    {"deadCodes", m.dead_codes},
                                                    {"unigramEntropy", m.unigram_entropy}};
  for (const auto& [key, value] : numbers) o.Set(key, value);
  o.Set("skipped", m.skipped);
  return o;
}

}  // namespace

Napi::Value create_tokenizer_trainer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&] {
    const Napi::Object o = options_of(info);
    const TokenizerTrainConfig config = read_tokenizer_train_config(object(o, "config"));
    const std::shared_ptr<Worker> worker =
        env.GetInstanceData<Addon>()->create_worker(env, "cots-dvae");
    JobOptions options;
    options.threads = static_cast<int>(count(o, "threads"));
    Work work = [config, owner = std::weak_ptr(worker), threads = options.threads]() -> Settle {
      auto trainer = std::make_shared<TokenizerTrainer>(config);
      return [trainer, owner, threads](Napi::Env env) {
        return make_wrap(env, env.GetInstanceData<Addon>()->tokenizer_trainer_class,
                         Handle<TokenizerTrainer>(trainer, owner.lock(), threads, true));
      };
    };
    return worker->post(env, std::move(work), options);
  });
}

Napi::FunctionReference TokenizerTrainerWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeTokenizerTrainer",
                                      {InstanceMethod("step", &TokenizerTrainerWrap::step),
                                       InstanceMethod("evaluate", &TokenizerTrainerWrap::evaluate),
                                       InstanceMethod("save", &TokenizerTrainerWrap::save),
                                       InstanceMethod("dispose", &TokenizerTrainerWrap::dispose)}));
}

TokenizerTrainerWrap::TokenizerTrainerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TokenizerTrainerWrap>(info), handle_(take_handle<TokenizerTrainer>(info)) {}

Napi::Value TokenizerTrainerWrap::step(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const std::shared_ptr<TokenizerTrainer> trainer = handle_.state();
    if (busy_)
      throw Failure("ERR_COTS_BUSY",
                    "Expected the step before to have settled, got a second call during it. Await "
                    "each step.");
    const Napi::Object o = options_of(info);
    const at::Tensor images = square_images(o);
    Work work = [trainer, images,
                 samples = long_integers(o, "samples", {images.size(0)})]() -> Settle {
      return [metrics = trainer->step(images, samples)](Napi::Env env) {
        return write_metrics(env, metrics);
      };
    };
    const Napi::Value promise =
        handle_.post(info.Env(), Value(), std::move(work), cancel_of(o), [this] { busy_ = false; });
    busy_ = true;
    return promise;
  });
}

Napi::Value TokenizerTrainerWrap::evaluate(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    Work work = [trainer = handle_.state(), images = square_images(options_of(info))]() -> Settle {
      return [errors = trainer->evaluate(images)](Napi::Env env) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("hard", errors.first);
        result.Set("soft", errors.second);
        return result;
      };
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value TokenizerTrainerWrap::save(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    Work work = [trainer = handle_.state(), file = text(options_of(info), "file")]() -> Settle {
      trainer->save(file);
      return [](Napi::Env env) { return env.Undefined(); };
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value TokenizerTrainerWrap::dispose(const Napi::CallbackInfo& info) {
  handle_.dispose();
  return info.Env().Undefined();
}

}  // namespace cots::addon
