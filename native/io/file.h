// File descriptors, mapped files, and one wording for what the system refuses.
#pragma once

#include <cstdint>
#include <string>

namespace cots::io {

/// Throws ERR_COTS_FILE: "Expected to WHAT FILE, got: ...", with a way out where there is a usual
/// one.
[[noreturn]] void system_failure(const std::string& what, const std::string& file, int error);

/// A descriptor that is closed at the end of its scope.
class FileHandle {
 public:
  explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
  ~FileHandle();
  FileHandle(const FileHandle&) = delete;
  int get() const { return descriptor_; }
  /// Closes now and tells: a full disk may show itself only here.
  int close();

 private:
  int descriptor_;
};

/// A whole regular file in memory, copy-on-write: the bytes are writable, the file never changes.
/// What another process cuts off is gone under our hands (SIGBUS), so files that are mapped are
/// replaced by renaming, never written again.
class MappedFile {
 public:
  /// Throws ERR_COTS_FILE. An empty file has no bytes.
  explicit MappedFile(const std::string& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace cots::io
