// A failure that the caller can act on: a stable code and a sentence (what, rule, value, way out).
// The addon turns it into a CotsError.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace cots {

struct Failure : std::runtime_error {
  Failure(std::string code, const std::string& message)
      : std::runtime_error(message), code(std::move(code)) {}
  std::string code;  // ERR_COTS_...
};

}  // namespace cots
