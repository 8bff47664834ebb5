#ifndef HANDOFF_STORE_SHELF_H_
#define HANDOFF_STORE_SHELF_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "handoff/descriptor_store.h"
#include "handoff/fd/unique_fd.h"
#include "proto/store.pb.h"

namespace handoff {

// The blob in which a predecessor tells what it has in the store.
inline constexpr char kStoreBlob[] = "handoff.store";

// Names that begin with this are the library's. They are short: see below.
inline constexpr char kStorePrefix = '~';

// What the names of all descriptors may come to, each with a separator:
// LISTEN_FDNAMES is one string, for which there are 128 KiB (MAX_ARG_STRLEN,
// execve(2)). With more the next process could not be started at all.
inline constexpr size_t kMaxStoredNameBytes = 120'000;

// "~" and the id in base 36; and of a log.
std::string StoredSessionName(uint64_t id);
std::string StoredLogName(uint64_t made_at);
bool IsStoredLogName(absl::string_view name);
// nullopt where it is no session's.
absl::optional<uint64_t> StoredSessionOf(absl::string_view name);
// OK where a store can have something of the service under this name.
absl::Status CheckStorable(absl::string_view name);

// Of what descriptors are, in their order.
uint64_t Fingerprint(absl::Span<const v1::DescriptorInfo> infos);

// What a store is to hold, what it holds, and the way from one to the other.
// Not thread-safe.
class StoreShelf {
 public:
  // What a store is asked to do in one Flush() at most: whoever keeps things
  // has others to look after.
  static constexpr int kMostAtOnce = 256;

  // `holds`: what is in the store to begin with.
  StoreShelf(DescriptorStore* store, const v1::StoreContents& holds);

  // Of descriptors that are in the store already only the fingerprint counts.
  void Want(const std::string& name, std::vector<SharedFd> fds,
            uint64_t fingerprint, bool connection);
  void Unwant(const std::string& name);

  // Carries out what was asked for, in the order of the names' first request.
  // OK also where there is more to do. An error, other than UNAVAILABLE, is of
  // the last name that could not be kept; that is given up.
  absl::Status Flush();
  // Forgets what was asked for and is not done: what is held is as it is.
  void DropRequests();
  bool busy() const { return !queue_.empty(); }
  // Why the last Flush() got no further; OK where it had no more to do, or was
  // to do no more at once.
  const absl::Status& stalled() const { return stalled_; }

  // What is wanted under `name`; 0: nothing.
  size_t Wanted(const std::string& name) const;
  // Descriptors that are wanted.
  size_t descriptors() const { return descriptors_; }
  // Of their names, as kMaxStoredNameBytes counts.
  size_t name_bytes() const { return name_bytes_; }
  std::vector<std::string> names() const;
  v1::StoreContents Contents() const;

 private:
  struct Item {
    absl::optional<uint64_t> held;
    absl::optional<uint64_t> wanted;
    std::vector<SharedFd> fds;  // until they are held
    size_t count = 0;           // of what is wanted
    bool connection = false;
    bool queued = false;
  };
  void Enqueue(const std::string& name, Item& item);
  void Count(const std::string& name, Item& item, size_t count);
  // False where the store has no time.
  bool Carry(const std::string& name, Item& item, absl::Status& failed);

  DescriptorStore* const store_;
  std::map<std::string, Item> items_;
  std::deque<std::string> queue_;
  absl::Status stalled_;
  size_t descriptors_ = 0;
  size_t name_bytes_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_STORE_SHELF_H_
