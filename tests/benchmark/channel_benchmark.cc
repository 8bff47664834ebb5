// A frame of sessions with their connections, from one end of a channel to the
// other: described, sent, received, checked, closed.

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/transport/channel.h"
#include "proto/handoff.pb.h"
#include "tests/benchmark/part.h"
#include "tests/benchmark/raw_message.h"
#include "tests/benchmark/sample_sessions.h"
#include "tests/benchmark/tcp_connection.h"

namespace handoff {
namespace {

constexpr size_t kDescriptors = kMaxDescriptorsPerMessage;
constexpr size_t kStateBytes = 64;

// Connections, and a frame of as many sessions.
struct Load {
  std::vector<TcpConnection> connections;
  std::vector<int> borrowed;
  v1::Frame frame;
};

absl::StatusOr<Load> MakeLoad() {
  absl::StatusOr<std::vector<TcpConnection>> connections =
      MakeTcpConnections(kDescriptors);
  if (!connections.ok()) return connections.status();
  Load load;
  load.connections = *std::move(connections);
  const std::string state(kStateBytes, 'x');
  for (size_t i = 0; i < kDescriptors; ++i) {
    load.borrowed.push_back(load.connections[i].accepted.get());
    FillRecord(i + 1, static_cast<uint32_t>(i) + 1, state,
               *load.frame.mutable_sessions()->add_records());
  }
  return load;
}

// As sessions are described: by their cookies.
absl::Status Pass(Channel& from, Channel& to, Load& load) {
  load.frame.clear_descriptors();
  for (const int fd : load.borrowed) {
    const absl::StatusOr<uint64_t> cookie = SocketCookie(fd);
    if (!cookie.ok()) return cookie.status();
    v1::DescriptorInfo* info = load.frame.add_descriptors();
    info->set_kind(v1::DescriptorInfo::TCP);
    info->set_socket_cookie(*cookie);
  }
  absl::Status sent = from.Send(load.frame, load.borrowed, kDescriptors);
  if (!sent.ok()) return sent;
  const absl::StatusOr<IncomingFrame> received = to.Receive();
  if (!received.ok()) return received.status();
  if (received->descriptors.size() != kDescriptors ||
      received->frame.sessions().records_size() !=
          static_cast<int>(kDescriptors)) {
    return absl::InternalError("another frame than was sent has come");
  }
  return absl::OkStatus();
}

void Library(Measure& measure) {
  absl::StatusOr<Load> load = MakeLoad();
  if (!load.ok()) return measure.Fail(load.status());
  absl::StatusOr<SocketPair> sockets = MakeSocketPair();
  if (!sockets.ok()) return measure.Fail(sockets.status());
  absl::StatusOr<Channel> ours = Channel::Create(std::move(sockets->ours), {});
  if (!ours.ok()) return measure.Fail(ours.status());
  absl::StatusOr<Channel> theirs =
      Channel::Create(std::move(sockets->theirs), {});
  if (!theirs.ok()) return measure.Fail(theirs.status());
  // With the first frame the peer is identified, once in a connection.
  absl::Status first = Pass(*ours, *theirs, *load);
  if (!first.ok()) return measure.Fail(first);
  measure.Run([&] { return Pass(*ours, *theirs, *load); });
}

// As many bytes as the channel sends.
size_t SizeOfFrame(const Load& load) {
  v1::Frame frame = load.frame;
  frame.set_seq(1000);
  frame.set_descriptor_count(kDescriptors);
  for (size_t i = 0; i < kDescriptors; ++i) {
    v1::DescriptorInfo* info = frame.add_descriptors();
    info->set_kind(v1::DescriptorInfo::TCP);
    info->set_socket_cookie(1000);
  }
  return frame.ByteSizeLong();
}

void Raw(Measure& measure) {
  const absl::StatusOr<Load> load = MakeLoad();
  if (!load.ok()) return measure.Fail(load.status());
  const absl::StatusOr<SocketPair> sockets = MakeSocketPair();
  if (!sockets.ok()) return measure.Fail(sockets.status());
  RawMessage message(SizeOfFrame(*load), load->borrowed);
  std::vector<uint64_t> cookies(kDescriptors);
  measure.Run([&]() -> absl::Status {
    for (size_t i = 0; i < kDescriptors; ++i) {
      cookies[i] = RawCookie(load->borrowed[i]);
    }
    absl::Status sent = message.Send(sockets->ours.get());
    if (!sent.ok()) return sent;
    const absl::StatusOr<absl::Span<const int>> received =
        message.Receive(sockets->theirs.get());
    if (!received.ok()) return received.status();
    absl::Status same;
    for (size_t i = 0; i < kDescriptors; ++i) {
      const int fd = (*received)[i];
      if (cookies[i] == 0 || RawCookie(fd) != cookies[i]) {
        same = absl::InternalError("another socket than was sent has come");
      }
      if (::close(fd) < 0) return absl::ErrnoToStatus(errno, "close");
    }
    return same;
  });
}

const bool kRegistered = [] {
  const Part part(absl::StrCat("channel: a frame of ", kDescriptors,
                               " sessions with a TCP connection each"),
                  "descriptor", kDescriptors);
  part.Handoff(Library);
  part.Bound("sendmsg, recvmsg, SO_COOKIE on both sides, close", Raw);
  return true;
}();

}  // namespace
}  // namespace handoff
