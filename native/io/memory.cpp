#include "io/memory.h"

#include <mutex>

namespace cots::io {

void keep_freed_memory() {
  static std::once_flag once;
  std::call_once(once, [] {});
}

}  // namespace cots::io
