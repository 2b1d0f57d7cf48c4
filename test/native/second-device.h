// A device that is not the CPU, for tests of what a GPU must be given: its tensors lie in the CPU's
// memory and its operations are the CPU's, but libtorch takes it for another device. An operation
// that meets tensors of both fails, as on a GPU, and each value that the host asks for is counted.
// It goes by the name of a device of which this libtorch has nothing: HPU.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace cots::test {

inline const c10::Device kSecondDevice{c10::kHPU, 0};

/// Values that the host has waited for so far, in this process.
int64_t values_asked_for();

}  // namespace cots::test
