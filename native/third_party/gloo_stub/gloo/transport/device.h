// A network interface. Declared only: see README.md.
#pragma once

#include <memory>

namespace gloo::transport {

class Device {
 public:
  virtual ~Device() = 0;
};

}  // namespace gloo::transport
