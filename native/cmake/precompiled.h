// What almost every source of ours includes and none of us edits: compiled once per build folder.
// Only headers that most sources need: GCC instantiates the templates that a precompiled header
// leaves pending again in every source (torch/library.h and custom_function.h cost 1 s each).
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>
