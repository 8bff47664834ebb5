#ifndef HANDOFF_SERVER_BODY_STORE_H_
#define HANDOFF_SERVER_BODY_STORE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/connection_owner.h"
#include "server/server_state.pb.h"

namespace handoff::server {

// A request body that grows: in memory as long as it is small, then in a memfd,
// which moves with the connection as one more descriptor. So a cut costs the
// same however large the body is.
//
// Every access to the file names its offset: the file's own offset is shared
// with the process on the other side of a handoff.
class BodyStore {
 public:
  static constexpr size_t kMemoryBytes = 64 * 1024;

  // `owner` keeps the file and outlives this.
  explicit BodyStore(ConnectionOwner* owner) : owner_(owner) {}

  uint64_t size() const { return file_ >= 0 ? file_bytes_ : memory_.size(); }

  // RESOURCE_EXHAUSTED where there is no descriptor or memory for the file;
  // other codes by absl::ErrnoToStatus.
  absl::Status Append(absl::string_view bytes);

  // Reads up to to.size() bytes at `offset`; none only at the end.
  // DATA_LOSS where the file is shorter than it should be.
  absl::StatusOr<size_t> Read(uint64_t offset, absl::Span<char> to) const;

  void Clear();

  void Save(v1::Body* state) const;

  // `file` is borrowed, -1 where the owner has none.
  // INVALID_ARGUMENT  the state speaks of more than the file has
  absl::Status Restore(const v1::Body& state, int file);

 private:
  absl::Status MoveToFile();
  absl::Status WriteAll(absl::string_view bytes);

  ConnectionOwner* const owner_;
  std::string memory_;
  int file_ = -1;
  uint64_t file_bytes_ = 0;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_BODY_STORE_H_
