#!/usr/bin/env bash
# Builds and checks the CUDA kernels on a machine with an NVIDIA GPU. It needs a CUDA libtorch (2.11 to 2.13), CMake,
# ninja or make, a C++ compiler and nvcc: no Node, no npm, no network.
#   OUT=results scripts/gpu/check.sh            all results under $OUT (default: gpu-results)
#   COTS_LIBTORCH=FOLDER                        libtorch (include/ and lib/); else that of python3's torch
#   COTS_ARCHITECTURES=90a                      what to compile for; else that of the first GPU
# Steps: build, native tests, compute-sanitizer (memcheck, racecheck) on the kernel tests, benchmark. A step that fails
# does not keep the others from running; the exit code says whether all passed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
OUT=$(mkdir -p "${OUT:-gpu-results}" && cd "${OUT:-gpu-results}" && pwd)
build="$OUT/build"
report="$OUT/report.txt"
: > "$report"
say() { echo "$*" | tee -a "$report"; }

# --- what must be there, all that is missing told at once -------------------------------------------------
missing=()
need() { command -v "$1" > /dev/null || missing+=("$1: $2"); }
need cmake "CMake 3.21 or later"
need nvcc "the CUDA toolkit's compiler; add its bin folder to PATH"
need nvidia-smi "the NVIDIA driver; without it there is no GPU to check on"
command -v c++ > /dev/null || command -v g++ > /dev/null || missing+=("c++: a C++20 compiler")
command -v ninja > /dev/null || command -v make > /dev/null || missing+=("ninja: or make")
if [ -z "${COTS_LIBTORCH:-}" ]; then
  COTS_LIBTORCH=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2> /dev/null)
fi
if [ ! -e "${COTS_LIBTORCH:-}/lib/libtorch_cuda.so" ]; then
  missing+=("libtorch with CUDA: none in COTS_LIBTORCH='${COTS_LIBTORCH:-}' (its lib/ has no libtorch_cuda.so)")
fi
if [ ${#missing[@]} -gt 0 ]; then
  say "The kernels cannot be checked here. Missing:"
  for line in "${missing[@]}"; do say "  $line"; done
  exit 3
fi

architectures=${COTS_ARCHITECTURES:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d . | sed 's/^90$/90a/')}
say "GPU: $(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader | head -1)"
say "nvcc: $(nvcc --version | grep release)"
say "libtorch: $COTS_LIBTORCH, kernels for sm_$architectures"

failed=0
step() { # name, command...
  local name=$1 start=$SECONDS
  shift
  if (cd "$root" && "$@") > "$OUT/$name.log" 2>&1; then
    say "passed  $name ($((SECONDS - start)) s)"
  else
    say "FAILED  $name ($((SECONDS - start)) s), see $OUT/$name.log: $(tail -1 "$OUT/$name.log")"
    failed=1
  fi
}

generator=()
command -v ninja > /dev/null && generator=(-G Ninja)
step configure cmake -S "$root" -B "$build" "${generator[@]}" -DCOTS_ADDON=OFF -DCOTS_TESTS=ON -DCOTS_BENCH=ON \
  "-DCOTS_LIBTORCH=$COTS_LIBTORCH" "-DCMAKE_CUDA_ARCHITECTURES=$architectures"
[ $failed = 0 ] && step build cmake --build "$build" --parallel
if [ $failed = 1 ]; then
  say "The build did not come about; nothing was run."
  exit 1
fi

tests="$build/Release/cots_native_tests"
step tests "$tests"
kernels=(-tc="device: *")
step kernel-tests "$tests" "${kernels[@]}"
if ! grep -q "device: cuda" "$OUT/kernel-tests.log"; then
  say "FAILED  the kernel tests ran on the CPU: libtorch sees no GPU"
  failed=1
fi
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 "$tests" "${kernels[@]}"
  done
else
  say "FAILED  memcheck and racecheck did not run: compute-sanitizer (part of the CUDA toolkit) is not on PATH"
  failed=1
fi
step bench "$build/Release/cots_native_bench" "$OUT/ops.json"
say "Results are in $OUT"
exit $failed
