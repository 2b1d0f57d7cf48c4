// NativeRanks: the ranks of a data-parallel run as the TypeScript layer talks to them.
#pragma once

#include <napi.h>

#include <vector>

#include "addon/handle.h"
#include "train/distributed.h"

namespace cots::addon {

/// Groups that are used at the same time: the steps' own, the training loop's and the loader's.
struct Ranks {
  Group step, loop, data;
};

class RanksWrap : public Napi::ObjectWrap<RanksWrap> {
 public:
  static Napi::FunctionReference define(Napi::Env env);
  explicit RanksWrap(const Napi::CallbackInfo& info);
  /// Throws ERR_COTS_DISPOSED.
  const Group& step_group() const { return loop_.state()->step; }

 private:
  Napi::Value gather(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Handle<Ranks> loop_, data_;  // a thread each
};

Napi::Value join_ranks(const Napi::CallbackInfo& info);

/// The `ranks` option of an entry: a NativeRanks, or null for a rank alone.
Group step_group_of(const Napi::Object& options);

}  // namespace cots::addon
