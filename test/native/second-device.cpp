#include "second-device.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/HPUHooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <atomic>
#include <cstdlib>

namespace cots::test {
namespace {

using at::Tensor;

std::atomic<int64_t> asked = 0;

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::kHPU> {
  c10::Device exchangeDevice(c10::Device) const override { return kSecondDevice; }
  c10::Device getDevice() const override { return kSecondDevice; }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, kSecondDevice); }
};
C10_REGISTER_GUARD_IMPL(HPU, Guard)

/// What autograd asks of a device before it makes a thread for it.
struct HPUHooks final : at::HPUHooksInterface {
  explicit HPUHooks(const at::HPUHooksArgs&) {}
  void init() const override {}
  bool hasHPU() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
};

struct Memory final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = std::malloc(bytes);
    most_ = std::max<int64_t>(most_, static_cast<int64_t>(bytes));
    return {data, data, &std::free, kSecondDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t count) const override {
    default_copy_data(to, from, count);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].peak = most_;  // of one block: enough to tell that it is asked for
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}

 private:
  std::atomic<int64_t> most_ = 0;
} memory;
REGISTER_ALLOCATOR(c10::kHPU, &memory)

Tensor empty(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device>, std::optional<bool>,
             std::optional<at::MemoryFormat> format) {
  return Tensor(at::detail::empty_generic(size, &memory, c10::DispatchKeySet(c10::DispatchKey::HPU),
                                          c10::dtype_or_default(type), format));
}

Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                     std::optional<at::ScalarType> type, std::optional<at::Layout>,
                     std::optional<at::Device>, std::optional<bool>) {
  return Tensor(at::detail::empty_strided_generic(size, stride, &memory,
                                                  c10::DispatchKeySet(c10::DispatchKey::HPU),
                                                  c10::dtype_or_default(type)));
}

/// The same memory, for the CPU.
Tensor on_cpu(const Tensor& t) {
  return at::from_blob(
      const_cast<void*>(t.storage().data()), t.sizes(), t.strides(), t.storage_offset(),
      [](void*) {}, t.options().device(at::kCPU));
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar(const Tensor& t) {
  ++asked;
  return on_cpu(t).item();
}

/// A single number of the CPU goes into a kernel's arguments; everything else must be here.
void check_device(const Tensor& t, const c10::OperatorHandle& op) {
  TORCH_CHECK(!t.defined() || t.device() == kSecondDevice || t.dim() == 0, op.schema().name(),
              " got a tensor of ", t.device(), " together with one of the second device");
}

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const size_t arguments = op.schema().arguments().size();
  for (const c10::IValue& value : torch::jit::last(*stack, arguments)) {
    if (value.isTensor()) check_device(value.toTensor(), op);
    if (value.isTensorList())
      for (const Tensor& t : value.toTensorVector()) check_device(t, op);
  }
  at::native::cpu_fallback(op, stack);
}

/// libtorch asks a device of this name for its own convolution.
Tensor convolution(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias,
                   at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                   bool transposed, at::IntArrayRef output_padding, int64_t groups) {
  return at::convolution(on_cpu(x), on_cpu(weight),
                         bias ? std::optional(on_cpu(*bias)) : std::nullopt, stride, padding,
                         dilation, transposed, output_padding, groups)
      .to(kSecondDevice);
}

TORCH_LIBRARY_IMPL(aten, HPU, m) {
  m.impl("convolution_overrideable", convolution);
  m.impl("empty.memory_format", empty);
  m.impl("empty_strided", empty_strided);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("view", at::native::view);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("resize_", at::native::resize_);
  m.impl("set_.source_Storage_storage_offset", at::native::set_storage_cpu_);
  m.impl("_copy_from", copy_from);
  m.impl("_copy_from_and_resize", copy_from_and_resize);
  m.impl("_local_scalar_dense", local_scalar);
}

using at::HPUHooksRegistry, at::RegistererHPUHooksRegistry;
REGISTER_HPU_HOOKS(HPUHooks)  // looked up by this name

TORCH_LIBRARY_IMPL(_, HPU, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

}  // namespace

int64_t values_asked_for() { return asked; }

}  // namespace cots::test
