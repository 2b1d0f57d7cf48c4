# Every source of the native part, by folder, in the direction of dependencies. No globbing: a file that is
# not listed is not built, and a test holds the lists complete.

set(COTS_CORE_SOURCES
)

# CUDA twins of native/ops/cpu, built only where libtorch has CUDA and nvcc is found.
set(COTS_CUDA_SOURCES
)

set(COTS_ADDON_SOURCES
)

set(COTS_NATIVE_TEST_SOURCES
)
