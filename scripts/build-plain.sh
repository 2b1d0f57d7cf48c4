#!/bin/sh
# Builds the native part with CMake and Ninja alone, for a machine without npm or a network:
#   scripts/build-plain.sh LIBTORCH NODE_API_FOLDER NODE_ADDON_API_FOLDER [CMAKE_ARGUMENT...]
# LIBTORCH holds include/ and lib/libtorch.so; NODE_API_FOLDER holds node_api.h (Node's own include/node will do);
# NODE_ADDON_API_FOLDER holds napi.h (the npm package node-addon-api, copied from a machine that has it).
# The addon comes to build/Release/cots.node, where the package loads it; then the native tests run.
set -eu

fail() {
  echo "build-plain: $1" >&2
  exit 1
}

[ $# -ge 3 ] || fail "expected LIBTORCH NODE_API_FOLDER NODE_ADDON_API_FOLDER, got $# arguments. See the head of this file."
libtorch=$1 node_api=$2 node_addon_api=$3
shift 3
[ -f "$libtorch/lib/libtorch.so" ] || fail "expected a libtorch with lib/libtorch.so, found none in $libtorch."
[ -f "$node_api/node_api.h" ] || fail "expected node_api.h in $node_api, found none. Node's own is in PREFIX/include/node."
[ -f "$node_addon_api/napi.h" ] || fail "expected napi.h in $node_addon_api, found none. Copy the npm package node-addon-api."
for tool in cmake ninja c++; do
  command -v $tool > /dev/null || fail "expected $tool on PATH, found none. Install it with the system's packages."
done

root=$(cd "$(dirname "$0")/.." && pwd)
build=${COTS_BUILD:-$root/build}
cmake -G Ninja -S "$root" -B "$build" -DCOTS_LIBTORCH="$libtorch" -DCOTS_NODE_API_INCLUDE="$node_api;$node_addon_api" "$@"
cmake --build "$build"
echo "build-plain: $build/Release/cots.node"
if [ -x "$build/Release/cots_native_tests" ]; then
  "$build/Release/cots_native_tests"
fi
