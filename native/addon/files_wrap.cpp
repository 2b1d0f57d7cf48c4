#include "addon/files_wrap.h"

#include "addon/addon.h"
#include "addon/config.h"
#include "addon/convert.h"
#include "io/huggingface.h"
#include "io/safetensors.h"

namespace cots::addon {
namespace {

Napi::Array to_list(Napi::Env env, const std::vector<std::string>& names) {
  Napi::Array list = Napi::Array::New(env, names.size());
  for (uint32_t i = 0; i < names.size(); ++i) list.Set(i, names[i]);
  return list;
}

Napi::Value post(Napi::Env env, Work work) {
  Addon& addon = *env.GetInstanceData<Addon>();
  JobOptions options;
  options.threads = addon.default_threads();
  return addon.device_worker(env)->post(env, std::move(work), options);
}

io::Family read_family(const Napi::Object& o) {
  return one_of<io::Family>(o, "family",
                            {{"vit", io::Family::kVit},
                             {"beit", io::Family::kBeit},
                             {"beit_pooled", io::Family::kBeitPooled},
                             {"bert", io::Family::kBert},
                             {"clip", io::Family::kClip},
                             {"dual_encoder", io::Family::kDualEncoder}});
}

io::ImportSource read_source(const Napi::Object& o) { return {read_family(o), texts(o, "files")}; }

}  // namespace

Napi::Value import_hugging_face(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    return post(info.Env(),
                [config = read_model_config(object(o, "config")),
                 sources = list<io::ImportSource>(o, "sources", read_source),
                 out = text(o, "out")]() -> Settle {
                  const io::ImportReport report = io::import_hugging_face(config, sources, out);
                  return [report](Napi::Env env) -> Napi::Value {
                    Napi::Object result = Napi::Object::New(env);
                    result.Set("missing", to_list(env, report.missing));
                    result.Set("unused", to_list(env, report.unused));
                    return result;
                  };
                });
  });
}

Napi::Value export_hugging_face(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    return post(info.Env(),
                [config = read_model_config(object(o, "config")), file = text(o, "file"),
                 family = read_family(o), out = text(o, "out")]() -> Settle {
                  io::export_hugging_face(config, file, family, out);
                  return [](Napi::Env env) { return env.Undefined(); };
                });
  });
}

Napi::Value read_safetensors_header(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    return post(info.Env(), [file = text(options_of(info), "file")]() -> Settle {
      const io::SafetensorsHeader header = io::read_safetensors_header(file);
      return [header](Napi::Env env) -> Napi::Value {
        Napi::Array result = Napi::Array::New(env, header.entries.size());
        for (uint32_t i = 0; i < header.entries.size(); ++i) {
          const io::TensorEntry& entry = header.entries[i];
          Napi::Array shape = Napi::Array::New(env, entry.shape.size());
          for (uint32_t d = 0; d < entry.shape.size(); ++d)
            shape.Set(d, static_cast<double>(entry.shape[d]));
          Napi::Object item = Napi::Object::New(env);
          item.Set("name", entry.name);
          item.Set("dtype", entry.dtype);
          item.Set("shape", shape);
          result.Set(i, item);
        }
        return result;
      };
    });
  });
}

}  // namespace cots::addon
