// How the ranks of a run find one another: a TCP store at the address of rank 0, then one
// connection to every other rank a group (the contract of torchrun, DESIGN 2.10).
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <string>
#include <vector>

#include "train/distributed.h"

namespace cots {

struct Rendezvous {
  int64_t rank = 0, world = 1;
  std::string address;  // of rank 0
  int64_t port = 0;
  bool is_server = false;  // this process opens the store; false on rank 0 too where torchrun's
                           // agent has
  std::string attempt;     // apart from the keys of an earlier attempt in the same store
  std::chrono::milliseconds timeout{0};  // of the meeting and of every collective
};

/// Whose tensors a group's collectives take.
struct GroupName {
  std::string name;
  at::Device device = at::kCPU;  // this rank's
};

/// One group a name, the same names in the same order on every rank: collectives of different
/// groups may be under way at once. The last one is of the CPU. Reads the cancel flag while it
/// waits. Throws ERR_COTS_DISTRIBUTED when not all ranks have come within the time-out.
std::vector<Group> join(const Rendezvous& meeting, const std::vector<GroupName>& names);

}  // namespace cots
