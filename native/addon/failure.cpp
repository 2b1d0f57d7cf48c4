#include "addon/failure.h"

#include <c10/util/Exception.h>

#include <new>

#include "addon/addon.h"
#include "device/memory.h"
#include "io/failure.h"
#include "ops/cancel.h"

namespace cots::addon {
namespace {

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

Description describe_libtorch(const c10::Error& error) {
  std::string message = error.what_without_backtrace();
  if (device::is_out_of_memory(error))
    return {"ERR_COTS_MEMORY", "Out of memory: " + message +
                                   " Use a smaller batch, more accumulation or a smaller model."};
  if (contains(message, "INTERNAL ASSERT")) return {"ERR_COTS_INTERNAL", message};
  return {"ERR_COTS_SHAPE", message};
}

/// "CotsError: message" with the frames of `caller`.
void lend_stack(Napi::Object error, const Napi::Object& caller, const std::string& message) {
  const Napi::Value stack = caller.Get("stack");
  if (!stack.IsString()) return;
  const std::string text = stack.As<Napi::String>().Utf8Value();
  const size_t frames = text.find("\n    at ");
  error.Set("stack",
            "CotsError: " + message + (frames == std::string::npos ? "" : text.substr(frames)));
}

}  // namespace

Description describe(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Failure& error) {
    return {error.code, error.what()};
  } catch (const ops::Cancelled&) {
    return {"ERR_COTS_CANCELLED", "The native work was cancelled."};
  } catch (const c10::Error& error) {
    return describe_libtorch(error);
  } catch (const std::bad_alloc&) {
    return {"ERR_COTS_MEMORY",
            "Out of memory. Use a smaller batch, more accumulation or a smaller model."};
  } catch (const std::exception& error) {
    return {"ERR_COTS_INTERNAL", error.what()};
  } catch (...) {
    return {"ERR_COTS_INTERNAL", "An unknown native failure."};
  }
}

Napi::Value make_error(Napi::Env env, const Description& description, const Napi::Object& caller) {
  const auto& constructor = env.GetInstanceData<Addon>()->error_class;
  Napi::Object error;
  if (constructor.IsEmpty()) {
    error = Napi::Error::New(env, description.message).Value();
    error.Set("code", description.code);
  } else {
    error = constructor.New(
        {Napi::String::New(env, description.code), Napi::String::New(env, description.message)});
  }
  if (!caller.IsEmpty()) lend_stack(error, caller, description.message);
  return error;
}

}  // namespace cots::addon
