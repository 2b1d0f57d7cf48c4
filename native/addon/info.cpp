#include "addon/info.h"

#include <ATen/Version.h>
#include <torch/version.h>

#include "addon/addon.h"
#include "addon/config.h"
#include "addon/convert.h"
#include "device/accelerators.h"
#include "infer/kernels/half_linear.h"
#include "infer/kernels/quantized_linear.h"
#include "infer/peak.h"
#include "io/jpeg.h"

namespace cots::addon {
namespace {

Napi::Array cpu_features(Napi::Env env) {
  Napi::Array features = Napi::Array::New(env);
  const auto note = [&](const char* name, bool present) {
    if (present) features.Set(features.Length(), name);
  };
#if defined(__x86_64__)
  note("avx2", __builtin_cpu_supports("avx2"));
  note("avx512", __builtin_cpu_supports("avx512f"));
  note("avx512_vnni", __builtin_cpu_supports("avx512vnni"));
  note("avx_vnni", __builtin_cpu_supports("avxvnni"));
  note("avx512_bf16", __builtin_cpu_supports("avx512bf16"));
  note("amx_bf16", __builtin_cpu_supports("amx-bf16"));
#endif
  return features;
}

at::ScalarType product_type_of(const Napi::Object& o) {
  return one_of<at::ScalarType>(
      o, "precision", {{"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"int8", at::kChar}});
}

Napi::Object accelerators(Napi::Env env) {
  const device::AcceleratorFacts facts = device::accelerator_facts();
  Napi::Array architectures = Napi::Array::New(env), devices = Napi::Array::New(env);
  for (const int capability : facts.architectures)
    architectures.Set(architectures.Length(), capability);
  for (const device::Accelerator& one : facts.devices) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", one.name);
    entry.Set("capability", one.capability);
    entry.Set("memoryBytes", static_cast<double>(one.memory_bytes));
    devices.Set(devices.Length(), entry);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("inLibtorch", facts.in_libtorch);
  result.Set("inBuild", facts.in_build);
  result.Set("runtime", facts.runtime);
  result.Set("driver", facts.driver);
  result.Set("architectures", architectures);
  result.Set("devices", devices);
  result.Set("failure", facts.failure);
  return result;
}

}  // namespace

Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Napi::Object cpu = Napi::Object::New(env);
  cpu.Set("capability", at::get_cpu_capability());
  cpu.Set("features", cpu_features(env));
  cpu.Set("int8", kernels::to_text(kernels::dot4_path()));
  cpu.Set("bfloat16", kernels::to_text(kernels::dot2_path()));
  Napi::Object defaults = Napi::Object::New(env);
  defaults.Set("model", write_model_config(env, ModelConfig()));
  defaults.Set("train", write_train_config(env, TrainConfig()));
  Napi::Object result = Napi::Object::New(env);
  result.Set("libtorch", TORCH_VERSION);
  result.Set("cuda", accelerators(env));
  result.Set("jpeg", io::has_jpeg());
  result.Set("cpu", cpu);
  result.Set("threads", env.GetInstanceData<Addon>()->default_threads());
  result.Set("defaults", defaults);
  return result;
}

Napi::Value measure_product(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(call);
    JobOptions options;
    options.threads = static_cast<int>(count(o, "threads", 1));
    const ProductShape shape{count(o, "rows", 1), count(o, "inner", 1), count(o, "columns", 1)};
    Work work = [shape, seconds = number(o, "seconds"), device = device_of(o),
                 type = product_type_of(o)]() -> Settle {
      const double flops = measure_product_flops(shape, seconds, device, type);
      return [flops](Napi::Env env) { return Napi::Number::New(env, flops); };
    };
    return env.GetInstanceData<Addon>()->device_worker(env)->post(env, std::move(work), options);
  });
}

}  // namespace cots::addon
