// A checkpoint that is written beside the steps that follow has the state as it was, and no copy of
// what is written in time.
#include "train/capture.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "counted-memory.h"
#include "tiny-trainer.h"

namespace {

using at::Tensor;

std::string bytes_of(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A folder in that one.
std::string made(const tiny::Folder& folder, const std::string& name) {
  std::filesystem::create_directories(folder.path / name);
  return folder.file(name.c_str());
}

/// One tensor a little longer than some pieces, and one that is no piece of memory.
cots::CheckpointPart part_of(const Tensor& large, const Tensor& strided) {
  return {{{"visual.weight", strided}}, {{"moments", large}}, "state.safetensors"};
}

}  // namespace

TEST_CASE("steps leave what a capture writes as it was, written before or after them") {
  tiny::Folder folder;
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  const auto path = [&](const char* name) { return made(folder, name); };
  trainer.step(tiny::batch(1));
  const std::string before = path("before"), late = path("late"), at_once = path("at-once");
  const auto capture = trainer.capture();
  trainer.save(before);
  trainer.step(tiny::batch(2));
  trainer.step(tiny::batch(3));
  capture->write(late);
  const auto next = trainer.capture();
  next->write(at_once);
  for (const char* file : {"/model.safetensors", "/state.safetensors"}) {
    CHECK(bytes_of(late + file) == bytes_of(before + file));
    CHECK(bytes_of(at_once + file) != bytes_of(before + file));
    CHECK(bytes_of(late + file).size() > 1000);
  }

  cots::Trainer resumed(tiny::config(), tiny::tokenizer());
  resumed.restore(late);
  resumed.step(tiny::batch(2));
  resumed.step(tiny::batch(3));
  const auto again = path("again");
  resumed.capture()->write(again);
  for (const char* file : {"/model.safetensors", "/state.safetensors"})
    CHECK(bytes_of(again + file) == bytes_of(at_once + file));
}

TEST_CASE("going back, other weights and keys of a prefill leave a capture as it was too") {
  tiny::Folder folder;
  cots::Trainer trainer(tiny::config(), tiny::tokenizer());
  const auto path = [&](const char* name) { return made(folder, name); };
  const std::string start = path("start");
  trainer.save(start);
  trainer.step(tiny::batch(1));
  const std::string before = path("before");
  const auto check = [&](const char* name, const std::function<void()>& change) {
    const auto capture = trainer.capture();
    trainer.save(before);
    change();
    capture->write(path(name));
    for (const char* file : {"/model.safetensors", "/state.safetensors"})
      CHECK_MESSAGE(bytes_of(folder.file(name) + file) == bytes_of(before + file), name);
  };
  check("prefill", [&] { trainer.prefill(tiny::batch(4)); });
  check("init", [&] { trainer.initialize_from(start + "/model.safetensors"); });
  check("restore", [&] { trainer.restore(start); });
}

TEST_CASE("a tensor that changes in the midst of its writing is written as it was") {
  tiny::Folder folder;
  const Tensor strided = at::arange(12, at::kFloat).view({3, 4}).t();
  const Tensor kept = at::arange(6'000'000, at::kFloat);
  const std::string plain = made(folder, "plain");
  part_of(kept, strided).write(plain);
  for (const int delay : {0, 2, 5, 10, 20}) {
    Tensor large = kept.clone(), small = strided.clone(at::MemoryFormat::Preserve);
    cots::Capture capture(part_of(large, small));
    const std::string changed = made(folder, std::to_string(delay));
    std::thread writer([&] { capture.write(changed); });
    std::this_thread::sleep_for(std::chrono::milliseconds(delay));
    capture.detach();
    large.fill_(-1), small.fill_(-1);
    writer.join();
    for (const char* file : {"/model.safetensors", "/state.safetensors"})
      CHECK(bytes_of(changed + file) == bytes_of(plain + file));
  }
}

TEST_CASE("what is written before it changes takes no memory") {
  tiny::Folder folder;
  const Tensor large = at::zeros({6'000'000}), small = at::zeros({3, 4});
  cots::Capture written(part_of(large, small)), late(part_of(large, small));
  const cots::test::CountedMemory memory;
  written.write(folder.path.string());
  written.detach();
  CHECK(memory.alive() == 0);
  late.detach();
  CHECK(memory.alive() == large.nbytes() + small.nbytes());
}
