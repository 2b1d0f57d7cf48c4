// Calls a registered op by name: the dispatcher, not the caller, finds the device.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace cots::ops {

/// Handle of cots::NAME for the C++ signature F; look it up once (static) and call it with
/// .call(...).
template <class F>
c10::TypedOperatorHandle<F> find_op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<F>();
}

}  // namespace cots::ops
