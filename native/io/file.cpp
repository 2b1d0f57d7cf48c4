#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/failure.h"

namespace cots::io {
namespace {

constexpr uint64_t kMostBytes = 1 << 30;  // of one call of the system

/// A regular file's status. Throws ERR_COTS_FILE for a folder or a device.
struct stat status_of(int descriptor, const std::string& file) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) system_failure("read", file, errno);
  if (!S_ISREG(status.st_mode))
    system_failure("read", file, S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
  return status;
}

int open_to_read(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) system_failure("read", file, errno);
  return descriptor;
}

void sync_directory_of(const std::string& file) {
  const size_t slash = file.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : file.substr(0, slash);
  FileHandle handle(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool synced =
      handle.get() >= 0 &&
      (::fsync(handle.get()) == 0 || errno == EINVAL);  // EINVAL: the file system syncs no folders
  if (!synced) system_failure("sync", directory, errno);
}

void write_beside(const std::string& file, const std::function<void(const FileWriter&)>& fill) {
  FileHandle handle(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (handle.get() < 0) system_failure("write", file, errno);
  fill(FileWriter(handle.get(), file));
  if (::fsync(handle.get()) != 0) system_failure("write", file, errno);
  if (handle.close() != 0) system_failure("write", file, errno);
}

}  // namespace

void system_failure(const std::string& what, const std::string& file, int error) {
  const char* way_out = error == ENOSPC || error == EDQUOT
                            ? " Free some space or choose another folder."
                        : error == EACCES || error == EPERM || error == EROFS
                            ? " Check the permissions of the folder."
                        : error == ENOENT ? " Check the path."
                                          : "";
  throw Failure("ERR_COTS_FILE", "Expected to " + what + " " + file +
                                     ", got: " + std::strerror(error) + "." + way_out);
}

FileHandle::~FileHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int FileHandle::close() {
  const int result = ::close(descriptor_);
  descriptor_ = -1;
  return result;
}

OpenFile::OpenFile(const std::string& file) : name_(file), handle_(open_to_read(file)) {
  const struct stat status = status_of(handle_.get(), file);
  size_ = static_cast<uint64_t>(status.st_size);
  seconds_ = status.st_mtim.tv_sec;
  nanoseconds_ = status.st_mtim.tv_nsec;
}

void OpenFile::read(uint64_t offset, void* to, uint64_t bytes) const {
  auto* next = static_cast<uint8_t*>(to);
  while (bytes > 0) {
    const ssize_t count =
        ::pread(handle_.get(), next, std::min(bytes, kMostBytes), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) system_failure("read", name_, errno);
    if (count == 0) check_unchanged();  // throws: the end came before size()
    next += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<uint64_t>(count);
  }
}

void OpenFile::check_unchanged() const {
  const struct stat now = status_of(handle_.get(), name_);
  if (static_cast<uint64_t>(now.st_size) != size_ || now.st_mtim.tv_sec != seconds_ ||
      now.st_mtim.tv_nsec != nanoseconds_)
    throw Failure("ERR_COTS_FILE",
                  "Expected " + name_ +
                      " to stay as it was when it was opened, it has been written since. Open it "
                      "again, and replace files in use by renaming.");
}

void FileWriter::write(const void* data, uint64_t bytes) const {
  const auto* next = static_cast<const uint8_t*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, next, std::min(bytes, kMostBytes));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) system_failure("write", file_, errno);
    next += written;
    bytes -= static_cast<uint64_t>(written);
  }
}

void replace_file(const std::string& file, const std::function<void(const FileWriter&)>& fill) {
  const std::string beside = file + ".tmp-" + std::to_string(::getpid());
  try {
    write_beside(beside, fill);
    if (::rename(beside.c_str(), file.c_str()) != 0) system_failure("write", file, errno);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  sync_directory_of(file);
}

MappedFile::MappedFile(const std::string& file) {
  FileHandle handle(open_to_read(file));
  size_ = static_cast<uint64_t>(status_of(handle.get(), file).st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, handle.get(), 0);
  if (address == MAP_FAILED) system_failure("map", file, errno);
  data_ = static_cast<uint8_t*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace cots::io
