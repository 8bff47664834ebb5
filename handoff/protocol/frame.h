#ifndef HANDOFF_PROTOCOL_FRAME_H_
#define HANDOFF_PROTOCOL_FRAME_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/settings.h"
#include "proto/handoff.pb.h"

namespace handoff {

// A frame on its way out, with the descriptors that go with it. The sender of
// the frame fills in seq, descriptor_count and descriptors, but for the first
// ones where it says so.
struct OutgoingFrame {
  v1::Frame frame;
  std::vector<SharedFd> descriptors;
  size_t described = 0;  // of the descriptors, by the frame as it is
};

// The frame that `bytes` are. INVALID_ARGUMENT where they are none, where it is
// not number `seq`, or where it says and describes other than `descriptors`
// descriptors.
absl::StatusOr<v1::Frame> DecodeFrame(absl::string_view bytes, uint64_t seq,
                                      size_t descriptors);

// "hello", "sessions", ...; "unknown" where the body is none that we know.
absl::string_view BodyName(const v1::Frame& frame);

// Whether the body is one of a batch, which is acknowledged.
bool IsBatch(const v1::Frame& frame);

// A name that may travel: 1 to kMaxNameBytes printable ASCII characters.
absl::Status CheckName(absl::string_view what, absl::string_view name);

// `text` as it may travel in a frame and be shown: printable ASCII, the rest
// as \xNN, cut to kMaxTextBytes. (A proto3 string that is no UTF-8 would
// make the whole frame unreadable.)
std::string Printable(absl::string_view text);

// The highest version of the protocol that we and `hello` speak;
// FAILED_PRECONDITION where there is none.
absl::StatusOr<uint32_t> NegotiateProtocol(const v1::Hello& hello);

// For each type that the predecessor `writes` the highest version that the
// successor `reads`. FAILED_PRECONDITION where there is none for any of them;
// INVALID_ARGUMENT where an entry is malformed or comes twice.
absl::StatusOr<std::vector<v1::NegotiatedType>> NegotiateTypes(
    const std::vector<v1::StateType>& writes,
    const google::protobuf::RepeatedPtrField<v1::StateType>& reads);

// The reason as a status, for a caller of the facade. Its code says what to do:
// UNAVAILABLE try again, FAILED_PRECONDITION another binary, ...
absl::Status RefusalStatus(const v1::Refuse& refuse);
absl::Status AbortStatus(const v1::Abort& abort, absl::string_view by);

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_FRAME_H_
