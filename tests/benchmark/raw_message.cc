#include "tests/benchmark/raw_message.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "handoff/fd/scm_rights.h"

namespace handoff {
namespace {

size_t Words(size_t bytes) {
  return (bytes + sizeof(size_t) - 1) / sizeof(size_t);
}

}  // namespace

absl::StatusOr<SocketPair> MakeSocketPair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    return absl::ErrnoToStatus(errno, "socketpair");
  }
  return SocketPair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

RawMessage::RawMessage(size_t bytes, absl::Span<const int> descriptors)
    : sent_(bytes, 'x'),
      received_(kMaxMessageBytes),
      send_control_(Words(CMSG_SPACE(descriptors.size() * sizeof(int)))),
      receive_control_(send_control_.size()),
      send_control_bytes_(CMSG_SPACE(descriptors.size() * sizeof(int))),
      descriptors_(descriptors.size()),
      descriptors_received_(descriptors.size()) {
  auto* rights = reinterpret_cast<cmsghdr*>(send_control_.data());
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), descriptors.data(),
              descriptors.size() * sizeof(int));
}

absl::Status RawMessage::Send(int socket) {
  iovec vector = {sent_.data(), sent_.size()};
  msghdr header = {};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = send_control_.data();
  header.msg_controllen = send_control_bytes_;
  if (::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    return absl::ErrnoToStatus(errno, "sendmsg");
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Span<const int>> RawMessage::Receive(int socket) {
  iovec vector = {received_.data(), received_.size()};
  msghdr header = {};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = receive_control_.data();
  header.msg_controllen = send_control_bytes_;
  const ssize_t length =
      ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (length < 0) return absl::ErrnoToStatus(errno, "recvmsg");
  const cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (static_cast<size_t>(length) != sent_.size() || rights == nullptr ||
      rights->cmsg_len != CMSG_LEN(descriptors_ * sizeof(int))) {
    return absl::InternalError(absl::StrCat(
        "another message than was sent has come: ", length, " bytes"));
  }
  std::memcpy(descriptors_received_.data(), CMSG_DATA(rights),
              descriptors_ * sizeof(int));
  return descriptors_received_;
}

}  // namespace handoff
