// The words of native/ops/cuda/device.cuh on the host: shuffles, asynchronous copies, and products
// of tensor cores by the layouts of their registers. Included by cuda-emulator.h alone. Legend:
// lane 4 g + t of a warp.
#pragma once

#include <c10/util/Half.h>

#include <cmath>
#include <cstdint>

namespace cots::emulator {

inline void check_aligned(const void* address, const char* what) {
  if (reinterpret_cast<uintptr_t>(address) % 16 != 0)
    fail(std::string(what) + " is not a multiple of 16");
}

template <class T, class U>
T bits_as(const U& value) {
  static_assert(sizeof(T) == sizeof(U));
  T out;
  std::memcpy(&out, &value, sizeof(T));
  return out;
}

inline float low_bf16(uint32_t pair) { return bits_as<float>(pair << 16); }
inline float high_bf16(uint32_t pair) { return bits_as<float>(pair & 0xffff0000u); }
inline float tf32(uint32_t bits) { return bits_as<float>(bits & 0xffffe000u); }

inline uint32_t round_to(uint32_t bits, int dropped) {  // to nearest, ties to even
  if (std::isnan(bits_as<float>(bits))) return bits | 1u << 22;
  const uint32_t half = (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  return (bits + half) >> dropped << dropped;
}

}  // namespace cots::emulator

namespace cots::cuda {

using emulator::machine, emulator::exchange;

inline std::byte* shared_memory() { return machine().shared.get(); }

template <class T>
T shuffle_xor(T value, int mask) {
  return exchange(value)[(machine().thread.x % 32) ^ static_cast<unsigned>(mask)];
}

inline void copy_16_async(void* shared, const void* global, bool inside) {
  emulator::check_aligned(shared, "the address that a copy goes to");
  if (inside) emulator::check_aligned(global, "the address that a copy comes from");
  std::memset(shared, 0xff, 16);
  emulator::current().copies.push_back({shared, global, inside, emulator::current().groups});
}
inline void close_copies() { ++emulator::current().groups; }

template <int kOpen>
void wait_for_copies() {
  auto& thread = emulator::current();
  std::erase_if(thread.copies, [&](const emulator::Copy& copy) {
    if (copy.group >= thread.groups - kOpen) return false;
    if (copy.inside)
      std::memcpy(copy.to, copy.from, 16);
    else
      std::memset(copy.to, 0, 16);
    return true;
  });
}

/// Element [row][column] of matrix `index`, from the row addresses of all lanes.
inline uint16_t matrix_element(const std::array<const void*, 32>& rows, int index, int row,
                               int column) {
  uint16_t out;
  std::memcpy(&out,
              static_cast<const uint16_t*>(rows[static_cast<size_t>(8 * index + row)]) + column, 2);
  return out;
}

inline void load_matrices(uint32_t (&out)[4], const void* row) {
  emulator::check_aligned(row, "the address of a matrix row");
  const auto rows = exchange(row);
  const int g = machine().thread.x % 32 / 4, t = machine().thread.x % 4;
  for (int i = 0; i < 4; ++i)
    out[i] = matrix_element(rows, i, g, 2 * t) |
             static_cast<uint32_t>(matrix_element(rows, i, g, 2 * t + 1)) << 16;
}

inline void load_matrices_transposed(uint32_t (&out)[4], const void* row) {
  emulator::check_aligned(row, "the address of a matrix row");
  const auto rows = exchange(row);
  const int g = machine().thread.x % 32 / 4, t = machine().thread.x % 4;
  for (int i = 0; i < 4; ++i)
    out[i] = matrix_element(rows, i, 2 * t, g) |
             static_cast<uint32_t>(matrix_element(rows, i, 2 * t + 1, g)) << 16;
}

struct Fragments {
  uint32_t a[4], b[2];
};

/// c += a b, both as the instruction's layout spreads them over the warp: left(row, k), right(k,
/// column) read one element from all lanes' registers.
template <int kDepth, class LeftElement, class RightElement>
void multiply_fragments(float (&c)[4], const LeftElement& left, const RightElement& right) {
  const int g = machine().thread.x % 32 / 4, t = machine().thread.x % 4;
  for (int i = 0; i < 4; ++i) {
    double sum = c[i];
    for (int k = 0; k < kDepth; ++k)
      sum += static_cast<double>(left(g + i / 2 * 8, k)) * right(k, 2 * t + i % 2);
    c[i] = static_cast<float>(sum);
  }
}

inline void multiply_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto all = exchange(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  const auto half = [](uint32_t pair, int k) {
    return k % 2 ? emulator::high_bf16(pair) : emulator::low_bf16(pair);
  };
  multiply_fragments<16>(
      c,
      [&](int row, int k) {
        return half(all[static_cast<size_t>(row % 8 * 4 + k % 8 / 2)].a[row / 8 + k / 8 * 2], k);
      },
      [&](int k, int column) {
        return half(all[static_cast<size_t>(column * 4 + k % 8 / 2)].b[k / 8], k);
      });
}

inline void multiply_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const auto all = exchange(Fragments{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  multiply_fragments<8>(
      c,
      [&](int row, int k) {
        return emulator::tf32(all[static_cast<size_t>(row % 8 * 4 + k % 4)].a[row / 8 + k / 4 * 2]);
      },
      [&](int k, int column) {
        return emulator::tf32(all[static_cast<size_t>(column * 4 + k % 4)].b[k / 4]);
      });
}

inline uint32_t to_tf32(float x) { return emulator::round_to(emulator::bits_as<uint32_t>(x), 13); }
inline uint32_t pack_bf16(float low, float high) {
  return emulator::round_to(emulator::bits_as<uint32_t>(low), 16) >> 16 |
         emulator::round_to(emulator::bits_as<uint32_t>(high), 16);
}
inline float from_bits(uint32_t bits) { return emulator::bits_as<float>(bits); }
inline float half_to_float(uint16_t bits) { return c10::detail::fp16_ieee_to_fp32_value(bits); }
inline float exponential(float x) { return std::exp(x); }

}  // namespace cots::cuda
