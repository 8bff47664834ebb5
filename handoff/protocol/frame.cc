#include "handoff/protocol/frame.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace handoff {

absl::StatusOr<v1::Frame> DecodeFrame(absl::string_view bytes, uint64_t seq,
                                      size_t descriptors) {
  v1::Frame frame;
  if (!frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError("a message is no frame");
  }
  if (frame.seq() != seq) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a frame has number ", frame.seq(), ", the next is ", seq));
  }
  if (frame.descriptor_count() != descriptors ||
      static_cast<size_t>(frame.descriptors_size()) != descriptors) {
    return absl::InvalidArgumentError(absl::StrCat(
        "frame ", seq, " came with ", descriptors, " descriptors, says ",
        frame.descriptor_count(), " and describes ", frame.descriptors_size()));
  }
  return frame;
}

absl::string_view BodyName(const v1::Frame& frame) {
  switch (frame.body_case()) {
    case v1::Frame::kHello: return "hello";
    case v1::Frame::kOffer: return "offer";
    case v1::Frame::kRefuse: return "refuse";
    case v1::Frame::kDescriptorsBatch: return "descriptors";
    case v1::Frame::kBlobs: return "blobs";
    case v1::Frame::kSessions: return "sessions";
    case v1::Frame::kBatchAck: return "batch-ack";
    case v1::Frame::kPreCopied: return "pre-copied";
    case v1::Frame::kReady: return "ready";
    case v1::Frame::kFinal: return "final";
    case v1::Frame::kCommitted: return "committed";
    case v1::Frame::kReleased: return "released";
    case v1::Frame::kRetire: return "retire";
    case v1::Frame::kAbort: return "abort";
    case v1::Frame::kQuery: return "query";
    case v1::Frame::kQueryReply: return "query-reply";
    case v1::Frame::BODY_NOT_SET: break;
  }
  return "unknown";
}

bool IsBatch(const v1::Frame& frame) {
  return frame.has_descriptors_batch() || frame.has_blobs() ||
         frame.has_sessions();
}

absl::Status CheckName(absl::string_view what, absl::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a ", what, " of ", name.size(),
                     " bytes; it must have 1 to ", kMaxNameBytes));
  }
  for (const char c : name) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) {
      return absl::InvalidArgumentError(
          absl::StrCat("a ", what, ", \"", absl::CHexEscape(name),
                       "\", must consist of printable ASCII characters"));
    }
  }
  return absl::OkStatus();
}

std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    const std::string shown = absl::ascii_isprint(byte)
                                  ? std::string(1, c)
                                  : absl::StrFormat("\\x%02x", byte);
    if (printable.size() + shown.size() > kMaxTextBytes) break;
    printable += shown;
  }
  return printable;
}

absl::StatusOr<uint32_t> NegotiateProtocol(const v1::Hello& hello) {
  const uint32_t version =
      std::min(hello.highest_protocol(), kHighestProtocol);
  if (version < kLowestProtocol || version < hello.lowest_protocol()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "no common version of the protocol: the predecessor speaks ",
        kLowestProtocol, " to ", kHighestProtocol, ", the successor ",
        hello.lowest_protocol(), " to ", hello.highest_protocol()));
  }
  return version;
}

absl::StatusOr<std::vector<v1::NegotiatedType>> NegotiateTypes(
    const std::vector<v1::StateType>& writes,
    const google::protobuf::RepeatedPtrField<v1::StateType>& reads) {
  std::map<absl::string_view, const v1::StateType*> readable;
  for (const v1::StateType& type : reads) {
    if (absl::Status s = CheckName("state type", type.name()); !s.ok()) {
      return s;
    }
    if (type.lowest() > type.highest() ||
        !readable.emplace(type.name(), &type).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "state type \"", type.name(),
          "\" comes twice or has its lowest version above its highest"));
    }
  }
  std::vector<v1::NegotiatedType> negotiated;
  for (const v1::StateType& type : writes) {
    const auto it = readable.find(type.name());
    if (it == readable.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the successor does not read state type \"",
                       type.name(), "\""));
    }
    const uint32_t version = std::min(type.highest(), it->second->highest());
    if (version < type.lowest() || version < it->second->lowest()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "no common version of state type \"", type.name(),
          "\": the predecessor writes ", type.lowest(), " to ",
          type.highest(), ", the successor reads ", it->second->lowest(),
          " to ", it->second->highest()));
    }
    v1::NegotiatedType& n = negotiated.emplace_back();
    n.set_name(type.name());
    n.set_version(version);
  }
  return negotiated;
}

absl::Status RefusalStatus(const v1::Refuse& refuse) {
  absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
  switch (refuse.reason()) {
    case v1::Refuse::BUSY: code = absl::StatusCode::kUnavailable; break;
    case v1::Refuse::CREDENTIALS:
      code = absl::StatusCode::kPermissionDenied;
      break;
    case v1::Refuse::LIMITS: code = absl::StatusCode::kResourceExhausted; break;
    case v1::Refuse::MALFORMED:
      code = absl::StatusCode::kInvalidArgument;
      break;
    default: break;
  }
  return absl::Status(code, absl::StrCat("refused: ", Printable(refuse.detail())));
}

absl::Status AbortStatus(const v1::Abort& abort, absl::string_view by) {
  return absl::AbortedError(
      absl::StrCat(by, " aborted: ", Printable(abort.detail()), " (",
                   v1::Abort::Reason_Name(abort.reason()), ")"));
}

}  // namespace handoff
