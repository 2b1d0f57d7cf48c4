// A block of four elements of a row is one Philox call, so any split of the work gives the same
// numbers. Legend: B rows (one key each), n elements a row.
#include "ops/keyed_random.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <type_traits>
#include <vector>

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

/// Calls use(offset, draws, count) over the elements of rows that end at ends[b], in parallel, in
/// runs of at most kRun of one row.
template <class F>
void for_each_run(const int64_t* keys, int64_t site, const std::vector<int64_t>& ends,
                  const F& use) {
  struct Run {
    int64_t row, begin;  // counted from the row's first element
  };
  std::vector<Run> runs;
  const auto first_of = [&](int64_t row) { return row == 0 ? 0 : ends[row - 1]; };
  for (int64_t row = 0; row < static_cast<int64_t>(ends.size()); ++row)
    for (int64_t begin = 0; begin < ends[row] - first_of(row); begin += kRun)
      runs.push_back({row, begin});
  at::parallel_for(0, static_cast<int64_t>(runs.size()), 32, [&](int64_t first, int64_t last) {
    alignas(64) uint32_t draws[kRun];
    for (int64_t s = first; s < last; ++s) {
      const auto [row, begin] = runs[s];
      const int64_t offset = first_of(row) + begin, count = std::min(kRun, ends[row] - offset);
      philox_blocks(static_cast<uint64_t>(keys[row]), static_cast<uint64_t>(site),
                    static_cast<uint64_t>(begin / 4), (count + 63) / 64 * 16, draws);
      use(offset, draws, count);
    }
  });
}

/// B rows of n elements.
std::vector<int64_t> even_ends(int64_t B, int64_t n) {
  std::vector<int64_t> ends;
  for (int64_t b = 1; b <= B; ++b) ends.push_back(b * n);
  return ends;
}

/// The rows that each key of `starts` has, of n elements each.
std::vector<int64_t> ends_of(const Tensor& starts, int64_t n) {
  std::vector<int64_t> ends;
  for (int64_t b = 1; b < starts.numel(); ++b)
    ends.push_back(starts.const_data_ptr<int64_t>()[b] * n);
  return ends;
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
  for_each_run(keys.const_data_ptr<int64_t>(), site, even_ends(B, n),
               [=](int64_t offset, const uint32_t* draws, int64_t count) {
                 to_uniform(draws, out + offset, count);
               });
  return out_Bn;
}

void check_rows(const Tensor& x, const Tensor& keys_B, const std::optional<Tensor>& starts) {
  const int64_t B = keys_B.size(0);
  if (!starts) {
    TORCH_CHECK(x.dim() >= 1 && x.size(0) == B, "keyed_dropout: expected one key a row, got ", B,
                " keys for x of ", x.sizes());
    return;
  }
  TORCH_CHECK(x.dim() >= 1 && starts->scalar_type() == at::kLong && starts->is_contiguous() &&
                  starts->sizes() == at::IntArrayRef(B + 1),
              "keyed_dropout: expected starts as int64 [", B + 1, "], got ", starts->scalar_type(),
              " ", starts->sizes());
  const int64_t* start = starts->const_data_ptr<int64_t>();
  TORCH_CHECK(start[0] == 0 && start[B] == x.size(0) && std::is_sorted(start, start + B + 1),
              "keyed_dropout: expected starts that rise from 0 to ", x.size(0));
}

Tensor keyed_dropout_cpu(const Tensor& x, const Tensor& keys_B, int64_t site, double p,
                         const std::optional<Tensor>& starts) {
  check_keys("keyed_dropout", keys_B);
  check_rows(x, keys_B, starts);
  TORCH_CHECK(p >= 0 && p < 1, "keyed_dropout: expected p in [0, 1), got ", p);
  const Tensor input = x.contiguous(), keys = keys_B.contiguous();
  Tensor output = at::empty_like(input);
  if (input.numel() == 0) return output;
  const int64_t n = input.numel() / input.size(0);
  const std::vector<int64_t> ends = starts ? ends_of(*starts, n) : even_ends(input.size(0), n);
  const int32_t threshold = static_cast<int32_t>(std::ceil(p * 0x1p24));
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, input.scalar_type(), "keyed_dropout", [&] {
    const scalar_t* in = input.const_data_ptr<scalar_t>();
    scalar_t* out = output.mutable_data_ptr<scalar_t>();
    const Dropout<scalar_t> d{static_cast<scalar_t>(1 / (1 - p)), threshold};
    for_each_run(keys.const_data_ptr<int64_t>(), site, ends,
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
