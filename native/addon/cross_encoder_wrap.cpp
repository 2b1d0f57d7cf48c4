#include "addon/cross_encoder_wrap.h"

#include <chrono>
#include <vector>

#include "addon/addon.h"
#include "addon/convert.h"
#include "infer/cross_encoder.h"

namespace cots::addon {

Napi::Value time_cross_encoder(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  return guard_promise(env, [&]() -> Napi::Value {
    const Napi::Object o = options_of(call);
    JobOptions options;
    options.threads = static_cast<int>(count(o, "threads", 1));
    Work work = [tokens = count(o, "tokens", 1), pairs = count(o, "pairs", 1),
                 calls = count(o, "calls", 1)]() -> Settle {
      using Clock = std::chrono::steady_clock;
      CrossEncoder encoder;
      encoder.score(pairs, tokens);
      std::vector<double> seconds;
      for (int64_t i = 0; i < calls; ++i) {
        const auto start = Clock::now();
        encoder.score(pairs, tokens);
        seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
      }
      return [seconds](Napi::Env env) {
        Napi::Array result = Napi::Array::New(env, seconds.size());
        for (size_t i = 0; i < seconds.size(); ++i)
          result.Set(static_cast<uint32_t>(i), Napi::Number::New(env, seconds[i]));
        return result;
      };
    };
    return env.GetInstanceData<Addon>()->device_worker(env)->post(env, std::move(work), options);
  });
}

}  // namespace cots::addon
