#include "handoff/fd/shared_word.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "handoff/fd/memfd.h"

namespace handoff {
namespace {

// One page on most machines; where pages are larger, the kernel maps the file's
// 4096 bytes and zeros behind them.
constexpr size_t kBytes = 4096;

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// A lock in the process would not be seen by the other.
static_assert(std::atomic<uint32_t>::is_always_lock_free);
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));

}  // namespace

SharedWord::SharedWord(UniqueFd fd, std::atomic<uint32_t>* word)
    : fd_(std::move(fd)), word_(word) {}

SharedWord::SharedWord(SharedWord&& other) noexcept
    : fd_(std::move(other.fd_)), word_(std::exchange(other.word_, nullptr)) {}

SharedWord& SharedWord::operator=(SharedWord&& other) noexcept {
  if (this != &other) {
    if (word_ != nullptr) ::munmap(word_, kBytes);
    fd_ = std::move(other.fd_);
    word_ = std::exchange(other.word_, nullptr);
  }
  return *this;
}

SharedWord::~SharedWord() {
  if (word_ != nullptr) ::munmap(word_, kBytes);
}

absl::StatusOr<SharedWord> SharedWord::Create() {
  absl::StatusOr<UniqueFd> fd = MakeMemfd("handoff-word");
  if (!fd.ok()) return fd.status();
  if (::ftruncate(fd->get(), kBytes) < 0) {
    return absl::ErrnoToStatus(errno, "ftruncate of the word");
  }
  // Allocates the page now: where there is no memory left, the first access
  // through a mapping of a hole would be a SIGBUS.
  if (const int error = ::posix_fallocate(fd->get(), 0, kBytes); error != 0) {
    return absl::ErrnoToStatus(error, "posix_fallocate of the word");
  }
  if (::fcntl(fd->get(), F_ADD_SEALS, kFixedSize) < 0) {
    return absl::ErrnoToStatus(errno, "fcntl(F_ADD_SEALS)");
  }
  return Map(*std::move(fd));
}

absl::StatusOr<SharedWord> SharedWord::Map(UniqueFd fd) {
  if (absl::Status sealed = CheckSeals(fd.get(), kFixedSize); !sealed.ok()) {
    return sealed;
  }
  struct stat status;
  if (::fstat(fd.get(), &status) < 0)
    return absl::ErrnoToStatus(errno, "fstat");
  if (status.st_size != static_cast<off_t>(kBytes)) {
    return absl::InvalidArgumentError("the word's memfd has the wrong size");
  }
  void* memory =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) {
    const int error = errno;
    // EPERM: sealed against writing. EACCES: opened for reading only.
    if (error == EPERM || error == EACCES) {
      return absl::InvalidArgumentError("the word's memfd cannot be written");
    }
    return absl::ErrnoToStatus(error, "mmap of the word");
  }
  return SharedWord(std::move(fd), static_cast<std::atomic<uint32_t>*>(memory));
}

uint32_t SharedWord::Load() const {
  return word_->load(std::memory_order_seq_cst);
}

uint32_t SharedWord::CompareExchange(uint32_t expected, uint32_t desired) {
  word_->compare_exchange_strong(expected, desired, std::memory_order_seq_cst);
  // Holds the value that was found, and still the expected one on success.
  return expected;
}

}  // namespace handoff
