#include "handoff/fd/scm_rights.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// include/uapi/asm-generic/socket.h and include/linux/socket.h since Linux 6.5;
// glibc 2.36 has neither.
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

// SCM_MAX_FD, include/net/scm.h: what a peer that is not this library may send.
constexpr size_t kKernelMaxDescriptors = 253;

// Room for everything that the kernel may put beside the descriptors: the
// credentials, a pidfd, and a security label or a timestamp that whoever made
// the socket may have asked for (SO_PASSSEC, SO_TIMESTAMPING).
constexpr size_t kControlBytes =
    CMSG_SPACE(kKernelMaxDescriptors * sizeof(int)) + 1024;

absl::Status SendError(int error, absl::Span<const int> descriptors) {
  switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return absl::UnavailableError(
          absl::StrCat("sendmsg: the queue is full: ", std::strerror(error)));
    case ETOOMANYREFS:
      return absl::ResourceExhaustedError(
          "sendmsg: too many descriptors of this user are in flight");
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
      return absl::AbortedError(
          absl::StrCat("sendmsg: the peer has closed: ", std::strerror(error)));
    case EBADF:
      // Of the socket itself, or of one that was to be sent.
      for (size_t i = 0; i < descriptors.size(); ++i) {
        if (::fcntl(descriptors[i], F_GETFD) < 0) {
          return absl::InvalidArgumentError(
              absl::StrCat("descriptor ", i,
                           " of the message is not open: ", descriptors[i]));
        }
      }
      [[fallthrough]];
    default:
      return absl::ErrnoToStatus(error, "sendmsg");
  }
}

// Owns what `header` carries. Nothing is validated here: a descriptor that is
// not owned when a check fails is leaked.
void TakeControlMessages(msghdr& header, ReceivedMessage& message) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET) continue;
    const size_t length = control->cmsg_len - CMSG_LEN(0);
    const unsigned char* data = CMSG_DATA(control);
    if (control->cmsg_type == SCM_RIGHTS) {
      const size_t count = length / sizeof(int);
      message.descriptors.reserve(message.descriptors.size() + count);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, data + i * sizeof(int), sizeof(fd));
        message.descriptors.emplace_back(fd);
      }
    } else if (control->cmsg_type == SCM_CREDENTIALS &&
               length >= sizeof(ucred)) {
      ucred credentials;
      std::memcpy(&credentials, data, sizeof(credentials));
      message.credentials =
          SenderCredentials{credentials.pid, credentials.uid, credentials.gid};
    } else if (control->cmsg_type == SCM_PIDFD && length >= sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, data, sizeof(fd));
      // A negative errno where the kernel could not make one, for instance
      // because our table is full.
      message.pidfd = UniqueFd(fd < 0 ? -1 : fd);
    }
  }
}

bool PeerHasClosed(int socket) {
  pollfd events = {socket, POLLRDHUP, 0};
  return ::poll(&events, 1, 0) > 0 &&
         (events.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

}  // namespace

absl::Status SendMessage(int socket, absl::string_view bytes,
                         absl::Span<const int> descriptors) {
  if (bytes.empty()) {
    return absl::InvalidArgumentError("a message must have at least one byte");
  }
  if (bytes.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a message of ", bytes.size(), " bytes: at most ",
                     kMaxMessageBytes, " are allowed"));
  }
  if (descriptors.size() > kMaxDescriptorsPerMessage) {
    return absl::InvalidArgumentError(absl::StrCat(
        descriptors.size(), " descriptors in one message: at most ",
        kMaxDescriptorsPerMessage, " are allowed"));
  }

  iovec vector = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header = {};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  alignas(cmsghdr) unsigned char
      control[CMSG_SPACE(kMaxDescriptorsPerMessage * sizeof(int))];
  if (!descriptors.empty()) {
    const size_t payload = descriptors.size() * sizeof(int);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(payload);
    std::memset(control, 0, header.msg_controllen);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(payload);
    std::memcpy(CMSG_DATA(rights), descriptors.data(), payload);
  }

  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return SendError(errno, descriptors);
  return absl::OkStatus();
}

absl::StatusOr<ReceivedMessage> ReceiveMessage(int socket, size_t max_bytes) {
  auto memory = std::make_unique_for_overwrite<char[]>(max_bytes);
  auto message =
      ReceiveMessage(socket, absl::MakeSpan(memory.get(), max_bytes));
  if (message.ok()) message->memory = std::move(memory);
  return message;
}

absl::StatusOr<ReceivedMessage> ReceiveMessage(int socket,
                                               absl::Span<char> memory) {
  iovec vector = {memory.data(), memory.size()};
  alignas(cmsghdr) unsigned char control[kControlBytes];
  msghdr header;
  ssize_t length;
  // ECONNRESET says once that the peer closed without having read everything,
  // and hides what it sent before: its messages come with the next call.
  bool reset = false;
  do {
    header = {};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    length = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (length < 0 && (errno == EINTR || (errno == ECONNRESET &&
                                             !std::exchange(reset, true))));
  if (length < 0) {
    const int error = errno;
    if (error == EAGAIN) return absl::UnavailableError("no message yet");
    if (error == ECONNRESET) {
      return absl::AbortedError("recvmsg: the connection was reset");
    }
    return absl::ErrnoToStatus(error, "recvmsg");
  }

  ReceivedMessage message;
  TakeControlMessages(header, message);
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    return absl::DataLossError(
        absl::StrCat("some descriptors of a message did not fit into the table "
                     "of this process (RLIMIT_NOFILE); ",
                     message.descriptors.size(), " did (MSG_CTRUNC)"));
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) {
    return absl::DataLossError(absl::StrCat(
        "a message is longer than ", memory.size(), " bytes (MSG_TRUNC)"));
  }
  if (length == 0) {
    // recvmsg(2) returns 0 for an empty message too. One with descriptors or
    // credentials gives itself away; the others leave the peer connected.
    if (header.msg_controllen != 0 || !PeerHasClosed(socket)) {
      return absl::DataLossError("an empty message");
    }
    return absl::OutOfRangeError("the peer has closed the connection");
  }
  message.bytes = absl::string_view(memory.data(), static_cast<size_t>(length));
  return message;
}

absl::Status EnableSenderIdentity(int socket, bool want_pidfd) {
  const int on = 1;
  if (::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
    return absl::ErrnoToStatus(errno, "setsockopt(SO_PASSCRED)");
  }
  // Cleared explicitly: an accepted socket inherits it from its listener.
  const int pidfd = want_pidfd ? 1 : 0;
  if (::setsockopt(socket, SOL_SOCKET, SO_PASSPIDFD, &pidfd, sizeof(pidfd)) <
          0 &&
      errno != ENOPROTOOPT) {
    return absl::ErrnoToStatus(errno, "setsockopt(SO_PASSPIDFD)");
  }
  return absl::OkStatus();
}

}  // namespace handoff
