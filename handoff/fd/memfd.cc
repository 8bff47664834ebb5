#include "handoff/fd/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// include/uapi/linux/memfd.h since Linux 6.3. Where vm.memfd_noexec is 2, a
// memfd that could be executed is refused.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

// NAME_MAX less the kernel's prefix "memfd:" (memfd_create(2)).
constexpr size_t kMaxNameBytes = 249;

constexpr int kImmutable =
    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::StatusOr<size_t> SealedSize(int fd, size_t max_bytes) {
  if (absl::Status sealed = CheckSeals(fd, kImmutable); !sealed.ok()) {
    return sealed;
  }
  struct stat status;
  if (::fstat(fd, &status) < 0) return absl::ErrnoToStatus(errno, "fstat");
  const auto size = static_cast<size_t>(status.st_size);
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a memfd of ", size, " bytes: at most ", max_bytes, " are allowed"));
  }
  return size;
}

}  // namespace

absl::StatusOr<UniqueFd> MakeMemfd(absl::string_view name) {
  const std::string text(name.substr(0, kMaxNameBytes));
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(text.c_str(), kFlags | MFD_NOEXEC_SEAL));
  if (!fd.valid() && errno == EINVAL) {
    fd.reset(::memfd_create(text.c_str(), kFlags));
  }
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "memfd_create");
  return fd;
}

absl::Status CheckSeals(int fd, int seals) {
  const int has = ::fcntl(fd, F_GET_SEALS);
  if (has < 0) {
    // EINVAL: a file that cannot be sealed. EBADF: not open, or O_PATH.
    return absl::InvalidArgumentError("not a memfd");
  }
  if ((has & seals) != seals) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the memfd has the seals 0x", absl::Hex(has), ", not all of 0x",
        absl::Hex(seals), ": its content could change"));
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> MakeSealedMemfd(absl::string_view name,
                                         absl::string_view bytes) {
  absl::StatusOr<UniqueFd> fd = MakeMemfd(name);
  if (!fd.ok()) return fd;
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd->get(), bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "write to a memfd");
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (absl::Status sealed = SealMemfd(fd->get()); !sealed.ok()) return sealed;
  return fd;
}

absl::Status SealMemfd(int fd) {
  if (::fcntl(fd, F_ADD_SEALS, kImmutable) < 0) {
    return absl::ErrnoToStatus(errno, "fcntl(F_ADD_SEALS)");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSealedMemfd(int fd, size_t max_bytes) {
  const absl::StatusOr<size_t> sealed = SealedSize(fd, max_bytes);
  if (!sealed.ok()) return sealed.status();
  const size_t size = *sealed;
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < size) {
    // pread: the file offset is shared with whoever sent the descriptor.
    const ssize_t count =
        ::pread(fd, &bytes[done], size - done, static_cast<off_t>(done));
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EBADF) {
        return absl::InvalidArgumentError("the memfd is not open for reading");
      }
      return absl::ErrnoToStatus(errno, "pread from a memfd");
    }
    if (count == 0) return absl::InternalError("a sealed memfd has shrunk");
    done += static_cast<size_t>(count);
  }
  return bytes;
}

absl::StatusOr<SealedMapping> SealedMapping::Map(int fd, size_t max_bytes) {
  const absl::StatusOr<size_t> size = SealedSize(fd, max_bytes);
  if (!size.ok()) return size.status();
  if (*size == 0) return SealedMapping(absl::string_view());
  // Private: a shared one of a file sealed against writing is refused before
  // Linux 6.7, though it is only for reading.
  void* const mapped =
      ::mmap(nullptr, *size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (mapped == MAP_FAILED) return absl::ErrnoToStatus(errno, "mmap");
  return SealedMapping(
      absl::string_view(static_cast<const char*>(mapped), *size));
}

SealedMapping::~SealedMapping() {
  if (bytes_.empty()) return;
  ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

}  // namespace handoff
