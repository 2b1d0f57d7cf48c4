// From C++ exceptions to CotsError: no exception, exit or abort reaches the process (DESIGN 2.6).
#pragma once

#include <napi.h>

#include <exception>
#include <string>

namespace cots::addon {

/// What a failure says, free of JavaScript values: may be made on any thread.
struct Description {
  std::string code, message;
};

/// Reads the exception in flight. Failure keeps its code; Cancelled, allocation failures and
/// libtorch's errors get theirs.
Description describe(const std::exception_ptr& failure);

/// A CotsError. `caller` (an Error made where the call was) lends its stack when given.
Napi::Value make_error(Napi::Env env, const Description& description,
                       const Napi::Object& caller = {});

/// Runs a synchronous entry: what it throws becomes a thrown CotsError.
template <typename Entry>
auto guard(Napi::Env env, Entry&& entry) -> decltype(entry()) {
  try {
    return entry();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw Napi::Error(env, make_error(env, describe(std::current_exception())));
  }
}

/// Runs an entry that answers a promise: what it throws becomes a rejection.
template <typename Entry>
Napi::Value guard_promise(Napi::Env env, Entry&& entry) {
  Napi::Value reason;
  try {
    return entry();
  } catch (const Napi::Error& error) {
    reason = error.Value();
  } catch (...) {
    reason = make_error(env, describe(std::current_exception()));
  }
  const auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Reject(reason);
  return deferred.Promise();
}

}  // namespace cots::addon
