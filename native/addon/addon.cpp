// The export list of cots.node, in the order of lib/binding.ts.
#include "addon/addon.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <thread>

#include "addon/cancel_wrap.h"
#include "addon/checkpoint_wrap.h"
#include "addon/convert.h"
#include "addon/cross_encoder_wrap.h"
#include "addon/files_wrap.h"
#include "addon/gallery_wrap.h"
#include "addon/info.h"
#include "addon/model_wrap.h"
#include "addon/ops_wrap.h"
#include "addon/ranks_wrap.h"
#include "addon/tokenizer_trainer_wrap.h"
#include "addon/tokenizer_wrap.h"
#include "addon/trainer_wrap.h"
#include "addon/views.h"
#include "io/memory.h"

namespace cots::addon {

Addon::Addon(Napi::Env env, Napi::Object exports) {
  io::keep_freed_blocks();
  default_threads_ = at::get_num_threads();
  cancel_class = CancelWrap::define(env);
  checkpoint_class = CheckpointWrap::define(env);
  gallery_class = GalleryWrap::define(env);
  model_class = ModelWrap::define(env);
  ranks_class = RanksWrap::define(env);
  trainer_class = TrainerWrap::define(env);
  tokenizer_class = TokenizerWrap::define(env);
  tokenizer_trainer_class = TokenizerTrainerWrap::define(env);
  DefineAddon(exports, {InstanceMethod("initialize", &Addon::initialize)});
  stop_threads_at_exit(env);

  const auto entry = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  entry("info", info);
  entry("measureProduct", measure_product);
  entry("timeCrossEncoder", time_cross_encoder);
  entry("createCancel", create_cancel);
  entry("queueContrast", queue_contrast);
  entry("momentumFilter", momentum_filter);
  entry("topK", top_k);
  entry("resize", resize);
  entry("retrievalRanks", retrieval_ranks);
  entry("openGallery", open_gallery);
  entry("makeViews", make_views);
  entry("prepareViews", prepare_views);
  entry("prepareJpegViews", prepare_jpeg_views);
  entry("jpegHeader", jpeg_header);
  entry("decodeJpeg", decode_jpeg);
  entry("createModel", create_model);
  entry("loadModel", load_model);
  entry("importHuggingFace", import_hugging_face);
  entry("exportHuggingFace", export_hugging_face);
  entry("joinRanks", join_ranks);
  entry("createTrainer", create_trainer);
  entry("createTokenizerTrainer", create_tokenizer_trainer);
  entry("loadTokenizer", load_tokenizer);
  entry("readSafetensorsHeader", read_safetensors_header);
}

Napi::Value Addon::initialize(const Napi::CallbackInfo& info) {
  const Napi::Value error = options_of(info).Get("CotsError");
  if (!error.IsFunction())
    throw Napi::TypeError::New(info.Env(), "Expected CotsError to be a class.");
  error_class = Napi::Persistent(error.As<Napi::Function>());
  return info.Env().Undefined();
}

std::shared_ptr<Worker> Addon::create_worker(Napi::Env env, const char* name) {
  std::erase_if(workers_, [](const auto& weak) { return weak.expired(); });
  const std::shared_ptr<Worker> worker = Worker::create(env, name);
  workers_.push_back(worker);
  return worker;
}

const std::shared_ptr<Worker>& Addon::device_worker(Napi::Env env) {
  if (!device_worker_) device_worker_ = create_worker(env, "cots-device");
  return device_worker_;
}

const std::shared_ptr<Worker>& Addon::transform_worker(Napi::Env env) {
  const auto idlest = std::min_element(
      transform_workers_.begin(), transform_workers_.end(),
      [](const auto& one, const auto& other) { return one->pending() < other->pending(); });
  const bool all_busy = idlest == transform_workers_.end() || (*idlest)->pending() > 0;
  const size_t most = std::max(1u, std::thread::hardware_concurrency());
  if (!all_busy || transform_workers_.size() >= most) return *idlest;
  return transform_workers_.emplace_back(create_worker(env, "cots-views"));
}

const std::shared_ptr<Worker>& Addon::file_worker(Napi::Env env) {
  if (!file_worker_) file_worker_ = create_worker(env, "cots-files");
  return file_worker_;
}

void Addon::stop_threads_at_exit(Napi::Env env) {
  const auto stop = [this](const Napi::CallbackInfo&) {
    for (const auto& weak : workers_)
      if (const auto worker = weak.lock()) worker->stop_thread();
  };
  const Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  process.Get("on").As<Napi::Function>().Call(
      process, {Napi::String::New(env, "exit"), Napi::Function::New(env, stop)});
}

NODE_API_ADDON(Addon)

}  // namespace cots::addon
