#ifndef HANDOFF_STORE_LOG_H_
#define HANDOFF_STORE_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"
#include "proto/store.pb.h"

namespace handoff {

// The head of a log, which changes in place. PROTOCOL.md has its layout.
struct StoreLogHead {
  // Processes that began to adopt this state and have not lived with it long
  // enough since.
  uint32_t attempts = 0;
  // The highest that its writer's line has given out.
  uint64_t generation = 0;
  // CLOCK_MONOTONIC in nanoseconds: of several logs the last one counts.
  uint64_t made_at = 0;
};

// A log of entries in a memfd, for the process after this one, should this one
// die without a word. What was committed stays readable wherever the writer is
// killed: each Commit() ends by writing one number, the length that counts.
//
// Not thread-safe.
class StoreLog {
 public:
  static absl::StatusOr<std::unique_ptr<StoreLog>> Create(StoreLogHead head);

  // Appends; a later entry of the same key replaces an earlier one. Errors show
  // at the next Commit().
  void Put(const std::string& key, const v1::StoredEntry& entry);
  // Appends `tombstone` where there is something of that key.
  void Erase(const std::string& key, const v1::StoredEntry& tombstone);
  // What was appended counts from here on. After an error the log is as it was
  // at the Commit() before, and only good for being read.
  absl::Status Commit();

  absl::Status SetAttempts(uint32_t attempts);
  absl::Status SetGeneration(uint64_t generation);

  // Whether replaced entries take most of it: more than twice what counts, and
  // 1 MiB.
  bool wasteful() const;
  // A new log of what counts, committed, made at `made_at`.
  absl::StatusOr<std::unique_ptr<StoreLog>> Compacted(uint64_t made_at) const;

  const SharedFd& fd() const { return fd_; }
  uint64_t made_at() const { return head_.made_at; }
  uint64_t bytes() const { return committed_; }

 private:
  struct Place {
    uint64_t offset = 0;  // in the memfd
    uint64_t bytes = 0;
  };

  StoreLog(UniqueFd fd, StoreLogHead head);

  void Append(absl::string_view framed);
  void Flush();
  absl::Status WriteHead();

  const SharedFd fd_;
  StoreLogHead head_;
  uint64_t committed_;
  uint64_t written_;     // to the memfd
  std::string pending_;  // behind that
  uint64_t live_ = 0;    // bytes of what counts
  std::unordered_map<std::string, Place> places_;
  absl::Status failed_;
};

struct StoreLogContent {
  StoreLogHead head;
  std::vector<v1::StoredEntry> entries;
  // Why reading ended before the end; what was read until then is whole.
  absl::Status rest;
};

// What `fd` holds. Believes nothing of it: a count or a length that makes no
// sense, or bytes that are not those that were written, end the reading. Does
// not move the file offset.
//
// INVALID_ARGUMENT     it is no log
// FAILED_PRECONDITION  a log in a format that this code does not know
// RESOURCE_EXHAUSTED   more than `max_bytes`
absl::StatusOr<StoreLogContent> ReadStoreLog(int fd, uint64_t max_bytes);

// In place, in a log that another process has written.
absl::Status SetStoreLogAttempts(int fd, uint32_t attempts);

}  // namespace handoff

#endif  // HANDOFF_STORE_LOG_H_
