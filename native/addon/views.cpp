#include "addon/views.h"

#include <ATen/ATen.h>

#include <vector>

#include "addon/addon.h"
#include "addon/convert.h"
#include "io/failure.h"
#include "io/pixels.h"
#include "ops/cancel.h"

namespace cots::addon {
namespace {

using at::Tensor;

struct Source {
  Tensor image_HWC;
  io::Transform transform;
};

/// A list of objects under `key`, each read by `read`.
template <typename Item, typename Read>
std::vector<Item> list(const Napi::Object& o, const char* key, Read read) {
  const Napi::Value value = o.Get(key);
  if (!value.IsArray())
    throw Failure("ERR_COTS_OPTION",
                  "Expected native option \"" + std::string(key) + "\" to be a list.");
  const Napi::Array items = value.As<Napi::Array>();
  std::vector<Item> result;
  for (uint32_t i = 0; i < items.Length(); ++i) {
    const Napi::HandleScope scope(o.Env());
    const Napi::Value item = items.Get(i);
    if (!item.IsObject())
      throw Failure("ERR_COTS_OPTION",
                    "Expected every item of \"" + std::string(key) + "\" to be an object.");
    result.push_back(read(item.As<Napi::Object>()));
  }
  return result;
}

io::Transform read_transform(const Napi::Object& o, int64_t width, int64_t height) {
  io::Transform t;
  t.left = count(o, "left");
  t.top = count(o, "top");
  t.width = count(o, "width", 1);
  t.height = count(o, "height", 1);
  if (t.left + t.width > width || t.top + t.height > height)
    throw Failure("ERR_COTS_OPTION",
                  "Expected the crop to lie inside the image, got one that ends at " +
                      std::to_string(t.left + t.width) + " x " + std::to_string(t.top + t.height) +
                      " of " + std::to_string(width) + " x " + std::to_string(height) + ".");
  t.flip = boolean(o, "flip");
  t.jitter = !is_null(o, "jitter");
  if (t.jitter) {
    const Napi::Object jitter = object(o, "jitter");
    const int64_t order = count(jitter, "order");
    if (order > 5)
      throw Failure("ERR_COTS_OPTION", "Expected the order of the jitter to be 0 to 5, got " +
                                           std::to_string(order) + ".");
    t.color = {number(jitter, "brightness"), number(jitter, "contrast"),
               number(jitter, "saturation"), static_cast<int>(order)};
  }
  return t;
}

Source read_source(const Napi::Object& o) {
  const int64_t width = count(o, "width", 1), height = count(o, "height", 1);
  return {bytes(o, "data", {height, width, 3}),
          read_transform(object(o, "transform"), width, height)};
}

io::View read_view(const Napi::Object& o) {
  return {count(o, "size", 1), text(o, "filter"), boolean(o, "jitter")};
}

Settle run(const std::vector<Source>& sources, const std::vector<io::View>& views) {
  std::vector<Tensor> packed;
  for (const io::View& view : views)
    packed.push_back(
        at::empty({static_cast<int64_t>(sources.size()), view.size, view.size, 3}, at::kByte));
  for (size_t i = 0; i < sources.size(); ++i) {
    ops::check_cancelled();
    const std::vector<Tensor> made =
        io::make_views(sources[i].image_HWC, sources[i].transform, views);
    for (size_t v = 0; v < views.size(); ++v)
      packed[v].select(0, static_cast<int64_t>(i)).copy_(made[v]);
  }
  return [packed](Napi::Env env) -> Napi::Value {
    Napi::Array result = Napi::Array::New(env, packed.size());
    for (uint32_t v = 0; v < packed.size(); ++v) result.Set(v, to_uint8_array(env, packed[v]));
    return result;
  };
}

}  // namespace

Napi::Value make_views(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(info);
    JobOptions options;
    options.threads = 1;  // the other cores belong to the training step
    Work work = [sources = list<Source>(o, "images", read_source),
                 views = list<io::View>(o, "views", read_view)] { return run(sources, views); };
    return env.GetInstanceData<Addon>()->transform_worker(env)->post(env, std::move(work), options);
  });
}

}  // namespace cots::addon
