// What this build and this machine offer besides the CPU. One of the few places that know of CUDA:
// everything else goes through libtorch's dispatcher and its device-independent streams, events and
// allocators.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cots::device {

struct Accelerator {
  std::string name;
  int capability = 0;  // 10 * major + minor: 90 is an H100
  int64_t memory_bytes = 0;
};

struct AcceleratorFacts {
  bool in_libtorch = false;        // libtorch is a CUDA build
  bool in_build = false;           // this build has the CUDA kernels, which takes nvcc
  int runtime = 0;                 // CUDA as libtorch was built for it: 1000 * major + 10 * minor
  int driver = 0;                  // newest CUDA that the driver runs, alike; 0: no driver
  std::vector<int> architectures;  // the kernels' compute capabilities, alike to `capability`
  std::vector<Accelerator> devices;
  std::string failure;  // why the devices could not be listed; empty when they were
};

/// Makes no context on any device and throws nothing.
AcceleratorFacts accelerator_facts();

}  // namespace cots::device
