// io/safetensors: what it writes it reads back, what is wrong it refuses, and a file is either the
// old one or the new one.
#include "io/safetensors.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "io/failure.h"

namespace {

namespace fs = std::filesystem;
using at::Tensor;

/// A folder of its own, removed at the end.
struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "cots-test-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
};

/// A file from its header, with the header's size made to fit.
std::string write_raw(const Folder& folder, const std::string& header, size_t data_bytes,
                      int64_t claimed = -1) {
  const std::string file = folder.file("raw.safetensors");
  const uint64_t size = claimed < 0 ? header.size() : static_cast<uint64_t>(claimed);
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&size), 8);
  out << header << std::string(data_bytes, '\1');
  return file;
}

std::string failure_of(const std::string& file) {
  try {
    cots::io::read_safetensors(file);
  } catch (const cots::Failure& failure) {
    return failure.code + " " + failure.what();
  }
  return "no failure";
}

bool says(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("safetensors: every type and shape comes back bit for bit") {
  const Folder folder;
  const std::string file = folder.file("all.safetensors");
  cots::io::NamedTensors tensors;
  for (const auto type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16, at::kLong, at::kInt,
                          at::kShort, at::kChar, at::kByte, at::kBool})
    tensors.emplace_back(c10::toString(type), (at::rand({3, 5}) * 100 - 20).to(type));
  tensors.emplace_back("scalar", at::scalar_tensor(7, at::kLong));
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("strided", at::arange(12, at::kFloat).view({3, 4}).t());
  cots::io::write_safetensors(file, tensors, {{"format", "pt"}, {"note", "line\nand \"quote\""}});

  const auto read = cots::io::read_safetensors(file);
  REQUIRE(read.size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    const Tensor& found = read.at(name);
    CHECK((found.scalar_type() == tensor.scalar_type()));
    CHECK(found.sizes() == tensor.sizes());
    CHECK(at::equal(found, tensor));
  }
  const auto header = cots::io::read_safetensors_header(file);
  CHECK(header.metadata.at("note") == "line\nand \"quote\"");
  CHECK(header.data_offset % 8 == 0);
}

TEST_CASE("safetensors: tensors outlive the map they came in, and writing to one changes no file") {
  const Folder folder;
  const std::string file = folder.file("a.safetensors");
  cots::io::write_safetensors(file, {{"x", at::ones({4})}}, {});
  Tensor x = cots::io::read_safetensors(file).at("x");
  x.fill_(5);
  CHECK(at::equal(cots::io::read_safetensors(file).at("x"), at::ones({4})));
  CHECK(x.sum().item<float>() == 20);
}

TEST_CASE("safetensors: data that is not aligned in the file is read all the same") {
  const Folder folder;
  const std::string file =
      write_raw(folder, R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  REQUIRE(fs::file_size(file) % 4 != 0);
  CHECK(cots::io::read_safetensors(file).at("x").numel() == 2);
}

TEST_CASE("safetensors: malformed files are refused with the rule they break") {
  const Folder folder;
  const auto refused = [&](const char* rule, const std::string& header, size_t data = 8,
                           int64_t claimed = -1) {
    const std::string message = failure_of(write_raw(folder, header, data, claimed));
    INFO(header);
    INFO(message);
    CHECK(says(message, "ERR_COTS_CHECKPOINT"));
    CHECK(says(message, rule));
  };
  const std::string good = R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  CHECK(failure_of(write_raw(folder, good, 8)) == "no failure");
  refused("the file has", good, 8, 1000);
  refused("more than the limit", good, 8, 200'000'000);
  refused("more than the limit", good, 8, INT64_MAX);
  refused("no JSON", "{\"x\":", 8);
  refused("no JSON", "", 8);
  refused("no JSON object", "[1]", 8);
  refused("ends at byte 8", good, 4);
  refused("belong to none", good, 12);
  refused("its shape wants 12", R"({"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})");
  refused("are no range", R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})");
  refused("are no range", R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0]}})");
  refused("has no list 'shape'", R"({"x":{"dtype":"F32","data_offsets":[0,8]}})");
  refused("holds -2", R"({"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})");
  refused("holds 2.5", R"({"x":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})");
  refused("overflows",
          R"({"x":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}})");
  refused("overflows",
          R"({"x":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})");
  refused("unsupported dtype 'C64'", R"({"x":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})");
  refused("has no dtype", R"({"x":{"shape":[2],"data_offsets":[0,8]}})");
  refused("has no dtype", R"({"x":7})");
  refused(
      "overlaps",
      R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})");
  refused(
      "hole",
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
      12);
  refused(
      "listed twice",
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})");
  refused("holds a value of type array",
          R"({"x":{"dtype":"F32","shape":[[[2]]],"data_offsets":[0,8]}})");
  refused("holds a value of type string",
          R"({"x":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})");
  refused("__metadata__",
          R"({"__metadata__":{"a":1},"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})");
}

TEST_CASE("safetensors: a header nested beyond all measure is refused, not followed") {
  const Folder folder;
  constexpr size_t kDeep = 200'000;
  std::string lists(kDeep, '['), objects;
  for (size_t i = 0; i < kDeep; ++i) objects += R"({"x":)";
  lists.append(kDeep, ']');
  objects.append("1").append(kDeep, '}');
  for (const std::string& header :
       {c10::str(R"({"x":{"dtype":"F32","shape":)", lists, R"(,"data_offsets":[0,8]}})"),
        c10::str(R"({"__metadata__":{"a":)", lists, "}}"), lists, objects}) {
    const std::string message = failure_of(write_raw(folder, header, 8));
    CHECK(says(message, "ERR_COTS_CHECKPOINT"));
    CHECK(says(message, "nested deeper than"));
    CHECK(message.size() < 1000);
  }
}

TEST_CASE("safetensors: a short, empty, absent or unreadable file") {
  const Folder folder;
  std::ofstream(folder.file("empty"));
  std::ofstream(folder.file("short")) << "1234567";
  CHECK(says(failure_of(folder.file("empty")), "it has 0 bytes"));
  CHECK(says(failure_of(folder.file("short")), "it has 7 bytes"));
  CHECK(says(failure_of(folder.file("absent")), "ERR_COTS_FILE"));
  CHECK(says(failure_of(folder.file("absent")), "No such file"));
  CHECK(says(failure_of(folder.path.string()), "Is a directory"));
}

TEST_CASE("safetensors: a full disk throws, keeps the old file and leaves no torn one") {
  const Folder folder;
  const std::string file = folder.file("a.safetensors");
  cots::io::write_safetensors(file, {{"x", at::ones({4})}}, {});
  // The file beside is a link to the device that is always full.
  const std::string beside = file + ".tmp-" + std::to_string(::getpid());
  fs::create_symlink("/dev/full", beside);
  std::string message;
  try {
    cots::io::write_safetensors(file, {{"x", at::zeros({4})}}, {});
  } catch (const cots::Failure& failure) {
    message = failure.code + " " + failure.what();
  }
  CHECK(says(message, "ERR_COTS_FILE"));
  CHECK(says(message, "No space left on device"));
  CHECK(at::equal(cots::io::read_safetensors(file).at("x"), at::ones({4})));
  CHECK(!fs::exists(fs::symlink_status(beside)));
}

TEST_CASE("safetensors: a folder that is absent, or a directory for a file, is named") {
  const Folder folder;
  const auto message_of = [](const std::string& file) -> std::string {
    try {
      cots::io::write_safetensors(file, {{"x", at::ones({1})}}, {});
    } catch (const cots::Failure& failure) {
      return failure.what();
    }
    return "no failure";
  };
  CHECK(says(message_of(folder.file("none/a.safetensors")), "No such file or directory"));
  fs::create_directory(folder.path / "a.safetensors");
  fs::create_directory(folder.path / "a.safetensors" / "inside");
  CHECK(says(message_of(folder.file("a.safetensors")), "directory"));
}

TEST_CASE("safetensors: kill -9 at any moment leaves the old file or the new one, whole") {
  const Folder folder;
  const std::string file = folder.file("a.safetensors");
  const int64_t count = 1 << 20;
  cots::io::write_safetensors(file, {{"x", at::zeros({count})}}, {});
  for (int round = 0; round < 12; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // No parallel kernels in a forked child: plain memory, filled by hand.
      for (float value = 1;; ++value) {
        std::vector<float> data(static_cast<size_t>(count), value);
        cots::io::write_safetensors(file, {{"x", at::from_blob(data.data(), {count})}}, {});
      }
    }
    ::usleep(static_cast<useconds_t>(3000 + 2700 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const Tensor x = cots::io::read_safetensors(file).at("x");
    REQUIRE(x.numel() == count);
    CHECK(at::equal(x, x[0].expand({count})));
  }
}
