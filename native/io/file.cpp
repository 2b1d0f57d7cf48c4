#include "io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/failure.h"

namespace cots::io {

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

MappedFile::MappedFile(const std::string& file) {
  FileHandle handle(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (handle.get() < 0) system_failure("read", file, errno);
  struct stat status {};
  if (::fstat(handle.get(), &status) != 0) system_failure("read", file, errno);
  if (!S_ISREG(status.st_mode))
    system_failure("read", file, S_ISDIR(status.st_mode) ? EISDIR : EINVAL);
  size_ = static_cast<uint64_t>(status.st_size);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, handle.get(), 0);
  if (address == MAP_FAILED) system_failure("map", file, errno);
  data_ = static_cast<uint8_t*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace cots::io
