#include "train/checkpoint_part.h"

#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <vector>

#include "io/failure.h"

namespace cots {
namespace {

const std::map<std::string, std::string> kMetadata = {{"format", "pt"}};
constexpr const char* kWhole = "state.safetensors";
constexpr const char* kPiece = "state-%05d-of-%05d.safetensors";
constexpr const char* kAnyPiece = "state-%5d-of-%5d.safetensors%c";

std::string piece_name(int piece, int pieces) {
  char name[64];
  std::snprintf(name, sizeof name, kPiece, piece, pieces);
  return name;
}

io::NamedTensors clone_all(const io::NamedTensors& tensors) {
  io::NamedTensors copies;
  for (const auto& [name, tensor] : tensors)
    copies.emplace_back(name,
                        tensor.detach().to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true));
  return copies;
}

/// Paths of the state's files, in order.
std::vector<std::string> state_files(const std::string& directory) {
  namespace fs = std::filesystem;
  const fs::path folder(directory);
  int pieces = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    int piece = 0, of = 0;
    char more = 0;
    if (std::sscanf(entry.path().filename().c_str(), kAnyPiece, &piece, &of, &more) == 2)
      pieces = of;
  }
  if (pieces == 0) return {(folder / kWhole).string()};
  std::vector<std::string> files;
  for (int piece = 1; piece <= pieces; ++piece) {
    files.push_back((folder / piece_name(piece, pieces)).string());
    if (!fs::exists(files.back()))
      throw Failure("ERR_COTS_CHECKPOINT", "Expected the state in " + std::to_string(pieces) +
                                               " pieces, found no " + files.back() +
                                               ". Use an older checkpoint.");
  }
  return files;
}

}  // namespace

CheckpointPart CheckpointPart::copy() const {
  return {clone_all(model), clone_all(state), state_file};
}

void CheckpointPart::write(const std::string& directory) const {
  io::write_safetensors(directory + "/" + state_file, state, kMetadata);
  if (!model.empty()) io::write_safetensors(directory + "/model.safetensors", model, kMetadata);
}

void CheckpointPart::write(const std::string& directory, const io::GiveBytes& give) const {
  io::write_safetensors(directory + "/" + state_file, state, kMetadata, give);
  if (!model.empty())
    io::write_safetensors(directory + "/model.safetensors", model, kMetadata, give);
}

std::string state_file_name(const Group& group) {
  if (group.world() == 1) return kWhole;
  return piece_name(static_cast<int>(group.rank()) + 1, static_cast<int>(group.world()));
}

io::NamedTensors share_of(const Group& group, const io::NamedTensors& tensors) {
  size_t total = 0, before = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.nbytes();
  io::NamedTensors own;
  for (const auto& [name, tensor] : tensors) {
    const auto rank = static_cast<int64_t>(before * static_cast<size_t>(group.world()) / total);
    if (rank == group.rank()) own.emplace_back(name, tensor);
    before += tensor.nbytes();
  }
  return own;
}

bool is_in_parts(const std::string& name) {
  return name == "optimizer.exp_avg" || name == "optimizer.exp_avg_sq";
}

std::map<std::string, Tensor> read_state(const std::string& directory) {
  std::map<std::string, Tensor> state;
  std::map<std::string, std::vector<Tensor>> parts;
  const std::vector<std::string> files = state_files(directory);
  for (const std::string& file : files)
    for (auto& [name, tensor] : io::read_safetensors(file)) {
      if (is_in_parts(name))
        parts[name].push_back(tensor);
      else
        state.emplace(name, std::move(tensor));
    }
  for (const auto& [name, list] : parts)
    state.emplace(name, list.size() == 1 ? list.front() : at::cat(list));
  return state;
}

}  // namespace cots
