#include "addon/model_wrap.h"

#include <ATen/ATen.h>

#include "addon/addon.h"
#include "addon/config.h"
#include "addon/convert.h"

namespace cots::addon {
namespace {

using at::Tensor;

Precision precision_of(const Napi::Object& o) {
  return one_of<Precision>(o, "precision",
                           {{"float32", Precision::kFloat32},
                            {"bfloat16", Precision::kBfloat16},
                            {"int8", Precision::kInt8}});
}

/// Makes the embedder on the device worker and resolves to a NativeModel.
template <typename Make>
Napi::Value post_creation(Napi::Env env, const Napi::Object& o, Make make) {
  const int threads = static_cast<int>(count(o, "threads"));
  const Precision precision = precision_of(o);
  const Placement placement{device_of(o),
                            precision == Precision::kBfloat16 ? at::kBFloat16 : at::kFloat};
  if (!placement.device.is_cpu() && precision == Precision::kInt8)
    throw Failure("ERR_COTS_NOT_IMPLEMENTED", "Expected float32 or bfloat16 on a GPU, got int8.");
  JobOptions options;
  options.threads = threads;
  Work work = [make, threads, placement]() -> Settle {
    std::shared_ptr<Embedder> embedder = make();
    embedder->place(placement);
    return [embedder, threads](Napi::Env env) { return wrap_model(env, embedder, threads); };
  };
  return env.GetInstanceData<Addon>()->device_worker(env)->post(env, std::move(work), options);
}

struct ImageBatch {
  Tensor pixels_BSS3;
  double mean[3], std[3];
};

ImageBatch read_images(const Napi::Object& o, const ModelConfig& config) {
  const int64_t rows = count(o, "count"), size = config.image.size;
  ImageBatch batch{bytes(o, "pixels", {rows, size, size, 3}), {}, {}};
  numbers3(o, "mean", batch.mean);
  numbers3(o, "std", batch.std);
  return batch;
}

struct TextBatch {
  Tensor ids_BL, lengths_B;
};

TextBatch read_texts(const Napi::Object& o, const ModelConfig& config) {
  const int64_t rows = length(o, "lengths"), all = length(o, "ids"),
                columns = rows == 0 ? 0 : all / rows;
  TextBatch batch{long_integers(o, "ids", {rows, columns}), long_integers(o, "lengths", {rows})};
  if (rows == 0) return batch;
  const auto [shortest, longest] = batch.lengths_B.aminmax();
  const auto [lowest, highest] = batch.ids_BL.aminmax();
  TORCH_CHECK(shortest.item<int64_t>() >= 1 && longest.item<int64_t>() <= columns,
              "Expected lengths from 1 to ", columns, ", got ", shortest.item<int64_t>(), " to ",
              longest.item<int64_t>(), ".");
  TORCH_CHECK(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < config.text.vocab_size,
              "Expected token ids from 0 to ", config.text.vocab_size - 1, ", got ",
              lowest.item<int64_t>(), " to ", highest.item<int64_t>(), ".");
  return batch;
}

Settle to_rows(const Tensor& embeddings_BD) {
  return [embeddings_BD](Napi::Env env) { return to_float32_array(env, embeddings_BD); };
}

}  // namespace

Napi::Value wrap_model(Napi::Env env, std::shared_ptr<Embedder> embedder, int threads) {
  Addon& addon = *env.GetInstanceData<Addon>();
  return make_wrap(env, addon.model_class,
                   Handle<Embedder>(std::move(embedder), addon.device_worker(env), threads, false));
}

Napi::Value create_model(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const ModelConfig config = read_model_config(object(o, "config"));
    return post_creation(info.Env(), o,
                         [config, seed = integer(o, "seed"), precision = precision_of(o)] {
                           return std::make_shared<Embedder>(config, seed, precision);
                         });
  });
}

Napi::Value load_model(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const ModelConfig config = read_model_config(object(o, "config"));
    return post_creation(info.Env(), o,
                         [config, file = text(o, "file"), precision = precision_of(o)] {
                           return Embedder::load(config, file, precision);
                         });
  });
}

Napi::FunctionReference ModelWrap::define(Napi::Env env) {
  return Napi::Persistent(
      DefineClass(env, "NativeModel",
                  {InstanceMethod("embedImages", &ModelWrap::embed_images),
                   InstanceMethod("embedTexts", &ModelWrap::embed_texts),
                   InstanceMethod("attentionMap", &ModelWrap::attention_map),
                   InstanceMethod("save", &ModelWrap::save),
                   InstanceMethod("parameterCounts", &ModelWrap::parameter_counts),
                   InstanceMethod("dispose", &ModelWrap::dispose)}));
}

ModelWrap::ModelWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ModelWrap>(info), handle_(take_handle<Embedder>(info)) {
  bytes_ = handle_.state()->weights().bytes();
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), bytes_);
}

void ModelWrap::Finalize(Napi::Env env) {
  Napi::MemoryManagement::AdjustExternalMemory(env, -std::exchange(bytes_, 0));
}

Napi::Value ModelWrap::embed_images(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const std::shared_ptr<Embedder> embedder = handle_.state();
    Work work = [embedder, batch = read_images(o, embedder->config())] {
      return to_rows(embedder->embed_images(batch.pixels_BSS3, batch.mean, batch.std));
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value ModelWrap::embed_texts(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const std::shared_ptr<Embedder> embedder = handle_.state();
    Work work = [embedder, batch = read_texts(o, embedder->config())] {
      return to_rows(embedder->embed_texts(batch.ids_BL, batch.lengths_B));
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value ModelWrap::attention_map(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const std::shared_ptr<Embedder> embedder = handle_.state();
    const MapOptions options{one_of<MapMethod>(o, "method",
                                               {{"relevancy", MapMethod::kRelevancy},
                                                {"patch_sim", MapMethod::kPatchSimilarity},
                                                {"dino", MapMethod::kLastAttention}}),
                             integer(o, "startLayer")};
    Work work = [embedder, options, batch = read_images(o, embedder->config()),
                 text = floats(o, "text", {embedder->embedding_width(true)})]() -> Settle {
      const AttentionMap found =
          embedder->attention_map(batch.pixels_BSS3, batch.mean, batch.std, text, options);
      return [found](Napi::Env env) {
        Napi::Object result = Napi::Object::New(env);
        result.Set("map", to_float32_array(env, found.map_P));
        result.Set("score", found.score);
        return result;
      };
    };
    return handle_.post(info.Env(), Value(), std::move(work), cancel_of(o));
  });
}

Napi::Value ModelWrap::save(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    Work work = [embedder = handle_.state(), file = text(options_of(info), "file")]() -> Settle {
      embedder->save(file);
      return [](Napi::Env env) { return env.Undefined(); };
    };
    return handle_.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value ModelWrap::parameter_counts(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const std::shared_ptr<Embedder> embedder = handle_.state();
    Napi::Object counts = Napi::Object::New(info.Env());
    counts.Set("image", static_cast<double>(embedder->weights().count("visual.")));
    counts.Set("text", static_cast<double>(embedder->weights().count("text.")));
    return counts;
  });
}

Napi::Value ModelWrap::dispose(const Napi::CallbackInfo& info) {
  handle_.dispose();
  Finalize(info.Env());
  return info.Env().Undefined();
}

}  // namespace cots::addon
