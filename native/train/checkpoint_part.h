// The files of a checkpoint that hold tensors: model.safetensors, and the state as one file, or as
// one piece a rank, that any number of ranks can go on from.
#pragma once

#include <map>
#include <string>

#include "io/safetensors.h"
#include "train/distributed.h"

namespace cots {

/// What one rank writes.
struct CheckpointPart {
  io::NamedTensors model;  // empty on all but rank 0
  io::NamedTensors state;
  std::string state_file;  // its name

  /// The same with memory of its own, of the host.
  CheckpointPart copy() const;
  /// Each file is complete and synced when this returns.
  void write(const std::string& directory) const;
  /// With the bytes that `give` gives (io/safetensors.h).
  void write(const std::string& directory, const io::GiveBytes& give) const;
};

/// state.safetensors alone, else state-RRRRR-of-WWWWW.safetensors, counted from 1.
std::string state_file_name(const Group& group);

/// This rank's share of tensors that all ranks have alike: whole ones, by their bytes.
io::NamedTensors share_of(const Group& group, const io::NamedTensors& tensors);

/// The whole state, from one file or from all pieces; the optimizer's moments are joined. Throws
/// ERR_COTS_CHECKPOINT when a piece is missing.
std::map<std::string, Tensor> read_state(const std::string& directory);

/// Marks a flat tensor of which each rank's piece has that rank's part.
bool is_in_parts(const std::string& name);

}  // namespace cots
