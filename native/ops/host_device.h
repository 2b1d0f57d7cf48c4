// Functions that the CPU kernels and the CUDA kernels share.
#pragma once

#if defined(__CUDACC__)
#define COTS_HOST_DEVICE __host__ __device__
#else
#define COTS_HOST_DEVICE
#endif
