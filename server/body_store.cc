#include "server/body_store.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "handoff/fd/unique_fd.h"

namespace handoff::server {
namespace {

absl::Status FileError(absl::string_view what) {
  const int error = errno;
  if (error == EMFILE || error == ENFILE || error == ENOMEM ||
      error == ENOSPC) {
    return absl::ResourceExhaustedError(
        absl::ErrnoToStatus(error, what).message());
  }
  return absl::ErrnoToStatus(error, what);
}

}  // namespace

absl::Status BodyStore::Append(absl::string_view bytes) {
  if (file_ < 0) {
    if (memory_.size() + bytes.size() <= kMemoryBytes) {
      memory_.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    }
    if (absl::Status s = MoveToFile(); !s.ok()) return s;
  }
  return WriteAll(bytes);
}

absl::Status BodyStore::MoveToFile() {
  UniqueFd file(memfd_create("http-body", MFD_CLOEXEC));
  if (!file) return FileError("memfd_create");
  absl::StatusOr<int> kept = owner_->KeepBody(std::move(file));
  if (!kept.ok()) return kept.status();
  file_ = *kept;
  file_bytes_ = 0;
  absl::Status written = WriteAll(memory_);
  std::string().swap(memory_);
  return written;
}

absl::Status BodyStore::WriteAll(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(file_, bytes.data(), bytes.size(),
                             static_cast<off_t>(file_bytes_));
    if (n < 0) {
      if (errno == EINTR) continue;
      return FileError("pwrite");
    }
    file_bytes_ += static_cast<uint64_t>(n);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> BodyStore::Read(uint64_t offset,
                                       absl::Span<char> to) const {
  const uint64_t left = size() - std::min(size(), offset);
  const size_t want = static_cast<size_t>(std::min<uint64_t>(left, to.size()));
  if (want == 0) return 0;
  if (file_ < 0) {
    memcpy(to.data(), memory_.data() + offset, want);
    return want;
  }
  ssize_t n;
  do {
    n = pread(file_, to.data(), want, static_cast<off_t>(offset));
  } while (n < 0 && errno == EINTR);
  if (n < 0) return FileError("pread");
  if (n == 0) return absl::DataLossError("a body's file is too short");
  return static_cast<size_t>(n);
}

void BodyStore::Clear() {
  if (file_ >= 0) owner_->CloseBody();
  file_ = -1;
  file_bytes_ = 0;
  // Idle connections are many: they keep no buffer.
  std::string().swap(memory_);
}

void BodyStore::Save(v1::Body* state) const {
  if (file_ >= 0) {
    state->set_file_bytes(file_bytes_);
  } else {
    state->set_bytes(memory_);
  }
}

absl::Status BodyStore::Restore(const v1::Body& state, int file) {
  memory_ = state.bytes();
  file_ = file;
  file_bytes_ = state.file_bytes();
  if (file_bytes_ == 0) {
    if (file >= 0) {
      return absl::InvalidArgumentError("a body's file that no state mentions");
    }
    return absl::OkStatus();
  }
  struct stat info;
  if (file < 0 || fstat(file, &info) != 0 || info.st_size < 0 ||
      static_cast<uint64_t>(info.st_size) < file_bytes_ || !memory_.empty()) {
    return absl::InvalidArgumentError(
        "a body's state and its file do not fit together");
  }
  return absl::OkStatus();
}

}  // namespace handoff::server
