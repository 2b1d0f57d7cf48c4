// File descriptors, mapped files, and one wording for what the system refuses.
#pragma once

#include <cstdint>
#include <functional>
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

/// A regular file that is read in parts into memory of the caller: nothing of it is mapped, and it
/// stays what was opened when another is renamed over it.
class OpenFile {
 public:
  /// Throws ERR_COTS_FILE.
  explicit OpenFile(const std::string& file);
  const std::string& name() const { return name_; }
  uint64_t size() const { return size_; }
  /// From several threads at once, if need be. Throws ERR_COTS_FILE, also where the file has become
  /// shorter or was written since it was opened.
  void read(uint64_t offset, void* to, uint64_t bytes) const;
  /// Throws ERR_COTS_FILE where size or time of change are not what they were.
  void check_unchanged() const;

 private:
  std::string name_;
  FileHandle handle_;
  uint64_t size_ = 0;
  int64_t seconds_ = 0, nanoseconds_ = 0;  // of the last change
};

/// Writes to the file that replace_file() makes.
class FileWriter {
 public:
  FileWriter(int descriptor, const std::string& file) : descriptor_(descriptor), file_(file) {}
  void write(const void* data, uint64_t bytes) const;

 private:
  int descriptor_;
  const std::string& file_;
};

/// FILE whole or as it was: filled as FILE.tmp-PID, fsynced, renamed, its directory fsynced. Throws
/// ERR_COTS_FILE, or what `fill` throws, and leaves no torn file.
void replace_file(const std::string& file, const std::function<void(const FileWriter&)>& fill);

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
