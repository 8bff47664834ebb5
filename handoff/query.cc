#include "handoff/query.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/channel.h"
#include "handoff/transport/rendezvous.h"

namespace handoff {
namespace {

// One reply out of the frames that it came in.
class Assembly {
 public:
  explicit Assembly(const ReplyLimits& limits) : limits_(limits) {}

  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED.
  absl::Status Add(v1::QueryReply part);
  v1::QueryReply& whole() { return whole_; }

 private:
  absl::Status Count(int more);
  absl::Status AddHandoff(v1::LedgerHandoff& part);

  const ReplyLimits limits_;
  v1::QueryReply whole_;
  size_t items_ = 0;
};

absl::Status Assembly::Count(int more) {
  items_ += static_cast<size_t>(more);
  if (items_ <= limits_.items) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the reply has more than ", limits_.items, " items"));
}

absl::Status Assembly::AddHandoff(v1::LedgerHandoff& part) {
  auto& handoffs = *whole_.mutable_handoffs();
  if (!handoffs.empty() &&
      handoffs[handoffs.size() - 1].handoff_id() == part.handoff_id()) {
    v1::LedgerHandoff& begun = handoffs[handoffs.size() - 1];
    for (v1::LedgerEntry& entry : *part.mutable_entries()) {
      begun.mutable_entries()->Add(std::move(entry));
    }
    return Count(part.entries_size());
  }
  const int more = 1 + part.entries_size();
  handoffs.Add(std::move(part));
  return Count(more);
}

absl::Status Assembly::Add(v1::QueryReply part) {
  if (part.has_status() && !whole_.has_status()) {
    *whole_.mutable_status() = std::move(*part.mutable_status());
  }
  if (auto status = Count(part.items_size()); !status.ok()) return status;
  for (v1::InventoryItem& item : *part.mutable_items()) {
    whole_.mutable_items()->Add(std::move(item));
  }
  for (v1::LedgerHandoff& handoff : *part.mutable_handoffs()) {
    if (auto status = AddHandoff(handoff); !status.ok()) return status;
  }
  whole_.set_last(part.last());
  return absl::OkStatus();
}

absl::Status RefusalStatus(const v1::Refuse& refuse) {
  const std::string text = absl::StrCat(
      "the process refused: ", refuse.detail().empty()
                                   ? v1::Refuse::Reason_Name(refuse.reason())
                                   : refuse.detail());
  switch (refuse.reason()) {
    case v1::Refuse::BUSY:
      return absl::UnavailableError(text);
    case v1::Refuse::CREDENTIALS:
      return absl::PermissionDeniedError(text);
    case v1::Refuse::VERSION:
    case v1::Refuse::SCHEMA:
      return absl::FailedPreconditionError(text);
    case v1::Refuse::LIMITS:
      return absl::ResourceExhaustedError(text);
    case v1::Refuse::MALFORMED:
      return absl::InvalidArgumentError(text);
    default:
      return absl::UnknownError(text);
  }
}

// What an error of the channel means to somebody who has asked.
absl::Status ChannelStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return absl::DeadlineExceededError("the process does not answer in time");
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kOutOfRange:
      return absl::UnavailableError(
          "the process closed the connection before its last reply");
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
      return absl::InvalidArgumentError(
          absl::StrCat("the reply is malformed: ", status.message()));
    default:
      return status;
  }
}

absl::StatusOr<v1::QueryReply> ReceiveReply(Channel& channel,
                                            absl::Time deadline,
                                            const ReplyLimits& limits) {
  Assembly assembly(limits);
  size_t bytes = 0;
  while (!assembly.whole().last()) {
    absl::StatusOr<IncomingFrame> incoming = channel.ReceiveBefore(deadline);
    // A process that refuses without reading the question and closes leaves us
    // ECONNRESET, once, in front of what it said.
    if (absl::IsAborted(incoming.status())) {
      incoming = channel.ReceiveBefore(deadline);
    }
    if (!incoming.ok()) return ChannelStatus(incoming.status());
    // A peer that always has one more frame ready would never meet the
    // deadline of a wait.
    if (absl::Now() > deadline) {
      return ChannelStatus(absl::DeadlineExceededError(""));
    }
    v1::Frame& frame = incoming->frame;
    bytes += frame.ByteSizeLong();
    if (bytes > limits.bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the reply is larger than ", limits.bytes, " bytes"));
    }
    if (frame.has_refuse()) return RefusalStatus(frame.refuse());
    if (frame.has_query_reply()) {
      if (auto status = assembly.Add(std::move(*frame.mutable_query_reply()));
          !status.ok()) {
        return status;
      }
    } else if (frame.must_understand() ||
               frame.body_case() != v1::Frame::BODY_NOT_SET) {
      return absl::InvalidArgumentError(
          "the reply is malformed: a frame that answers no question");
    }
  }
  return std::move(assembly.whole());
}

// Root may look into everybody's service, which answers as its own user.
TrustPolicy WithOwner(TrustPolicy trust, absl::string_view path) {
  struct stat file;
  if (::geteuid() == 0 && ::lstat(std::string(path).c_str(), &file) == 0) {
    trust.more_uids.push_back(file.st_uid);
  }
  return trust;
}

}  // namespace

absl::StatusOr<v1::QueryReply> Ask(absl::string_view path, v1::Query::Kind kind,
                                   absl::Duration timeout,
                                   const TrustPolicy& trust,
                                   const ReplyLimits& limits) {
  const absl::Time deadline = absl::Now() + timeout;
  absl::StatusOr<UniqueFd> socket = ConnectTo(path);
  if (!socket.ok()) return socket.status();
  Channel::Options options;
  options.trust = WithOwner(trust, path);
  absl::StatusOr<Channel> channel =
      Channel::Create(*std::move(socket), std::move(options));
  if (!channel.ok()) return channel.status();

  // Who we are, for a kernel that does not say it itself (before Linux 6.5).
  const absl::StatusOr<UniqueFd> self = OwnPidfd();
  if (!self.ok()) return self.status();
  v1::Frame question;
  question.mutable_query()->set_kind(kind);
  const absl::Status sent =
      channel->SendBefore(deadline, question, {self->get()});
  // Closed already: it may have said why, which can still be read.
  if (!sent.ok() && !absl::IsAborted(sent)) return ChannelStatus(sent);

  absl::StatusOr<v1::QueryReply> reply =
      ReceiveReply(*channel, deadline, limits);
  if (reply.ok() && kind == v1::Query::STATUS && !reply->has_status()) {
    return absl::InvalidArgumentError(
        "the reply is malformed: it has no status");
  }
  return reply;
}

}  // namespace handoff
