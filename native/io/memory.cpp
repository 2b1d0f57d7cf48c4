#include "io/memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <list>
#include <mutex>
#include <unordered_map>

namespace cots::io {
namespace {

constexpr size_t kLarge =
    64 << 10;  // smaller blocks stay with libtorch's own allocator, whose malloc keeps them anyway
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kStepsPerDoubling =
    8;  // sizes are rounded up by at most 1/8, so that similar shapes share blocks
constexpr size_t kSlack =
    4;  // kept and used together: at most 1/4 above the recent peak (1/8 costs half the gain)
constexpr int64_t kWindow = 8192;  // allocations after which an old peak is forgotten

size_t round_up(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

size_t block_size(size_t wanted) {
  return round_up(wanted, std::max<size_t>(4096, std::bit_floor(wanted) / kStepsPerDoubling));
}

void* map_block(size_t size) {
  // One huge page more than asked for, and the ends cut off: mmap aligns to 4 KB only.
  const size_t room = size < kHugePage ? size : size + kHugePage;
  void* start = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TORCH_CHECK(start != MAP_FAILED, "can't allocate memory: tried to allocate ", size, " bytes.");
  if (size < kHugePage) return start;
  auto* const first = static_cast<char*>(start);
  auto* const aligned =
      reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(start), kHugePage));
  if (aligned > first) ::munmap(first, static_cast<size_t>(aligned - first));
  if (aligned + size < first + room)
    ::munmap(aligned + size, static_cast<size_t>(first + room - aligned - size));
  // The tail that fills no huge page stays on small ones: it must not grow to 2 MB of real memory.
  ::madvise(aligned, size / kHugePage * kHugePage, MADV_HUGEPAGE);
  return aligned;
}

/// Large blocks, used and kept.
class BlockCache {
 public:
  void* take(size_t wanted) {
    const size_t size = block_size(wanted);
    const std::lock_guard lock(mutex_);
    void* block = take_kept(size);
    const bool kept = block != nullptr;
    if (!kept) block = map_block(size);  // throws: nothing is counted before it
    sizes_.emplace(block, size);
    used_ += size;
    note_peak();
    if (!kept) shrink_to(bound() - std::min(bound(), used_));
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
    kept_list_.push_front({block, size});
    kept_by_size_[size].push_back(kept_list_.begin());
    kept_ += size;
    shrink_to(bound() - std::min(bound(), used_));
    return true;
  }

  void release_kept() {
    const std::lock_guard lock(mutex_);
    shrink_to(0);
    peak_ = previous_peak_ = used_;
  }

 private:
  struct Kept {
    void* block;
    size_t size;
  };
  using KeptList = std::list<Kept>;  // most lately freed first

  void* take_kept(size_t size) {
    const auto found = kept_by_size_.find(size);
    if (found == kept_by_size_.end() || found->second.empty()) return nullptr;
    const auto place =
        found->second.back();  // the most lately freed one: likely still in the caches
    found->second.pop_back();
    void* const block = place->block;
    kept_list_.erase(place);
    kept_ -= size;
    return block;
  }

  void note_peak() {
    peak_ = std::max(peak_, used_);
    if (++allocations_ % kWindow != 0) return;
    previous_peak_ = peak_;
    peak_ = used_;
  }

  size_t bound() const {
    const size_t peak = std::max(peak_, previous_peak_);
    return peak + peak / kSlack;
  }

  /// Unmaps the blocks that were freed longest ago until `limit` bytes are kept.
  void shrink_to(size_t limit) {
    while (kept_ > limit && !kept_list_.empty()) {
      const auto oldest = std::prev(kept_list_.end());
      auto& same_size = kept_by_size_[oldest->size];
      same_size.erase(std::find(same_size.begin(), same_size.end(), oldest));
      ::munmap(oldest->block, oldest->size);
      kept_ -= oldest->size;
      kept_list_.erase(oldest);
    }
  }

  std::mutex mutex_;
  std::unordered_map<void*, size_t> sizes_;  // of blocks in use
  KeptList kept_list_;
  std::unordered_map<size_t, std::vector<KeptList::iterator>> kept_by_size_;
  size_t used_ = 0, kept_ = 0, peak_ = 0, previous_peak_ = 0;
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

}  // namespace cots::io
