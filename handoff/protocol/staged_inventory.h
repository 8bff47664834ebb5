#ifndef HANDOFF_PROTOCOL_STAGED_INVENTORY_H_
#define HANDOFF_PROTOCOL_STAGED_INVENTORY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/settings.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What a successor has received: pure bookkeeping over frames. Owns every
// descriptor that it holds; destroying it before the commit is how an aborted
// successor gives everything back.
class StagedInventory {
 public:
  struct Named {
    v1::Descriptors::Role role;
    std::string name;
    std::string address;
    SharedFd fd;
  };
  struct Blob {
    google::protobuf::Any value;
    SharedFd memfd;  // where the value is not inline
  };
  struct Session {
    // As it was last sent; its indices into a frame mean nothing any more.
    v1::SessionRecord record;
    // In the order of record.descriptors().
    std::vector<SharedFd> descriptors;
    SharedFd state_memfd;
  };

  explicit StagedInventory(const Limits& limits) : limits_(limits) {}

  // Takes a frame of a batch with its descriptors. INVALID_ARGUMENT where it
  // contradicts itself or what came before; RESOURCE_EXHAUSTED over a limit.
  // After an error the inventory is only good for being destroyed.
  absl::Status Apply(const v1::Frame& frame, std::vector<UniqueFd> descriptors);

  // INVALID_ARGUMENT, with the counts, where we hold something else.
  absl::Status CheckCounts(uint64_t descriptors, uint64_t blobs,
                           uint64_t sessions) const;

  std::vector<Named>& named() { return named_; }
  std::map<std::string, Blob>& blobs() { return blobs_; }
  std::map<uint64_t, Session>& sessions() { return sessions_; }
  // Sessions that stay with the predecessor, and why; by id.
  const std::map<uint64_t, v1::KeptSession>& kept() const { return kept_; }
  // Sessions that ended at the predecessor after they had been sent.
  const std::set<uint64_t>& closed() const { return closed_; }

  // What has come, changed or gone since the last call.
  struct Changes {
    std::set<std::string> blobs;
    std::set<uint64_t> sessions;  // new or changed
    std::set<uint64_t> gone;      // closed or kept
  };
  Changes TakeChanges();

 private:
  absl::Status ApplyDescriptors(const v1::Descriptors& batch,
                                std::vector<SharedFd>& fds);
  absl::Status ApplyBlobs(const v1::Blobs& batch, std::vector<SharedFd>& fds);
  absl::Status ApplySessions(const v1::Sessions& batch,
                             std::vector<SharedFd>& fds);
  absl::Status ApplyRecord(const v1::SessionRecord& record,
                           std::vector<SharedFd>& fds);
  absl::Status CountState(uint64_t bytes);

  const Limits limits_;
  std::vector<Named> named_;
  std::map<std::string, Blob> blobs_;
  std::map<uint64_t, Session> sessions_;
  std::map<uint64_t, v1::KeptSession> kept_;
  std::set<uint64_t> closed_;
  Changes changes_;
  uint64_t state_bytes_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_STAGED_INVENTORY_H_
