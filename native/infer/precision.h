// The number type of a plan.
#pragma once

namespace cots {

/// What a plan computes in. It is set by the caller, never chosen by a timing.
enum class Precision {
  kFloat32,
  kBfloat16,  // weights of linear layers and words stored in bfloat16, computed in float32
  kInt8,      // linear layers of the blocks in 8-bit integers, all else in float32
};

}  // namespace cots
