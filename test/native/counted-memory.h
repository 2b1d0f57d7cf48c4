// How much memory tensors hold.
#pragma once

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <memory>

namespace cots::test {

/// Counts the bytes of CPU tensors made while this lives that are still there.
class CountedMemory final : public c10::Allocator {
 public:
  CountedMemory() : whole_(c10::GetAllocator(at::kCPU)) { c10::SetAllocator(at::kCPU, this, 1); }
  ~CountedMemory() override { c10::SetAllocator(at::kCPU, whole_, 1); }
  size_t alive() const { return *alive_; }

  c10::DataPtr allocate(size_t bytes) override {
    *alive_ += bytes;
    auto* const counted = new Counted{whole_->allocate(bytes), alive_, bytes};
    return {counted->block.get(), counted, &release, counted->block.device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  using Count = std::shared_ptr<std::atomic<size_t>>;  // tensors may outlive this
  struct Counted {
    c10::DataPtr block;
    Count alive;
    size_t bytes;
  };
  static void release(void* context) {
    auto* const counted = static_cast<Counted*>(context);
    *counted->alive -= counted->bytes;
    delete counted;
  }
  Count alive_ = std::make_shared<std::atomic<size_t>>(0);
  c10::Allocator* whole_;
};

}  // namespace cots::test
