// The allocator of large blocks: no two blocks in use overlap, what is freed is joined and used
// again, and what is kept is bounded and given back.
#include <c10/core/CPUAllocator.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "io/memory.h"

namespace {

constexpr size_t kMiB = 1 << 20;
/// What else may come to a process; a sanitizer's shadow of 64 MiB is 8.
constexpr size_t kSlack = 24 * kMiB;

/// Of the process, in bytes.
size_t resident() {
  size_t pages = 0, in_memory = 0;
  std::ifstream("/proc/self/statm") >> pages >> in_memory;
  return in_memory * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

/// The allocator itself; all other tests keep libtorch's.
c10::Allocator& allocator() {
  static c10::Allocator* const ours = [] {
    c10::Allocator* const before = c10::GetAllocator(c10::kCPU);
    cots::io::keep_freed_blocks();
    c10::Allocator* const made = c10::GetAllocator(c10::kCPU);
    c10::SetAllocator(c10::kCPU, before, 1);
    return made;
  }();
  return *ours;
}

struct Block {
  explicit Block(size_t size) : size(size), data(allocator().allocate(size)) {}
  void fill(int value) { std::memset(data.get(), value, size); }
  bool holds(int value) const {
    const auto* bytes = static_cast<const unsigned char*>(data.get());
    return std::all_of(bytes, bytes + size, [&](unsigned char byte) {
      return byte == static_cast<unsigned char>(value);
    });
  }
  size_t size;
  c10::DataPtr data;
};

/// Starts from 64 MiB that are kept, all in one.
void keep_some() {
  cots::io::release_freed_blocks();
  Block(64 * kMiB);
}

}  // namespace

TEST_CASE("block cache: blocks in use never overlap, from several threads") {
  std::atomic<int> broken = 0;
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    std::vector<std::pair<Block, int>> live;
    for (int step = 0; step < 400; ++step) {
      if (live.size() < 12 && random() % 3 != 0) {
        // Odd sizes, around the smallest that the cache takes and up to 2 MiB.
        const size_t size = (size_t{1} << (14 + random() % 8)) + random() % 5000;
        live.emplace_back(size, static_cast<int>(random() % 256));
        live.back().first.fill(live.back().second);
        broken += reinterpret_cast<uintptr_t>(live.back().first.data.get()) % 64 != 0;
      } else if (!live.empty()) {
        const size_t at = random() % live.size();
        broken += !live[at].first.holds(live[at].second);
        std::swap(live[at], live.back());
        live.pop_back();
      }
    }
    for (const auto& [block, value] : live) broken += !block.holds(value);
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  CHECK(broken == 0);
}

TEST_CASE("block cache: neighbors that are freed are one range again, which a larger block takes") {
  keep_some();
  const void* first = nullptr;
  {
    const Block a(kMiB), b(kMiB / 2), c(kMiB / 2);
    first = a.data.get();
    CHECK(static_cast<const char*>(b.data.get()) == static_cast<const char*>(first) + kMiB);
  }
  const Block whole(2 * kMiB);
  CHECK(whole.data.get() == first);
}

TEST_CASE("block cache: the smallest range that will do is taken, and cut") {
  keep_some();
  std::vector<Block> blocks;
  for (const size_t size : {4 * kMiB, kMiB / 4, 2 * kMiB, kMiB / 4}) blocks.emplace_back(size);
  const void* const two = blocks[2].data.get();
  blocks[0].data.clear(), blocks[2].data.clear();
  const Block one(kMiB), other(kMiB);
  CHECK(one.data.get() == two);
  CHECK(other.data.get() == static_cast<const char*>(two) + kMiB);
}

TEST_CASE("block cache: what is freed is kept, and given back when asked") {
  cots::io::release_freed_blocks();
  const size_t before = resident();
  {
    Block large(64 * kMiB);
    large.fill(1);
    CHECK(resident() - before > 60 * kMiB);
  }
  CHECK(resident() - before > 60 * kMiB);
  cots::io::release_freed_blocks();
  CHECK(resident() < before + kSlack);
}

TEST_CASE("block cache: a watch sees the most in use at once beyond what was there") {
  const Block before(4 * kMiB);
  const cots::io::BlockWatch watch;
  CHECK(watch.most() == 0);
  {
    const Block one(3 * kMiB);
    Block(2 * kMiB);
  }
  const Block two(kMiB), small(1000);
  CHECK(watch.most() == 5 * kMiB);
  CHECK(cots::io::BlockWatch().most() == 0);
}

TEST_CASE("block cache: a peak that is long past is no reason to keep memory") {
  cots::io::release_freed_blocks();
  const size_t before = resident();
  {
    Block large(64 * kMiB);
    large.fill(1);
  }
  for (int turn = 0; turn < 3 * 8192; ++turn) Block(kMiB / 4);
  CHECK(resident() < before + kSlack);
  cots::io::release_freed_blocks();
}

TEST_CASE("block cache: small blocks are libtorch's own, and both sorts may be freed raw") {
  for (const size_t size : {size_t{0}, size_t{100}, kMiB}) {
    void* const block = allocator().raw_allocate(size);
    if (size > 0) std::memset(block, 1, size);
    allocator().raw_deallocate(block);
  }
}
