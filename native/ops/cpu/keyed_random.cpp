// A block of four elements of a row is one Philox call, so any split of the work gives the same
// numbers. Legend: B rows (one key each), n elements a row.
#include "ops/keyed_random.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "ops/cpu/isa.h"
#include "ops/cpu/philox_blocks.h"

namespace cots::ops {
namespace {

constexpr int64_t kRun = 1024;  // draws made at a time: 4 KiB of stack, 256 Philox blocks

COTS_INLINE void to_uniform_body(const uint32_t* draws, float* out, int64_t count) {
  for (int64_t l = 0; l < count; ++l)
    out[l] = static_cast<float>(static_cast<int32_t>(high_bits(draws[l]))) * 0x1p-24f;
}
COTS_VERSIONS(void, to_uniform, (const uint32_t* draws, float* out, int64_t count),
              (draws, out, count))

template <class T>
struct Dropout {
  T scale;
  int32_t threshold;  // an element stays when its 24 high bits are at least this
};

template <class T>
COTS_INLINE void drop(const uint32_t* draws, const T* in, T* out, int64_t count,
                      const Dropout<T>& d) {
  const T scale = d.scale;
  const int32_t threshold = d.threshold;
  for (int64_t l = 0; l < count; ++l) {
    const T kept = in[l] * scale;
    out[l] = static_cast<int32_t>(high_bits(draws[l])) >= threshold ? kept : T{0};
  }
}
COTS_INLINE void drop_float_body(const uint32_t* draws, const float* __restrict in,
                                 float* __restrict out, int64_t count, const Dropout<float>& d) {
  drop(draws, in, out, count, d);
}
COTS_VERSIONS(void, drop_float,
              (const uint32_t* draws, const float* in, float* out, int64_t count,
               const Dropout<float>& d),
              (draws, in, out, count, d))

template <class T>
void drop_run(const uint32_t* draws, const T* in, T* out, int64_t count, const Dropout<T>& d) {
  if constexpr (std::is_same_v<T, float>)
    drop_float(draws, in, out, count, d);
  else
    drop(draws, in, out, count, d);
}

/// Calls use(offset, draws, count) over B rows of n elements in parallel, in runs of at most kRun;
/// offset counts from the first row's first element.
template <class F>
void for_each_run(const int64_t* keys, int64_t site, int64_t B, int64_t n, const F& use) {
  const int64_t runs = (n + kRun - 1) / kRun;
  at::parallel_for(0, B * runs, 32, [&](int64_t first, int64_t last) {
    alignas(64) uint32_t draws[kRun];
    for (int64_t s = first; s < last; ++s) {
      const int64_t row = s / runs, begin = s % runs * kRun, count = std::min(kRun, n - begin);
      philox_blocks(static_cast<uint64_t>(keys[row]), static_cast<uint64_t>(site),
                    static_cast<uint64_t>(begin / 4), (count + 63) / 64 * 16, draws);
      use(row * n + begin, draws, count);
    }
  });
}

void check_keys(const char* name, const Tensor& keys_B) {
  TORCH_CHECK(keys_B.dim() == 1 && keys_B.scalar_type() == at::kLong, name,
              ": expected keys as int64 [B], got ", keys_B.scalar_type(), " ", keys_B.sizes());
}

Tensor keyed_uniform_cpu(const Tensor& keys_B, int64_t site, int64_t n) {
  check_keys("keyed_uniform", keys_B);
  TORCH_CHECK(n >= 0, "keyed_uniform: expected n >= 0, got ", n);
  const int64_t B = keys_B.size(0);
  Tensor out_Bn = at::empty({B, n}, keys_B.options().dtype(at::kFloat));
  if (out_Bn.numel() == 0) return out_Bn;
  const Tensor keys = keys_B.contiguous();
  float* out = out_Bn.mutable_data_ptr<float>();
  for_each_run(keys.const_data_ptr<int64_t>(), site, B, n,
               [=](int64_t offset, const uint32_t* draws, int64_t count) {
                 to_uniform(draws, out + offset, count);
               });
  return out_Bn;
}

Tensor keyed_dropout_cpu(const Tensor& x, const Tensor& keys_B, int64_t site, double p) {
  check_keys("keyed_dropout", keys_B);
  TORCH_CHECK(x.dim() >= 1 && x.size(0) == keys_B.size(0),
              "keyed_dropout: expected one key a row, got ", keys_B.size(0), " keys for x of ",
              x.sizes());
  TORCH_CHECK(p >= 0 && p < 1, "keyed_dropout: expected p in [0, 1), got ", p);
  const Tensor input = x.contiguous(), keys = keys_B.contiguous();
  Tensor output = at::empty_like(input);
  if (input.numel() == 0) return output;
  const int64_t B = input.size(0), n = input.numel() / B;
  const int32_t threshold = static_cast<int32_t>(std::ceil(p * 0x1p24));
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, input.scalar_type(), "keyed_dropout", [&] {
    const scalar_t* in = input.const_data_ptr<scalar_t>();
    scalar_t* out = output.mutable_data_ptr<scalar_t>();
    const Dropout<scalar_t> d{static_cast<scalar_t>(1 / (1 - p)), threshold};
    for_each_run(keys.const_data_ptr<int64_t>(), site, B, n,
                 [=](int64_t offset, const uint32_t* draws, int64_t count) {
                   drop_run(draws, in + offset, out + offset, count, d);
                 });
  });
  return output;
}

}  // namespace

TORCH_LIBRARY_IMPL(cots, CPU, m) {
  m.impl("keyed_uniform", keyed_uniform_cpu);
  m.impl("keyed_dropout", keyed_dropout_cpu);
}

}  // namespace cots::ops
