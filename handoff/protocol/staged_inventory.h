#ifndef HANDOFF_PROTOCOL_STAGED_INVENTORY_H_
#define HANDOFF_PROTOCOL_STAGED_INVENTORY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
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
    bool fresh = false;    // since TakeSessionChanges()
    uint64_t counted = 0;  // against Limits::total_state_bytes
  };
  // A session's record as its receiver needs it, with its state.
  struct Arrival {
    struct Descriptor {
      std::string name;
      SharedFd fd;
      std::string input;
      std::string output;
    };
    uint64_t id = 0;
    std::string type;
    uint32_t handoffs = 0;
    uint64_t opened_at = 0;
    std::vector<Descriptor> descriptors;
    google::protobuf::Any state;
    // Where the state, input and output are not inline.
    SharedFd state_memfd;
    uint64_t state_at = 0;
    uint64_t state_size = 0;  // 0: to the end
  };

  explicit StagedInventory(const Limits& limits) : limits_(limits) {}

  // Takes a frame of a batch with its descriptors. INVALID_ARGUMENT where it
  // contradicts itself or what came before; RESOURCE_EXHAUSTED over a limit.
  // After an error the inventory is only good for being destroyed. Takes what
  // is large out of the frame.
  absl::Status Apply(v1::Frame& frame, std::vector<UniqueFd> descriptors);

  // INVALID_ARGUMENT, with the counts, where we hold something else.
  absl::Status CheckCounts(uint64_t descriptors, uint64_t blobs,
                           uint64_t sessions) const;

  std::vector<Named>& named() { return named_; }
  std::map<std::string, Blob>& blobs() { return blobs_; }
  // Without the state of those that TakeSessionChanges() has told of.
  std::unordered_map<uint64_t, Session>& sessions() { return sessions_; }
  // Sessions that stay with the predecessor, and why; by id.
  const std::map<uint64_t, v1::KeptSession>& kept() const { return kept_; }
  // Sessions that ended at the predecessor after they had been sent.
  const std::set<uint64_t>& closed() const { return closed_; }

  // The state of `session`, which is without it from here on.
  static Arrival TakeArrival(Session& session);

  // What has come, changed or gone since the last call.
  struct SessionChanges {
    std::vector<Arrival> arrived;  // new or changed, in the order of coming
    std::vector<uint64_t> gone;    // closed or kept
  };
  SessionChanges TakeSessionChanges();
  std::set<std::string> TakeBlobChanges();

 private:
  absl::Status ApplyDescriptors(const v1::Descriptors& batch,
                                std::vector<SharedFd>& fds);
  absl::Status ApplyBlobs(const v1::Blobs& batch, std::vector<SharedFd>& fds);
  absl::Status ApplySessions(v1::Sessions& batch, std::vector<SharedFd>& fds);
  // `memfds`: those of `fds` that hold states, in their places.
  absl::Status ApplyRecord(v1::SessionRecord& record,
                           std::vector<SharedFd>& fds,
                           const std::vector<SharedFd>& memfds);
  absl::Status CountState(uint64_t bytes);

  const Limits limits_;
  std::vector<Named> named_;
  std::map<std::string, Blob> blobs_;
  std::unordered_map<uint64_t, Session> sessions_;
  std::map<uint64_t, v1::KeptSession> kept_;
  std::set<uint64_t> closed_;
  std::set<std::string> changed_blobs_;
  std::vector<uint64_t> fresh_;  // sessions; some may be gone
  std::vector<uint64_t> gone_;
  uint64_t state_bytes_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_STAGED_INVENTORY_H_
