#include "handoff/query.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/reply_assembly.h"
#include "handoff/transport/channel.h"
#include "handoff/transport/rendezvous.h"

namespace handoff {
namespace {

// Told of each part of a reply.
using OnPart = absl::FunctionRef<void(const v1::QueryReply&)>;
void Nothing(const v1::QueryReply&) {}

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
                                            const ReplyLimits& limits,
                                            OnPart on_part) {
  ReplyAssembly assembly(limits);
  while (!assembly.complete()) {
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
    on_part(incoming->frame.query_reply());
    if (absl::Status status = assembly.Add(std::move(incoming->frame));
        !status.ok()) {
      return status;
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

absl::StatusOr<v1::QueryReply> AskThis(absl::string_view path, v1::Query query,
                                       absl::Duration timeout,
                                       const TrustPolicy& trust,
                                       const ReplyLimits& limits,
                                       pid_t* answered_by,
                                       OnPart on_part = Nothing) {
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
  const v1::Query::Kind kind = query.kind();
  v1::Frame question;
  *question.mutable_query() = std::move(query);
  const absl::Status sent =
      channel->SendBefore(deadline, question, {self->get()});
  // Closed already: it may have said why, which can still be read.
  if (!sent.ok() && !absl::IsAborted(sent)) return ChannelStatus(sent);

  absl::StatusOr<v1::QueryReply> reply =
      ReceiveReply(*channel, deadline, limits, on_part);
  if (reply.ok() && kind == v1::Query::STATUS && !reply->has_status()) {
    return absl::InvalidArgumentError(
        "the reply is malformed: it has no status");
  }
  if (reply.ok() && answered_by != nullptr) {
    *answered_by = channel->peer()->credentials.pid;
  }
  return reply;
}

}  // namespace

absl::StatusOr<v1::QueryReply> Ask(absl::string_view path, v1::Query::Kind kind,
                                   absl::Duration timeout,
                                   const TrustPolicy& trust,
                                   const ReplyLimits& limits,
                                   pid_t* answered_by) {
  v1::Query query;
  query.set_kind(kind);
  return AskThis(path, std::move(query), timeout, trust, limits, answered_by);
}

absl::StatusOr<v1::LedgerHandoff> AskToUpgrade(
    absl::string_view path, const std::string& executable,
    absl::Duration timeout,
    absl::FunctionRef<void(const v1::HandoffProgress&)> on_progress,
    const TrustPolicy& trust) {
  v1::Query query;
  query.set_kind(v1::Query::UPGRADE);
  query.set_executable(executable);
  absl::StatusOr<v1::QueryReply> reply =
      AskThis(path, std::move(query), timeout, trust, {}, nullptr,
              [&](const v1::QueryReply& part) {
                // Without an id it says only that there is something to follow.
                if (part.progress().handoff_id() != 0) {
                  on_progress(part.progress());
                }
              });
  if (!reply.ok()) return reply.status();
  if (reply->has_failure() && reply->failure().code() != 0) {
    return absl::Status(static_cast<absl::StatusCode>(reply->failure().code()),
                        reply->failure().detail());
  }
  if (reply->handoffs_size() == 1)
    return std::move(*reply->mutable_handoffs(0));
  if (!reply->has_progress()) {
    return absl::FailedPreconditionError(
        "the process does not know how to start its successor when asked");
  }
  return absl::InvalidArgumentError(
      "the reply is malformed: it does not say how the handoff ended");
}

absl::Status TellDrained(absl::string_view path,
                         const v1::DrainedSessions& drained,
                         absl::Duration timeout, const TrustPolicy& trust) {
  v1::Query query;
  query.set_kind(v1::Query::DRAINED);
  *query.mutable_drained() = drained;
  return AskThis(path, std::move(query), timeout, trust, {}, nullptr).status();
}

}  // namespace handoff
