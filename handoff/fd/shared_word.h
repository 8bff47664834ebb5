#ifndef HANDOFF_FD_SHARED_WORD_H_
#define HANDOFF_FD_SHARED_WORD_H_

#include <atomic>
#include <cstdint>

#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// One 32-bit word in a memfd that two processes map: what decides a handoff.
//
// The memfd is one page, sealed with F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_SEAL
// before it is mapped, so neither side can make the other's access a SIGBUS by
// truncation. A peer that may hold the word could still punch a hole into it,
// which would make it 0 again: that peer is trusted (proto/PROTOCOL.md).
//
// Thread-safe. Move-only; unmaps on destruction, the peer's mapping lives on.
class SharedWord {
 public:
  // A new word with value 0.
  static absl::StatusOr<SharedWord> Create();
  // Maps the word that a peer made. INVALID_ARGUMENT where `fd` is no memfd of
  // that size with those seals.
  static absl::StatusOr<SharedWord> Map(UniqueFd fd);

  SharedWord(SharedWord&& other) noexcept;
  SharedWord& operator=(SharedWord&& other) noexcept;
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;
  ~SharedWord();

  uint32_t Load() const;
  // Stores `desired` where the value is `expected`. Returns the value that the
  // word had before: equal to `expected` means that this call has stored.
  uint32_t CompareExchange(uint32_t expected, uint32_t desired);

  // To send; borrowed.
  int fd() const { return fd_.get(); }

 private:
  SharedWord(UniqueFd fd, std::atomic<uint32_t>* word);

  UniqueFd fd_;
  std::atomic<uint32_t>* word_ = nullptr;
};

}  // namespace handoff

#endif  // HANDOFF_FD_SHARED_WORD_H_
