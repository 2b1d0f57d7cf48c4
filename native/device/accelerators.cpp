#include "device/accelerators.h"

#include <ATen/Context.h>

namespace cots::device {

#ifdef COTS_WITH_CUDA
void read_driver(AcceleratorFacts& facts);  // cuda.cpp
#endif

AcceleratorFacts accelerator_facts() {
  AcceleratorFacts facts;
  facts.in_libtorch = at::globalContext().hasCUDART();
#ifdef COTS_WITH_CUDA
  facts.in_build = true;
  read_driver(facts);
#endif
  return facts;
}

}  // namespace cots::device
