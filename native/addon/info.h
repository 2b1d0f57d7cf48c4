// info(): what this build is and what the machine offers.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value info(const Napi::CallbackInfo& call);

}  // namespace cots::addon
