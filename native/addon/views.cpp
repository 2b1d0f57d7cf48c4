#include "addon/views.h"

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <utility>
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

/// Views of some images, uint8 [n, size, size, 3] each. JavaScript holds them without knowing of
/// their memory, which its collector would else run for: makeViews() uses them up.
struct MadeViews {
  std::vector<Tensor> views;
};

constexpr napi_type_tag kMadeViews{0x636f74732d766965, 0x77732d6d61646531};

/// Views made before, or pixels to make them of.
struct Source {
  std::shared_ptr<MadeViews> made;
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

/// Null for anything but what settle_made() gave.
MadeViews* made_views(Napi::Env env, const Napi::Value& value) {
  bool is_made = false;
  if (!value.IsExternal() ||
      napi_check_object_type_tag(env, value, &kMadeViews, &is_made) != napi_ok || !is_made)
    return nullptr;
  return value.As<Napi::External<MadeViews>>().Data();
}

std::shared_ptr<MadeViews> take_made(MadeViews& made, const std::vector<io::View>& views) {
  bool is_theirs = made.views.size() == views.size();
  for (size_t v = 0; is_theirs && v < views.size(); ++v)
    is_theirs = made.views[v].size(1) == views[v].size;
  if (!is_theirs)
    throw Failure("ERR_COTS_OPTION",
                  "Expected views of the sizes asked for that were not used yet, got others.");
  return std::make_shared<MadeViews>(std::exchange(made, {}));
}

Source read_source(const Napi::Object& o) {
  const int64_t width = count(o, "width", 1), height = count(o, "height", 1);
  return {nullptr, bytes(o, "data", {height, width, 3}),
          read_transform(object(o, "transform"), width, height)};
}

std::vector<Source> read_sources(const Napi::Object& o, const std::vector<io::View>& views) {
  const Napi::Array items = items_of(o, "images");
  std::vector<Source> sources;
  for (uint32_t i = 0; i < items.Length(); ++i) {
    MadeViews* made = made_views(o.Env(), items.Get(i));
    sources.push_back(made ? Source{take_made(*made, views), {}, {}}
                           : read_source(item_of(items, i, "images")));
  }
  return sources;
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

/// What JavaScript hands back to makeViews().
Settle settle_made(std::vector<Tensor> views) {
  return [made = std::make_shared<MadeViews>(std::move(views))](Napi::Env env) -> Napi::Value {
    const auto external = Napi::External<MadeViews>::New(
        env, new MadeViews(std::move(*made)), [](Napi::Env, MadeViews* held) { delete held; });
    if (napi_type_tag_object(env, external, &kMadeViews) != napi_ok)
      throw Failure("ERR_COTS_INTERNAL", "Expected a value to take a tag, it did not.");
    return external;
  };
}

int64_t rows_of(const Source& source) {
  return source.made && !source.made->views.empty() ? source.made->views[0].size(0) : 1;
}

/// One uint8 [n, size, size, 3] a view, the sources' rows in their order.
std::vector<Tensor> views_of(const std::vector<Source>& sources,
                             const std::vector<io::View>& views) {
  if (sources.size() == 1 && sources[0].made) return std::move(sources[0].made->views);
  int64_t rows = 0;
  for (const Source& source : sources) rows += rows_of(source);
  std::vector<Tensor> packed;
  for (const io::View& view : views)
    packed.push_back(at::empty({rows, view.size, view.size, 3}, at::kByte));
  int64_t row = 0;
  for (const Source& source : sources) {
    ops::check_cancelled();
    const int64_t n = rows_of(source);
    const std::vector<Tensor> made =
        source.made ? std::move(source.made->views)  // their memory goes as soon as they are copied
                    : io::make_views(source.image_HWC, source.transform, views);
    for (size_t v = 0; v < views.size(); ++v) {
      Tensor place = packed[v].narrow(0, row, n);
      place.copy_(made[v].view_as(place));
    }
    row += n;
  }
  return packed;
}

/// The views of one image, [1, size, size, 3] each, or null where the JPEG is sharp's to decode.
Settle run_jpeg(const Tensor& jpeg, const io::Transform& transform,
                const std::vector<io::View>& views) {
  const std::optional<Tensor> box_HWC =
      io::decode_jpeg(jpeg.const_data_ptr<uint8_t>(), jpeg.numel(),
                      {transform.left, transform.top, transform.width, transform.height});
  if (!box_HWC) return [](Napi::Env env) -> Napi::Value { return env.Null(); };
  ops::check_cancelled();
  std::vector<Tensor> made;
  for (const Tensor& view : io::make_box_views(*box_HWC, transform, views))
    made.push_back(view.contiguous().unsqueeze(0));
  return settle_made(std::move(made));
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
    std::vector<io::View> views = list<io::View>(o, "views", read_view);
    Work work = [sources = read_sources(o, views), views]() -> Settle {
      return settle_views(views_of(sources, views));
    };
    return post_transform(env, std::move(work));
  });
}

Napi::Value prepare_views(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(info);
    std::vector<io::View> views = list<io::View>(o, "views", read_view);
    Work work = [sources = read_sources(o, views), views]() -> Settle {
      return settle_made(views_of(sources, views));
    };
    return post_transform(env, std::move(work));
  });
}

Napi::Value prepare_jpeg_views(const Napi::CallbackInfo& info) {
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
    const int shrink = static_cast<int>(count(o, "shrink", 1));
    Work work = [jpeg = bytes(o, "jpeg", {length(o, "jpeg")}), whole, shrink]() -> Settle {
      const uint8_t* data = jpeg.const_data_ptr<uint8_t>();
      const std::optional<Tensor> image_HWC =
          shrink == 1 ? io::decode_jpeg(data, jpeg.numel(), whole)
                      : io::decode_jpeg_small(data, jpeg.numel(), shrink);
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
