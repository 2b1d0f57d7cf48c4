#include "addon/ops_wrap.h"

#include <ATen/ATen.h>

#include <cmath>

#include "addon/addon.h"
#include "addon/cancel_wrap.h"
#include "addon/convert.h"
#include "io/failure.h"
#include "ops/momentum_filter.h"
#include "ops/queue_contrast.h"
#include "ops/resize.h"
#include "ops/top_k.h"
#include "search/ranks.h"

namespace cots::addon {
namespace {

using at::Tensor;

/// Reads the options with `prepare`, which gives the work of a job on the device worker. Every op
/// takes a `cancel`: a NativeCancel, or null or nothing.
template <typename Prepare>
Napi::Value run_op(const Napi::CallbackInfo& info, Prepare prepare) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    Addon& addon = *env.GetInstanceData<Addon>();
    const Napi::Object o = options_of(info);
    JobOptions options;
    options.threads = addon.default_threads();
    options.cancel = cancel_of(o);
    return addon.device_worker(env)->post(env, prepare(o), options);
  });
}

void check_finite(const char* name, const Tensor& tensor) {
  const Tensor finite = at::isfinite(tensor);
  if (finite.all().item<bool>()) return;
  const int64_t index = finite.flatten().to(at::kByte).argmin().item<int64_t>();
  const float value = tensor.flatten()[index].item<float>();
  const char* const shown = std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  throw Failure("ERR_COTS_NON_FINITE", "Expected every value of `" + std::string(name) +
                                           "` to be finite, got " + shown + " at index " +
                                           std::to_string(index) + ".");
}

ops::ContrastInputs read_contrast(const Napi::Object& o) {
  const Tensor image = matrix(o, "image");
  return {image,
          matrix(o, "text"),
          matrix(o, "imageKey"),
          matrix(o, "textKey"),
          matrix(o, "imageQueue"),
          matrix(o, "textQueue"),
          floats(o, "weights", {image.size(0)}),
          at::scalar_tensor(-std::log(number(o, "temperature")), at::kFloat),
          {},
          {}};
}

/// The normalizer comes with the weights, once they are known to be finite.
ops::ContrastOptions read_contrast_options(const Napi::Object& o) {
  return {.normalizer = 1,
          .instance_weight = number(o, "instanceWeight"),
          .task_weight = number(o, "taskWeight"),
          .include_positive = boolean(o, "includePositive"),
          .stopgrad_target = false};
}

void check_contrast(const ops::ContrastInputs& in) {
  const std::pair<const char*, const Tensor*> tensors[] = {{"image", &in.image_BD},
                                                           {"text", &in.text_BD},
                                                           {"imageKey", &in.image_key_BD},
                                                           {"textKey", &in.text_key_BD},
                                                           {"imageQueue", &in.image_queue_nD},
                                                           {"textQueue", &in.text_queue_nD},
                                                           {"weights", &in.weights_B}};
  for (const auto& [name, tensor] : tensors) check_finite(name, *tensor);
}

/// Where an op runs is where its tensors are.
ops::ContrastInputs on_device(const ops::ContrastInputs& in, at::Device device) {
  return {in.image_BD.to(device),
          in.text_BD.to(device),
          in.image_key_BD.to(device),
          in.text_key_BD.to(device),
          in.image_queue_nD.to(device),
          in.text_queue_nD.to(device),
          in.weights_B.to(device),
          in.log_scale.to(device),
          {},
          {}};
}

Settle run_contrast(const ops::ContrastInputs& in, ops::ContrastOptions options,
                    at::Device device) {
  check_contrast(in);
  options.normalizer = std::max(in.weights_B.sum(at::kDouble).item<double>(), 1.0);
  const auto [losses, grad_image_BD, grad_text_BD, grad_scale] =
      ops::queue_contrast(on_device(in, device), options);
  const Tensor values = losses.to(at::kCPU, at::kDouble).contiguous(),
               grad_image = grad_image_BD.cpu(), grad_text = grad_text_BD.cpu();
  const double grad_log_scale = grad_scale.item<double>();
  return [values, grad_image, grad_text, grad_log_scale](Napi::Env env) -> Napi::Value {
    const double* loss = values.const_data_ptr<double>();
    Napi::Object result = Napi::Object::New(env);
    result.Set("loss", loss[0]);
    result.Set("imageToText", loss[1]);
    result.Set("textToImage", loss[2]);
    result.Set("task", loss[3]);
    result.Set("gradImage", to_matrix(env, grad_image));
    result.Set("gradText", to_matrix(env, grad_text));
    result.Set("gradLogScale", grad_log_scale);
    return result;
  };
}

Napi::Object to_ranks(Napi::Env env, const DirectionRanks& ranks) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("pessimistic", to_int32_array(env, ranks.pessimistic));
  result.Set("optimistic", to_int32_array(env, ranks.optimistic));
  return result;
}

}  // namespace

Napi::Value queue_contrast(const Napi::CallbackInfo& info) {
  return run_op(info, [](const Napi::Object& o) -> Work {
    return [inputs = read_contrast(o), options = read_contrast_options(o), device = device_of(o)] {
      return run_contrast(inputs, options, device);
    };
  });
}

Napi::Value momentum_filter(const Napi::CallbackInfo& info) {
  return run_op(info, [](const Napi::Object& o) -> Work {
    return [scores = floats(o, "scores", {length(o, "scores")}),
            queue = floats(o, "queueScores", {length(o, "queueScores")}),
            deviations = number(o, "deviations"), device = device_of(o)]() -> Settle {
      check_finite("scores", scores);
      check_finite("queueScores", queue);
      const auto [stats, keep] =
          ops::momentum_filter(scores.to(device), queue.to(device), deviations);
      return [stats = stats.cpu().contiguous(), keep = keep.cpu()](Napi::Env env) -> Napi::Value {
        const double* values = stats.const_data_ptr<double>();
        Napi::Object result = Napi::Object::New(env);
        result.Set("mean", values[0]);
        result.Set("std", values[1]);
        result.Set("threshold", values[2]);
        result.Set("keep", to_uint8_array(env, keep));
        return result;
      };
    };
  });
}

Settle settle_top_k(const std::tuple<Tensor, Tensor>& found) {
  return [found](Napi::Env env) -> Napi::Value {
    const auto& [scores, indices] = found;
    Napi::Object result = to_matrix(env, scores);
    result.Set("scores", result.Get("data"));
    result.Delete("data");
    result.Set("indices", to_uint32_array(env, indices));
    return result;
  };
}

Napi::Value top_k(const Napi::CallbackInfo& info) {
  return run_op(info, [](const Napi::Object& o) -> Work {
    return [queries = matrix(o, "queries"), gallery = matrix(o, "gallery"), k = count(o, "k", 1),
            device = device_of(o)]() -> Settle {
      check_finite("queries", queries);
      check_finite("gallery", gallery);
      const auto [scores, indices] = ops::top_k(queries.to(device), gallery.to(device), k);
      return settle_top_k({scores.cpu(), indices.cpu()});
    };
  });
}

Napi::Value resize(const Napi::CallbackInfo& info) {
  return run_op(info, [](const Napi::Object& o) -> Work {
    const int64_t width = count(o, "width", 1), height = count(o, "height", 1);
    const Napi::Value to = o.Get("to");
    if (!to.IsArray() || to.As<Napi::Array>().Length() != 2)
      throw Failure("ERR_COTS_OPTION", "Expected \"to\" to be [width, height].");
    Napi::Object sides = Napi::Object::New(o.Env());
    sides.Set("to[0]", to.As<Napi::Array>().Get(0u));
    sides.Set("to[1]", to.As<Napi::Array>().Get(1u));
    return [image = bytes(o, "data", {height, width, 3}), to_width = count(sides, "to[0]", 1),
            to_height = count(sides, "to[1]", 1), filter = text(o, "filter")]() -> Settle {
      const Tensor resized = ops::resize(image, to_width, to_height, filter);
      return [resized](Napi::Env env) { return to_uint8_array(env, resized); };
    };
  });
}

Napi::Value retrieval_ranks(const Napi::CallbackInfo& info) {
  return run_op(info, [](const Napi::Object& o) -> Work {
    const Tensor texts = matrix(o, "texts");
    return [images = matrix(o, "images"), texts,
            image_of_text = integers(o, "imageOfText", {texts.size(0)})]() -> Settle {
      check_finite("images", images);
      check_finite("texts", texts);
      const Ranks ranks = cots::retrieval_ranks(images, texts, image_of_text);
      return [ranks](Napi::Env env) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result.Set("imageToText", to_ranks(env, ranks.image_to_text));
        result.Set("textToImage", to_ranks(env, ranks.text_to_image));
        return result;
      };
    };
  });
}

}  // namespace cots::addon
