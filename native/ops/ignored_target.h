// The target of a row that is no part of a loss, without any tensor: kernels include it too.
#pragma once

#include <cstdint>

namespace cots::ops {

/// torch.nn.functional.cross_entropy's ignore_index.
constexpr int64_t kIgnoredTarget = -100;

}  // namespace cots::ops
