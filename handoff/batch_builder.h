#ifndef HANDOFF_BATCH_BUILDER_H_
#define HANDOFF_BATCH_BUILDER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/any.pb.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/frame.h"
#include "handoff/roster.h"
#include "proto/handoff.pb.h"

namespace handoff {

// A listener or another descriptor of a process that is no session's.
struct NamedDescriptor {
  v1::Descriptors::Role role;
  std::string name;
  std::string address;
  SharedFd fd;
};

// "handoff-listener", "listener", "descriptor": as tools are told.
absl::string_view CategoryOf(v1::Descriptors::Role role);

// Packs what has to be sent into as few frames as the limits on descriptors and
// bytes allow, in the order of the calls. Not thread-safe.
class BatchBuilder {
 public:
  void AddDescriptor(const NamedDescriptor& named);
  absl::Status AddBlob(absl::string_view name, google::protobuf::Any value);
  // State that is too large for a frame goes into a memfd, one for each frame.
  void AddSession(GroupSnapshot::Item item);
  void AddKept(const v1::KeptSession& kept);
  void AddClosed(uint64_t session);

  // The frames so far; the builder is empty afterwards. An error, of a memfd,
  // ends the handoff.
  absl::StatusOr<std::vector<OutgoingFrame>> Take();

 private:
  // The frame to add to, with room for that much more.
  OutgoingFrame& Room(v1::Frame::BodyCase body, size_t bytes,
                      size_t descriptors, size_t state_bytes = 0);
  // The last frame is complete.
  void Close();

  std::vector<OutgoingFrame> frames_;
  // Of the last frame.
  size_t bytes_ = 0;
  size_t state_bytes_ = 0;  // in its memfd
  std::vector<int> large_;  // records whose state is going there
  absl::Status status_;
};

}  // namespace handoff

#endif  // HANDOFF_BATCH_BUILDER_H_
