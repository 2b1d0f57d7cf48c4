// Weights that stay in their file until a plan is made: what is checked at once, what is held, and
// what happens when the file changes meanwhile.
#include "infer/file_weights.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "infer/embedder.h"
#include "io/safetensors.h"
#include "tiny-trainer.h"

using namespace cots;
using tiny::failure_of;
using tiny::says;

namespace {

std::string text_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

/// The weights of a small model in `type`, `name` with its last value replaced.
void write_weights(const std::string& file, at::ScalarType type, const std::string& name = "",
                   double last = 0) {
  const Embedder embedder(tiny::config().model, 5);
  io::NamedTensors tensors;
  for (const Parameter& parameter : embedder.parameters().all()) {
    const Tensor value = parameter.value.to(type, /*non_blocking=*/false, /*copy=*/true);
    if (parameter.name == name) value.view({-1})[-1].fill_(last);
    tensors.emplace_back(parameter.name, value);
  }
  io::write_safetensors(file, tensors, {});
}

}  // namespace

TEST_CASE("file weights: every type comes as float32, and nothing of the file is mapped") {
  const tiny::Folder folder;
  const std::string file = folder.file("model.safetensors");
  const Embedder embedder(tiny::config().model, 5);
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble}) {
    write_weights(file, type);
    const FileWeights weights(tiny::config().model, file);
    for (const Parameter& parameter : embedder.parameters().all())
      CHECK(at::equal(weights.weight(parameter.name), parameter.value.to(type).to(at::kFloat)));
    CHECK(weights.count("visual.") + weights.count("text.") == embedder.parameters().count());
    CHECK(!says(text_of("/proc/self/maps"), file.c_str()));
  }
}

TEST_CASE("file weights: one number that is not finite is named, in every type and at the end") {
  const tiny::Folder folder;
  const std::string file = folder.file("model.safetensors");
  const double infinity = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  for (const at::ScalarType type : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble})
    for (const double value : {nan, infinity, -infinity}) {
      write_weights(file, type, "text.blocks.0.fc1.weight", value);
      const std::string message = failure_of([&] { FileWeights(tiny::config().model, file); });
      CHECK(says(message, "'text.blocks.0.fc1.weight'"));
      CHECK(says(message, "NaN or infinity"));
    }
}

TEST_CASE(
    "file weights: another file renamed over it changes nothing, writing into it is refused") {
  const tiny::Folder folder;
  const std::string file = folder.file("model.safetensors");
  write_weights(file, at::kFloat);
  const std::string before = text_of(file);
  const FileWeights weights(tiny::config().model, file);
  const Tensor expected = weights.weight("visual.proj.weight");
  write_weights(file, at::kFloat, "visual.proj.weight", 123);  // written beside and renamed
  CHECK(at::equal(weights.weight("visual.proj.weight"), expected));
  weights.save(folder.file("again.safetensors"));
  CHECK(text_of(folder.file("again.safetensors")) == before);

  const FileWeights second(tiny::config().model, file);
  std::filesystem::resize_file(file, before.size() / 2);
  const std::string message = failure_of([&] { second.weight("visual.proj.weight"); });
  CHECK(says(message, "ERR_COTS_FILE"));
  CHECK(says(message, "written since"));
  CHECK(says(failure_of([&] { second.save(folder.file("torn.safetensors")); }), "ERR_COTS_FILE"));
  CHECK(!std::filesystem::exists(folder.file("torn.safetensors")));
}
