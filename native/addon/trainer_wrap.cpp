#include "addon/trainer_wrap.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "addon/addon.h"
#include "addon/checkpoint_wrap.h"
#include "addon/config.h"
#include "addon/convert.h"
#include "addon/model_wrap.h"
#include "addon/ranks_wrap.h"
#include "infer/image_tokens.h"
#include "io/memory.h"

namespace cots::addon {
namespace {

using at::Tensor;

Settle nothing() {
  return [](Napi::Env env) { return env.Undefined(); };
}

Batch read_batch(const Napi::Object& o, const ModelConfig& model) {
  const int64_t B = count(o, "size", 1), S = model.image.size, P = model.image.patches(),
                V = 8 * model.image.grid();
  const int64_t L = length(o, "ids") / B;
  Batch batch;
  if (!is_null(o, "frames")) batch.frames_B = long_integers(o, "frames", {B});
  const int64_t N = total_frames(batch.frames_B, B);
  batch.image_NSS3 = bytes(o, "images", {N, S, S, 3});
  if (!is_null(o, "tokenViews")) batch.token_view_NVV3 = bytes(o, "tokenViews", {N, V, V, 3});
  batch.ids_BL = long_integers(o, "ids", {B, L});
  batch.lengths_B = long_integers(o, "lengths", {B});
  batch.sample_B = long_integers(o, "samples", {B});
  batch.image_id_B = long_integers(o, "imageIds", {B});
  if (is_null(o, "overrides")) return batch;
  const Napi::Object overrides = object(o, "overrides");
  batch.image_mask_NP = bytes(overrides, "imageMask", {N, P}).to(at::kBool);
  batch.masked_ids_BL = long_integers(overrides, "maskedIds", {B, L});
  batch.text_mask_BL = bytes(overrides, "textMask", {B, L}).to(at::kBool);
  return batch;
}

Napi::Object write_seconds(Napi::Env env, const StageSeconds& s) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("tokenise", s.tokenise);
  o.Set("cleanPass", s.clean_pass);
  o.Set("maskedPass", s.masked_pass);
  o.Set("momentum", s.momentum);
  o.Set("losses", s.losses);
  o.Set("backward", s.backward);
  o.Set("optimizer", s.optimizer);
  o.Set("exchange", s.exchange);
  return o;
}

Napi::Value write_stop(Napi::Env env, Stop stop) {
  if (stop == Stop::kNone) return env.Null();
  return Napi::String::New(env, stop == Stop::kCollapsed ? "collapsed" : "non_finite");
}

Napi::Object write_metrics(Napi::Env env, const StepMetrics& m) {
  Napi::Object o = Napi::Object::New(env);
  const std::pair<const char*, double> numbers[] = {{"step", m.step},
                                                    {"pairs", m.pairs},
                                                    {"loss", m.loss},
                                                    {"lossImageToText", m.loss_image_to_text},
                                                    {"lossTextToImage", m.loss_text_to_image},
                                                    {"lossTask", m.loss_task},
                                                    {"lossCmvm", m.loss_cmvm},
                                                    {"lossCmlm", m.loss_cmlm},
                                                    {"filterMean", m.filter_mean},
                                                    {"filterStd", m.filter_std},
                                                    {"filterThreshold", m.filter_threshold},
                                                    {"filterKept", m.filter_kept},
                                                    {"queueValid", m.queue_valid},
                                                    {"lr", m.lr},
                                                    {"temperature", m.temperature},
                                                    {"momentum", m.momentum},
                                                    {"gradNorm", m.grad_norm},
                                                    {"nonFiniteInRow", m.non_finite_in_row},
                                                    {"nonFiniteKeys", m.non_finite_keys},
                                                    {"collapsedSteps", m.collapsed_steps},
                                                    {"deviceBytes", m.device_bytes},
                                                    {"activationBytes", m.activation_bytes}};
  for (const auto& [key, value] : numbers) o.Set(key, value);
  o.Set("filterActive", m.filter_active);
  o.Set("skipped", m.skipped);
  o.Set("stop", write_stop(env, m.stop));
  Napi::Float32Array scores = Napi::Float32Array::New(env, m.scores.size());
  std::copy(m.scores.begin(), m.scores.end(), scores.Data());
  o.Set("scores", scores);
  Napi::Uint8Array kept = Napi::Uint8Array::New(env, m.kept.size());
  std::copy(m.kept.begin(), m.kept.end(), kept.Data());
  o.Set("kept", kept);
  o.Set("seconds", write_seconds(env, m.seconds));
  return o;
}

int64_t bytes_of(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  int64_t sum = 0;
  for (const auto& [name, tensor] : tensors) sum += tensor.nbytes();
  return sum;
}

TrainerBytes memory_of(Trainer& trainer) {
  const int64_t online = trainer.model().parameters().flat().nbytes();
  const int64_t moment = trainer.optimizer().own().count() * static_cast<int64_t>(sizeof(float));
  return {2 * online /* and gradients */, 2 * moment,
          static_cast<int64_t>(trainer.momentum().parameters().flat().nbytes()),
          bytes_of(trainer.queue().state())};
}

/// Copies the online or momentum towers into an embedder of their own.
std::shared_ptr<Embedder> snapshot_towers(Trainer& trainer, bool momentum) {
  auto embedder = std::make_shared<Embedder>(trainer.config().model, std::nullopt);
  const Parameters& source =
      momentum ? trainer.momentum().parameters() : trainer.model().parameters();
  const at::NoGradGuard no_grad;
  embedder->set_weights(source.flat().cpu());
  if (!trainer.config().placement.device.is_cpu()) embedder->place(trainer.config().placement);
  return embedder;
}

}  // namespace

Napi::Value create_trainer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&] {
    const Napi::Object o = options_of(info);
    const TrainConfig config = read_train_config(object(o, "config"));
    const int threads = static_cast<int>(count(o, "threads"));
    std::optional<TokenizerConfig> tokenizer;
    std::string file;
    if (!is_null(o, "tokenizer")) {
      const Napi::Object source = object(o, "tokenizer");
      tokenizer = read_tokenizer_config(object(source, "config"));
      if (!is_null(source, "file")) file = text(source, "file");
    }
    const std::shared_ptr<Worker> worker =
        env.GetInstanceData<Addon>()->create_worker(env, "cots-train");
    JobOptions options;
    options.threads = threads;
    Work work = [config, threads, tokenizer, file, group = step_group_of(o),
                 owner = std::weak_ptr(worker)]() -> Settle {
      std::shared_ptr<ImageTokenizer> image_tokenizer;
      if (tokenizer) {
        image_tokenizer = load_image_tokenizer(*tokenizer, file, /*with_decoder=*/false);
        image_tokenizer->place(config.placement);
      }
      auto trainer = std::make_shared<Trainer>(config, image_tokenizer, group);
      io::release_freed_blocks();  // initial values passed through as much memory again
      return [trainer, owner, threads](Napi::Env env) {
        return make_wrap(env, env.GetInstanceData<Addon>()->trainer_class,
                         Handle<Trainer>(trainer, owner.lock(), threads, true));
      };
    };
    return worker->post(env, std::move(work), options);
  });
}

Napi::FunctionReference TrainerWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(
      env, "NativeTrainer",
      {InstanceMethod("step", &TrainerWrap::step), InstanceMethod("prefill", &TrainerWrap::prefill),
       InstanceMethod("save", &TrainerWrap::save), InstanceMethod("capture", &TrainerWrap::capture),
       InstanceMethod("restore", &TrainerWrap::restore),
       InstanceMethod("initializeFrom", &TrainerWrap::initialize_from),
       InstanceMethod("snapshot", &TrainerWrap::snapshot),
       InstanceMethod("memory", &TrainerWrap::memory),
       InstanceMethod("dispose", &TrainerWrap::dispose)}));
}

TrainerWrap::TrainerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TrainerWrap>(info),
      handle_(take_handle<Trainer>(info)),
      bytes_(memory_of(*handle_.state())),
      told_bytes_(bytes_.total()) {
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), told_bytes_);
}

void TrainerWrap::Finalize(Napi::Env env) {
  Napi::MemoryManagement::AdjustExternalMemory(env, -std::exchange(told_bytes_, 0));
}

/// A job that no second one may wait behind: while it has not settled, another rejects
/// ERR_COTS_BUSY.
template <typename Run>
Napi::Value TrainerWrap::run_exclusive(const Napi::CallbackInfo& info, Run run) {
  return guard_promise(info.Env(), [&] {
    const std::shared_ptr<Trainer> trainer = handle_.state();
    if (busy_)
      throw Failure("ERR_COTS_BUSY",
                    "Expected the step before to have settled, got a second call during it. Await "
                    "each step.");
    const Napi::Object o = options_of(info);
    const ModelConfig& model = trainer->config().model;
    std::optional<Batch> next;
    if (o.Has("next") && !is_null(o, "next")) next = read_batch(object(o, "next"), model);
    Work work = [trainer, run, batch = read_batch(object(o, "batch"), model), next] {
      return run(*trainer, batch, next ? &*next : nullptr);
    };
    const Napi::Value promise =
        handle_.post(info.Env(), Value(), std::move(work), cancel_of(o), [this] { busy_ = false; });
    busy_ = true;
    return promise;
  });
}

template <typename Run>
Napi::Value TrainerWrap::run_on_path(const Napi::CallbackInfo& info, const char* key, Run run) {
  return guard_promise(info.Env(), [&] {
    Work work = [trainer = handle_.state(), path = text(options_of(info), key), run] {
      run(*trainer, path);
      return nothing();
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value TrainerWrap::step(const Napi::CallbackInfo& info) {
  return run_exclusive(info, [](Trainer& trainer, const Batch& batch, const Batch* next) -> Settle {
    return [metrics = trainer.step(batch, next)](Napi::Env env) {
      return write_metrics(env, metrics);
    };
  });
}

Napi::Value TrainerWrap::prefill(const Napi::CallbackInfo& info) {
  return run_exclusive(info, [](Trainer& trainer, const Batch& batch, const Batch*) {
    trainer.prefill(batch);
    return nothing();
  });
}

Napi::Value TrainerWrap::save(const Napi::CallbackInfo& info) {
  return run_on_path(info, "directory", [](Trainer& trainer, const std::string& directory) {
    trainer.save(directory);
  });
}

Napi::Value TrainerWrap::capture(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    Work work = [trainer = handle_.state()]() -> Settle {
      const std::shared_ptr<Capture> capture = trainer->capture();
      return [capture](Napi::Env env) { return wrap_checkpoint(env, capture); };
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value TrainerWrap::restore(const Napi::CallbackInfo& info) {
  return run_on_path(info, "directory", [](Trainer& trainer, const std::string& directory) {
    trainer.restore(directory);
  });
}

Napi::Value TrainerWrap::initialize_from(const Napi::CallbackInfo& info) {
  return run_on_path(info, "file", [](Trainer& trainer, const std::string& file) {
    trainer.initialize_from(file);
  });
}

Napi::Value TrainerWrap::snapshot(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    Work work = [trainer = handle_.state(), momentum = boolean(options_of(info), "momentum"),
                 threads = handle_.threads()]() -> Settle {
      const std::shared_ptr<Embedder> embedder = snapshot_towers(*trainer, momentum);
      return [embedder, threads](Napi::Env env) { return wrap_model(env, embedder, threads); };
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value TrainerWrap::memory(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    handle_.state();  // throws when disposed
    Napi::Object o = Napi::Object::New(info.Env());
    o.Set("weights", static_cast<double>(bytes_.weights));
    o.Set("optimizer", static_cast<double>(bytes_.optimizer));
    o.Set("momentum", static_cast<double>(bytes_.momentum));
    o.Set("queues", static_cast<double>(bytes_.queues));
    return o;
  });
}

Napi::Value TrainerWrap::dispose(const Napi::CallbackInfo& info) {
  handle_.dispose();
  Finalize(info.Env());
  return info.Env().Undefined();
}

}  // namespace cots::addon
