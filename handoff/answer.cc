#include "handoff/answer.h"

#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "handoff/fd/descriptor_details.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/follower.h"
#include "handoff/protocol/frame.h"
#include "handoff/protocol/settings.h"

namespace handoff {

// Sends replies as they fill up; the first carries our pidfd, as the first
// frame of each side does.
class Replies {
 public:
  Replies(Channel& channel, absl::Time deadline)
      : channel_(channel), deadline_(deadline) {}

  v1::QueryReply& reply() { return *frame_.mutable_query_reply(); }

  // Call after adding something of `bytes`.
  void Added(size_t bytes) {
    bytes_ += bytes + 16;
    if (bytes_ >= kBatchBytes) Send();
  }

  void Finish() {
    reply().set_last(true);
    Send();
  }
  bool failed() const { return failed_; }

  // Of an answer that takes longer: for what comes next.
  void set_deadline(absl::Time deadline) { deadline_ = deadline; }
  void Send() {
    std::vector<int> fds;
    auto pidfd = first_ ? OwnPidfd() : UniqueFd();
    if (first_ && pidfd.ok()) fds.push_back(pidfd->get());
    first_ = false;
    if (!failed_) failed_ = !channel_.SendBefore(deadline_, frame_, fds).ok();
    frame_.Clear();
    bytes_ = 0;
  }

 private:
  Channel& channel_;
  absl::Time deadline_;
  v1::Frame frame_;
  size_t bytes_ = 0;
  bool first_ = true;
  bool failed_ = false;
};

namespace {

// How long who follows an upgrade may take to take a message. There is room for
// many in the queue; the library's thread waits for the last.
constexpr absl::Duration kTellTime = absl::Seconds(1);
// How often to look whether somebody still listens.
constexpr absl::Duration kLookAgain = absl::Milliseconds(100);

bool HasLeft(int socket) {
  pollfd polled = {socket, 0, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0;
}

// Whether this process may do, or become, what others of its user cannot.
bool HasMoreRights() {
  uid_t uids[3];
  gid_t gids[3];
  if (::getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
      ::getresgid(&gids[0], &gids[1], &gids[2]) != 0 || uids[0] != uids[1] ||
      uids[1] != uids[2] || gids[0] != gids[1] || gids[1] != gids[2]) {
    return true;
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capget, &header, sets) != 0 || sets[0].permitted != 0 ||
         sets[1].permitted != 0;
}

// Another program than the configured one is run for whoever could run it with
// the same rights anyway.
bool MayChooseExecutable(const PeerIdentity& asker) {
  return asker.credentials.uid == 0 ||
         (asker.credentials.uid == ::geteuid() && !HasMoreRights() &&
          HasOurGroups(asker));
}

void SetFailure(const absl::Status& status, v1::QueryReply& reply) {
  reply.mutable_failure()->set_code(static_cast<int>(status.code()));
  reply.mutable_failure()->set_detail(Printable(status.message()));
}

void SendLedger(const v1::Ledger& ledger, Replies& replies) {
  for (const v1::LedgerHandoff& handoff : ledger.handoffs()) {
    v1::LedgerHandoff head = handoff;
    head.clear_entries();
    // Every part of a handoff that is split names it.
    v1::LedgerHandoff* part = replies.reply().add_handoffs();
    *part = head;
    replies.Added(head.ByteSizeLong());
    for (const v1::LedgerEntry& entry : handoff.entries()) {
      if (replies.failed()) return;
      if (replies.reply().handoffs().empty()) {
        replies.reply().add_handoffs()->set_handoff_id(handoff.handoff_id());
      }
      const int last = replies.reply().handoffs_size() - 1;
      *replies.reply().mutable_handoffs(last)->add_entries() = entry;
      replies.Added(entry.ByteSizeLong());
    }
  }
}

}  // namespace

v1::InventoryItem DescribeNamed(const NamedDescriptor& named, bool details) {
  v1::InventoryItem item;
  item.set_category(std::string(CategoryOf(named.role)));
  item.set_name(named.name);
  item.add_descriptor_names(named.name);
  item.set_group(-1);
  if (auto info = DescribeDescriptor(named.fd->get()); info.ok()) {
    if (info->kind() == v1::DescriptorInfo::UNIX_LISTENER &&
        !named.address.empty()) {
      // It was bound under another name and renamed, of which the kernel does
      // not tell.
      info->set_local_address(Printable(
          absl::StrCat("unix:", absl::StripPrefix(named.address, "unix:"))));
    }
    *item.add_descriptors() = *std::move(info);
  }
  if (details) {
    *item.add_details() = ReadDescriptorDetails(named.fd->get())
                              .value_or(v1::DescriptorDetails());
  }
  return item;
}

v1::InventoryItem DescribeBlob(const std::string& name) {
  v1::InventoryItem item;
  item.set_category("blob");
  item.set_name(name);
  item.set_group(-1);
  return item;
}

Answers::~Answers() {
  ending_.store(true);
  sources_.control->events().Wake();
  for (Answer& answer : answers_) {
    if (answer.upgrade) answer.thread.join();
  }
  for (Answer& answer : answers_) {
    ::shutdown(answer.channel.fd(), SHUT_RDWR);  // its next send fails
    if (answer.thread.joinable()) answer.thread.join();
  }
}

void Answers::Sweep() {
  for (auto it = answers_.begin(); it != answers_.end();) {
    if (it->done.load()) {
      it->thread.join();
      it = answers_.erase(it);
    } else {
      ++it;
    }
  }
}

absl::Status Answers::Start(Channel& channel, v1::Query query,
                            absl::Time deadline) {
  Sweep();
  if (answers_.size() >= kMaxAnswers) {
    return absl::ResourceExhaustedError("too many questions at a time");
  }
  Answer& answer = answers_.emplace_back(std::move(channel));
  answer.upgrade = query.kind() == v1::Query::UPGRADE;
  try {
    answer.thread =
        std::thread([this, &answer, query = std::move(query), deadline] {
          Run(answer.channel, query, deadline);
          answer.done.store(true);
          sources_.wake();
        });
  } catch (const std::system_error& error) {
    channel = std::move(answer.channel);
    answers_.pop_back();
    return absl::ResourceExhaustedError(
        absl::StrCat("no thread for an answer: ", error.what()));
  }
  return absl::OkStatus();
}

void Answers::Run(Channel& channel, const v1::Query& query,
                  absl::Time deadline) const {
  const v1::Query::Kind kind = query.kind();
  Replies replies(channel, deadline);
  if (kind == v1::Query::STATUS) {
    *replies.reply().mutable_status() = sources_.control->GetStatus();
  } else if (kind == v1::Query::LIST) {
    for (const NamedDescriptor& named : *sources_.named) {
      v1::InventoryItem item = DescribeNamed(named);
      const size_t bytes = item.ByteSizeLong();
      *replies.reply().add_items() = std::move(item);
      replies.Added(bytes);
    }
    for (const std::string& blob : sources_.blobs) {
      v1::InventoryItem* item = replies.reply().add_items();
      *item = DescribeBlob(blob);
      replies.Added(item->ByteSizeLong());
    }
    for (v1::InventoryItem& item : sources_.roster->Inventory()) {
      if (replies.failed()) return;
      const size_t bytes = item.ByteSizeLong();
      *replies.reply().add_items() = std::move(item);
      replies.Added(bytes);
    }
  } else if (kind == v1::Query::LEDGER) {
    SendLedger(sources_.ledger->Get(), replies);
  } else if (kind == v1::Query::DRAINED) {
    sources_.ledger->Amend(query.drained());
  } else if (kind == v1::Query::UPGRADE) {
    Upgrade(channel, query, replies);
  }
  replies.Finish();
}

void Answers::Upgrade(Channel& channel, const v1::Query& query,
                      Replies& replies) const {
  Control& control = *sources_.control;
  const SenderCredentials& asker = channel.peer()->credentials;
  const std::string& executable = query.executable();
  Follower follower(control);
  absl::Status started;
  if (!executable.empty() && executable.front() != '/') {
    // It would be found from our working directory, which is not the asker's.
    started = absl::InvalidArgumentError(
        "what is executed is named by a path that begins with a slash");
  } else if (!executable.empty() && !MayChooseExecutable(*channel.peer())) {
    started = absl::PermissionDeniedError(
        absl::StrCat("user ", asker.uid, " may not choose what is executed"));
  } else if (const auto child = control.StartSuccessor(executable);
             child.ok()) {
    follower.SetChild(*child);
  } else {
    started = absl::FailedPreconditionError(child.status().message());
  }
  control.Audit(absl::StrCat(
      "upgrade to ", executable.empty() ? "its own executable" : executable,
      ", asked by pid ", asker.pid, " of user ", asker.uid, ": ",
      started.ToString()));
  if (!started.ok()) return SetFailure(started, replies.reply());
  // Who is told nothing for long can see that the process knows the question.
  replies.reply().mutable_progress();
  replies.Send();
  while (!HasLeft(channel.fd()) && !replies.failed()) {
    const bool ending = ending_.load();
    const absl::Time now = absl::Now();
    auto progress = follower.Step(ending ? now : now + kLookAgain);
    replies.set_deadline(absl::Now() + kTellTime);
    if (const v1::LedgerHandoff* result = follower.Result()) {
      *replies.reply().add_handoffs() = *result;
      return;
    }
    if (!follower.child_ended().empty()) {
      return SetFailure(
          absl::AbortedError(absl::StrCat(
              "the successor that was started has ended before it took "
              "anything over: ",
              follower.child_ended())),
          replies.reply());
    }
    if (ending) {
      return SetFailure(absl::UnavailableError("the process ends"),
                        replies.reply());
    }
    if (progress.has_value()) {
      *replies.reply().mutable_progress() = *std::move(progress);
      replies.Send();
    }
  }
}

}  // namespace handoff
