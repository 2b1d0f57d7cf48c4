#include "addon/ranks_wrap.h"

#include <ATen/ATen.h>

#include "addon/addon.h"
#include "addon/convert.h"
#include "train/rendezvous.h"

namespace cots::addon {
namespace {

Rendezvous read_meeting(const Napi::Object& o) {
  Rendezvous m;
  m.rank = count(o, "rank");
  m.world = count(o, "world", 1);
  m.address = text(o, "address");
  m.port = count(o, "port");
  m.is_server = boolean(o, "isServer");
  m.attempt = text(o, "attempt");
  m.timeout = std::chrono::milliseconds(count(o, "timeoutMs", 1));
  return m;
}

Napi::Value to_list(Napi::Env env, const std::vector<at::Tensor>& parts) {
  Napi::Array list = Napi::Array::New(env, parts.size());
  for (size_t i = 0; i < parts.size(); ++i)
    list.Set(static_cast<uint32_t>(i), to_uint8_array(env, parts[i]));
  return list;
}

}  // namespace

Napi::Value join_ranks(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guard_promise(env, [&] {
    const Napi::Object o = options_of(info);
    const std::shared_ptr<Worker> worker =
        env.GetInstanceData<Addon>()->create_worker(env, "cots-loop");
    JobOptions options;
    options.cancel = cancel_of(o);
    Work work = [meeting = read_meeting(o), device = at::Device(text(o, "device")),
                 owner = std::weak_ptr(worker)]() -> Settle {
      const std::vector<Group> groups = join(meeting, {{"step", device}, {"loop"}, {"data"}});
      const auto ranks = std::make_shared<Ranks>(Ranks{groups[0], groups[1], groups[2]});
      return [ranks, owner](Napi::Env env) {
        return make_wrap(env, env.GetInstanceData<Addon>()->ranks_class,
                         Handle<Ranks>(ranks, owner.lock(), 0, true));
      };
    };
    return worker->post(env, std::move(work), options);
  });
}

Group step_group_of(const Napi::Object& options) {
  if (is_null(options, "ranks")) return {};
  return RanksWrap::Unwrap(object(options, "ranks"))->step_group();
}

Napi::FunctionReference RanksWrap::define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "NativeRanks",
                                      {InstanceMethod("gather", &RanksWrap::gather),
                                       InstanceMethod("dispose", &RanksWrap::dispose)}));
}

RanksWrap::RanksWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<RanksWrap>(info),
      loop_(take_handle<Ranks>(info)),
      data_(loop_.state(),
            info.Env().GetInstanceData<Addon>()->create_worker(info.Env(), "cots-data"), 0, true) {}

Napi::Value RanksWrap::gather(const Napi::CallbackInfo& info) {
  return guard_promise(info.Env(), [&] {
    const Napi::Object o = options_of(info);
    const bool loop = one_of<bool>(o, "channel", {{"loop", true}, {"data", false}});
    const Handle<Ranks>& handle = loop ? loop_ : data_;
    const std::shared_ptr<Ranks> ranks = handle.state();
    Work work = [ranks, loop, own = bytes(o, "bytes", {length(o, "bytes")})]() -> Settle {
      const Group& group = loop ? ranks->loop : ranks->data;
      return [parts = group.all_gather_parts(own)](Napi::Env env) { return to_list(env, parts); };
    };
    return handle.post(info.Env(), Value(), std::move(work));
  });
}

Napi::Value RanksWrap::dispose(const Napi::CallbackInfo& info) {
  loop_.dispose();
  data_.dispose();
  return info.Env().Undefined();
}

}  // namespace cots::addon
