// info(): what this build is and what the machine offers; measureProduct(): how fast it multiplies.
#pragma once

#include <napi.h>

namespace cots::addon {

Napi::Value info(const Napi::CallbackInfo& call);
Napi::Value measure_product(const Napi::CallbackInfo& call);

}  // namespace cots::addon
