// The words that the kernels are written in: threads, barriers, asynchronous copies and tensor-core
// products. With nvcc they are the GPU's own instructions (sm_80 and later); the native tests give
// the same words to the host (test/native/cuda-emulator.h) and run the very same kernels there.
#pragma once

#include <cstddef>
#include <cstdint>

#if !defined(__CUDACC__) && !defined(COTS_CUDA_EMULATED)
#error "Kernels are compiled by nvcc, or after test/native/cuda-emulator.h"
#endif

namespace cots::cuda {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffff;

/// A float16 number.
struct Half {
  uint16_t bits;
};

#if defined(__CUDACC__)
#define COTS_UNROLL _Pragma("unroll")
#else
#define COTS_UNROLL
#endif

/// The 16 high bits of a float32.
struct Bf16 {
  uint16_t bits;
};

#if defined(__CUDACC__)

/// The block's dynamic shared memory.
__device__ inline std::byte* shared_memory() {
  extern __shared__ __align__(16) std::byte bytes[];
  return bytes;
}

/// The value of lane (own ^ mask), of all 32 lanes at once.
template <class T>
__device__ inline T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}

/// Starts to copy 16 bytes to shared memory, or zeros where `inside` is false. Both addresses are
/// multiples of 16.
__device__ inline void copy_16_async(void* shared, const void* global, bool inside) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(address), "l"(global),
               "r"(inside ? 16 : 0));
}
__device__ inline void close_copies() { asm volatile("cp.async.commit_group;\n"); }

/// Waits for this thread's copies, but for the `kOpen` groups that were closed last.
template <int kOpen>
__device__ inline void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kOpen) : "memory");
}

/// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8
/// and gets elements [l / 4][2 (l % 4) + {0, 1}] of each.
__device__ inline void load_matrices(uint32_t (&out)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}
/// The same of the transposed matrices.
__device__ inline void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address)
               : "memory");
}

/// c += a b on tensor cores: 16 x 16 times 16 x 8, bfloat16 factors, float32 sums.
__device__ inline void multiply_bf16(float (&c)[4], const uint32_t (&a)[4],
                                     const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// c += a b on tensor cores: 16 x 8 times 8 x 8, TensorFloat-32 factors, float32 sums.
__device__ inline void multiply_tf32(float (&c)[4], const uint32_t (&a)[4],
                                     const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// x rounded to the 11 significant bits of TensorFloat-32.
__device__ inline uint32_t to_tf32(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(bits) : "f"(x));
  return bits;
}

/// Two floats rounded to nearest even bfloat16: `low` in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

__device__ inline float from_bits(uint32_t bits) { return __uint_as_float(bits); }

__device__ inline float half_to_float(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;\n" : "=f"(x) : "h"(bits));
  return x;
}

/// e^x by the special function unit: 2 units in the last place and |x| 2^-24 relative.
__device__ inline float exponential(float x) { return __expf(x); }

#endif

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Bf16 x) { return from_bits(uint32_t{x.bits} << 16); }

__device__ inline float to_float(Half x) { return half_to_float(x.bits); }

__device__ inline Bf16 to_bf16(float x) {
  return {static_cast<uint16_t>(pack_bf16(x, 0) & 0xffff)};
}

/// The sum of all 32 lanes, in one fixed order, in every lane.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

/// The sum of all threads of a block of kThreads, in one fixed order, in every thread. `scratch` is
/// shared memory of kThreads / 32 values, free before and after.
template <int kThreads, class T>
__device__ inline T block_sum(T value, T* scratch) {
  value = warp_sum(value);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  if (threadIdx.x % kWarp == 0) scratch[warp] = value;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < kThreads / kWarp; ++w) sum += scratch[w];
  __syncthreads();
  return sum;
}

/// Index of this thread among those of the whole grid, and how many there are.
__device__ inline int64_t thread_index() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t thread_count() { return int64_t{gridDim.x} * blockDim.x; }

}  // namespace cots::cuda
