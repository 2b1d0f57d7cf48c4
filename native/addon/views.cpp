#include "addon/views.h"

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "addon/addon.h"
#include "addon/convert.h"
#include "io/failure.h"
#include "io/jpeg.h"
#include "io/pixels.h"
#include "ops/cancel.h"

namespace cots::addon {
namespace {

using at::Tensor;

struct Source {
  Tensor image_HWC;
  io::Transform transform;
};

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
  io::View view{count(o, "size", 1), text(o, "filter"), boolean(o, "jitter")};
  if (is_null(o, "frame")) return view;
  const Napi::Object frame = object(o, "frame");
  view.width = count(frame, "width", view.size);
  view.height = count(frame, "height", view.size);
  return view;
}

Settle settle_views(std::vector<Tensor> views) {
  return [views = std::move(views)](Napi::Env env) -> Napi::Value {
    Napi::Array result = Napi::Array::New(env, views.size());
    for (uint32_t v = 0; v < views.size(); ++v) result.Set(v, to_uint8_array(env, views[v]));
    return result;
  };
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
  return settle_views(std::move(packed));
}

/// The views of one image, [1, size, size, 3] each, or null where the JPEG is sharp's to decode.
Settle run_jpeg(const Tensor& jpeg, const io::Transform& transform,
                const std::vector<io::View>& views) {
  const std::optional<Tensor> box_HWC =
      io::decode_jpeg(jpeg.const_data_ptr<uint8_t>(), jpeg.numel(),
                      {transform.left, transform.top, transform.width, transform.height});
  if (!box_HWC) return [](Napi::Env env) -> Napi::Value { return env.Null(); };
  ops::check_cancelled();
  return settle_views(io::make_box_views(*box_HWC, transform, views));
}

Napi::Promise post_transform(Napi::Env env, Work work) {
  JobOptions options;
  options.threads = 1;  // the other cores belong to the training step
  return env.GetInstanceData<Addon>()->transform_worker(env)->post(env, std::move(work), options);
}

}  // namespace

Napi::Value make_views(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(info);
    Work work = [sources = list<Source>(o, "images", read_source),
                 views = list<io::View>(o, "views", read_view)] { return run(sources, views); };
    return post_transform(env, std::move(work));
  });
}

Napi::Value make_jpeg_views(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(info);
    const int64_t width = count(o, "width", 1), height = count(o, "height", 1);
    Work work = [jpeg = bytes(o, "jpeg", {length(o, "jpeg")}),
                 transform = read_transform(object(o, "transform"), width, height),
                 views = list<io::View>(o, "views", read_view)] {
      return run_jpeg(jpeg, transform, views);
    };
    return post_transform(env, std::move(work));
  });
}

Napi::Value decode_jpeg(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(info);
    const io::Box whole{0, 0, count(o, "width", 1), count(o, "height", 1)};
    Work work = [jpeg = bytes(o, "jpeg", {length(o, "jpeg")}), whole]() -> Settle {
      const std::optional<Tensor> image_HWC =
          io::decode_jpeg(jpeg.const_data_ptr<uint8_t>(), jpeg.numel(), whole);
      return [image_HWC](Napi::Env env) -> Napi::Value {
        return image_HWC ? to_uint8_array(env, *image_HWC) : env.Null();
      };
    };
    return post_transform(env, std::move(work));
  });
}

Napi::Value jpeg_header(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard(env, [&]() -> Napi::Value {
    if (info.Length() < 1 || !info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
      throw Failure("ERR_COTS_OPTION", "Expected the bytes of an image.");
    const auto data = info[0].As<Napi::Uint8Array>();
    const std::optional<io::JpegHeader> header =
        io::read_jpeg_header(data.Data(), static_cast<int64_t>(data.ByteLength()));
    if (!header) return env.Null();
    Napi::Object result = Napi::Object::New(env);
    result.Set("width", static_cast<double>(header->width));
    result.Set("height", static_cast<double>(header->height));
    result.Set("orientation", header->orientation);
    return result;
  });
}

}  // namespace cots::addon
