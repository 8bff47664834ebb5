#include "handoff/fake_query_server.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "handoff/fd/peer_identity.h"

namespace handoff {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

void Must(bool worked, const char* what) {
  if (worked) return;
  std::perror(what);
  std::abort();
}

bool WaitFor(int fd, int16_t events) {
  pollfd entry = {fd, events, 0};
  return ::poll(&entry, 1,
                static_cast<int>(absl::ToInt64Milliseconds(kPatience))) == 1;
}

// With a pidfd of ours where it is the first frame, as the protocol has it.
void Send(Channel& channel, v1::Frame& frame) {
  const absl::StatusOr<UniqueFd> self = OwnPidfd();
  Must(self.ok(), "pidfd_open");
  // The other side may have gone: that is for its test to say.
  channel.SendBefore(absl::Now() + kPatience, frame, {self->get()})
      .IgnoreError();
}

}  // namespace

FakeQueryServer::FakeQueryServer(Script script) : script_(std::move(script)) {
  Must(!folder_.path().empty(), "mkdtemp");
  path_ = folder_ / "socket";
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::copy(path_.begin(), path_.end(), address.sun_path);
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  Must(listener_.valid(), "socket");
  Must(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address),
              sizeof(address)) == 0,
       "bind");
  Must(::listen(listener_.get(), 8) == 0, "listen");
  thread_ = std::thread([this] { Serve(); });
}

FakeQueryServer::~FakeQueryServer() {
  // Ends accept() with EINVAL.
  ::shutdown(listener_.get(), SHUT_RDWR);
  thread_.join();
}

void FakeQueryServer::Serve() {
  while (true) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) return;
    absl::StatusOr<Channel> channel =
        Channel::Create(std::move(socket), Channel::Options());
    Must(channel.ok(), "Channel::Create");
    if (WaitFor(channel->fd(), POLLIN)) script_(*channel);
  }
}

FakeQueryServer::Script FakeQueryServer::Answer(
    std::vector<v1::QueryReply> parts) {
  return [parts = std::move(parts)](Channel& channel) {
    const absl::StatusOr<IncomingFrame> question =
        channel.ReceiveBefore(absl::Now() + kPatience);
    if (!question.ok() || !question->frame.has_query()) return;
    for (size_t i = 0; i < parts.size(); ++i) {
      v1::Frame frame;
      *frame.mutable_query_reply() = parts[i];
      frame.mutable_query_reply()->set_last(i + 1 == parts.size());
      Send(channel, frame);
    }
  };
}

FakeQueryServer::Script FakeQueryServer::Refuse(v1::Refuse::Reason reason,
                                                std::string detail) {
  return [reason, detail = std::move(detail)](Channel& channel) {
    channel.ReceiveBefore(absl::Now() + kPatience).IgnoreError();
    v1::Frame frame;
    frame.mutable_refuse()->set_reason(reason);
    frame.mutable_refuse()->set_detail(detail);
    Send(channel, frame);
  };
}

void FakeQueryServer::Hang(Channel& channel) {
  Must(WaitFor(channel.fd(), POLLRDHUP), "nobody has given up");
}

}  // namespace handoff
