#include "io/memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace cots::io {
namespace {

constexpr size_t kLarge =
    64 << 10;  // smaller blocks stay with libtorch's own allocator, whose malloc keeps them anyway
constexpr size_t kPage = 4096;
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kSlack =
    32;  // kept and used together: at most 1/32 above the recent peak (a step's holes take 1/100)
constexpr int64_t kWindow = 8192;  // allocations after which an old peak is forgotten

constexpr size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

void* map(size_t size) {
  void* start = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TORCH_CHECK(start != MAP_FAILED, "can't allocate memory: tried to allocate ", size, " bytes.");
  return start;
}

/// Whole huge pages.
char* map_huge(size_t size) {
  auto* start = static_cast<char*>(map(size));
  if (reinterpret_cast<uintptr_t>(start) % kHugePage != 0) {
    // One huge page more, and the ends cut off: mmap aligns to 4 KB only. What comes after it is
    // mapped below it, aligned and without a hole.
    ::munmap(start, size);
    const size_t room = size + kHugePage;
    start = static_cast<char*>(map(room));
    char* const aligned =
        reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(start), kHugePage));
    if (aligned > start) ::munmap(start, static_cast<size_t>(aligned - start));
    if (aligned + size < start + room)
      ::munmap(aligned + size, static_cast<size_t>(start + room - aligned - size));
    start = aligned;
  }
  ::madvise(start, size, MADV_HUGEPAGE);
  return start;
}

/// Large blocks, used and kept. A kept range is cut for a smaller block and joined with its
/// neighbors when blocks are freed, so that shapes of every size share the memory: classes of sizes
/// kept an eighth of a training step's memory in blocks that nothing fitted.
class BlockCache {
 public:
  void* take(size_t wanted) {
    const size_t size = round_up(wanted, kPage);
    const std::lock_guard lock(mutex_);
    const bool maps = ranges_.lower_bound({size, nullptr}) == ranges_.end();
    if (maps) {
      const size_t room = round_up(size, kHugePage);
      keep(map_huge(room), room);  // throws: nothing is counted before it
    }
    char* const block = cut(size);
    sizes_.emplace(block, size);
    used_ += size;
    note_peak();
    if (maps) shrink();
    return block;
  }

  /// False if the block is not one of ours.
  bool give(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) return false;
    const size_t size = found->second;
    sizes_.erase(found);
    used_ -= size;
    keep(static_cast<char*>(block), size);
    shrink();
    return true;
  }

  void release_kept() {
    const std::lock_guard lock(mutex_);
    shrink_to(0);
    peak_ = previous_peak_ = used_;
  }

  /// Bytes in use, of which the most is remembered from now on.
  size_t begin_watch() {
    const std::lock_guard lock(mutex_);
    return watched_peak_ = used_;
  }

  size_t watched_peak() {
    const std::lock_guard lock(mutex_);
    return watched_peak_;
  }

 private:
  using Range = std::pair<size_t, char*>;  // bytes and start

  /// The beginning of the smallest kept range that is large enough; there must be one.
  char* cut(size_t size) {
    const auto [room, start] = *ranges_.lower_bound({size, nullptr});
    forget(start, room);
    if (room > size) remember(start + size, room - size);
    return start;
  }

  void keep(char* start, size_t size) {
    const auto after = starts_.find(start + size);
    if (after != starts_.end()) {
      const size_t more = after->second;
      forget(start + size, more);
      size += more;
    }
    const auto next = starts_.lower_bound(start);
    if (next != starts_.begin()) {
      const auto [before, room] = *std::prev(next);
      if (before + room == start) {
        forget(before, room);
        start = before, size += room;
      }
    }
    remember(start, size);
  }

  void remember(char* start, size_t size) {
    starts_.emplace(start, size);
    ranges_.emplace(size, start);
    kept_ += size;
  }

  void forget(char* start, size_t size) {
    starts_.erase(start);
    ranges_.erase({size, start});
    kept_ -= size;
  }

  void note_peak() {
    peak_ = std::max(peak_, used_);
    watched_peak_ = std::max(watched_peak_, used_);
    if (++allocations_ % kWindow != 0) return;
    previous_peak_ = peak_;
    peak_ = used_;
  }

  void shrink() {
    const size_t peak = std::max(peak_, previous_peak_), bound = peak + peak / kSlack;
    shrink_to(bound - std::min(bound, used_));
  }

  /// Unmaps the largest ranges until at most `limit` bytes are kept.
  void shrink_to(size_t limit) {
    while (kept_ > limit) {
      const auto [size, start] = *ranges_.rbegin();
      forget(start, size);
      ::munmap(start, size);
    }
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> sizes_;  // of blocks in use
  std::map<char*, size_t> starts_;           // of kept ranges, no two of which touch
  std::set<Range> ranges_;                   // the same by size
  size_t used_ = 0, kept_ = 0, peak_ = 0, previous_peak_ = 0, watched_peak_ = 0;
  int64_t allocations_ = 0;
};

BlockCache& cache() {
  static BlockCache* const instance =
      new BlockCache;  // never destroyed: tensors may outlive every static
  return *instance;
}

void free_large(void* block) { cache().give(block); }

void free_any(void* block) {
  if (block != nullptr && !cache().give(block))
    c10::GetDefaultCPUAllocator()->raw_deallocate(block);
}

class KeepingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    if (size < kLarge) return c10::GetDefaultCPUAllocator()->allocate(size);
    void* const block = cache().take(size);
    return {block, block, &free_large, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_any; }
  void copy_data(void* to, const void* from, size_t size) const override {
    std::memcpy(to, from, size);
  }
};

}  // namespace

void keep_freed_blocks() {
  static std::once_flag once;
  std::call_once(once, [] {
    static auto* const allocator = new KeepingAllocator;
    c10::SetCPUAllocator(allocator, /*priority=*/1);
  });
}

void release_freed_blocks() { cache().release_kept(); }

BlockWatch::BlockWatch() : start_(static_cast<int64_t>(cache().begin_watch())) {}

int64_t BlockWatch::most() const { return static_cast<int64_t>(cache().watched_peak()) - start_; }

}  // namespace cots::io
