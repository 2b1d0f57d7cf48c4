// A machine that runs out of memory, for a moment.
#pragma once

#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

namespace cots::test {

/// The CPU's allocator, which has no block larger than `limit` bytes while this lives.
class LimitedMemory final : public c10::Allocator {
 public:
  explicit LimitedMemory(size_t limit) : limit_(limit), whole_(c10::GetAllocator(at::kCPU)) {
    c10::SetAllocator(at::kCPU, this, 1);
  }
  ~LimitedMemory() override { c10::SetAllocator(at::kCPU, whole_, 1); }
  c10::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK_WITH(OutOfMemoryError, bytes <= limit_, "no ", bytes, " bytes here");
    return whole_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return whole_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  size_t limit_;
  c10::Allocator* whole_;
};

}  // namespace cots::test
