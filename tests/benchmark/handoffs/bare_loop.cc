#include "tests/benchmark/handoffs/bare_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "handoff/fd/unique_fd.h"
#include "tests/benchmark/handoffs/program.h"

namespace handoff::benchmark {
namespace {

constexpr size_t kBatch = 252;  // handoff/fd/scm_rights.h
// A message of more does not fit into the default SO_SNDBUF (unix(7)).
constexpr size_t kMostInline = 128 * 1024;

// In front of each message.
struct Head {
  uint32_t descriptors;  // 0: state alone
  uint32_t sessions;     // 0: that was the last one
  uint32_t memfd;        // there is one more descriptor, with the state
  uint32_t padding;
  uint64_t cookies[kBatch];
};

uint64_t Cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  Require(::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0,
          "SO_COOKIE");
  return cookie;
}

void Register(const UniqueFd& epoll, int fd) {
  epoll_event event = {EPOLLIN, {.fd = fd}};
  Require(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0,
          "epoll_ctl");
}

void SendBatch(int socket, Head& head, const std::vector<int>& fds,
               std::vector<iovec> state) {
  msghdr message = {};
  alignas(cmsghdr) unsigned char
      control[CMSG_SPACE((kBatch + 1) * sizeof(int))] = {};
  UniqueFd memfd;
  std::vector<int> sent = fds;
  std::vector<iovec> parts = {{&head, sizeof(head)}};
  if (head.memfd != 0) {
    memfd.reset(::memfd_create("state", MFD_CLOEXEC));
    Require(
        ::writev(memfd.get(), state.data(), static_cast<int>(state.size())) > 0,
        "writev");
    sent.push_back(memfd.get());
  } else {
    parts.insert(parts.end(), state.begin(), state.end());
  }
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (!sent.empty()) {
    const size_t bytes = sent.size() * sizeof(int);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), sent.data(), bytes);
  }
  Require(::sendmsg(socket, &message, MSG_NOSIGNAL) > 0, "sendmsg");
}

void Send(int socket, const std::vector<UniqueFd>& connections,
          std::vector<std::string>& states, bool descriptors) {
  Head head = {};
  for (size_t from = 0; from < states.size(); from += kBatch) {
    const size_t to = std::min(from + kBatch, states.size());
    std::vector<int> fds;
    std::vector<iovec> state;
    size_t bytes = 0;
    for (size_t i = from; i < to; ++i) {
      if (descriptors) {
        fds.push_back(connections[i].get());
        head.cookies[i - from] = Cookie(fds.back());
      }
      state.push_back({states[i].data(), states[i].size()});
      bytes += states[i].size();
    }
    head.descriptors = static_cast<uint32_t>(fds.size());
    head.sessions = static_cast<uint32_t>(to - from);
    // One less descriptor would fit, were there a memfd: 253 is the kernel's
    // limit (SCM_MAX_FD).
    head.memfd = bytes > kMostInline ? 1 : 0;
    SendBatch(socket, head, fds, std::move(state));
  }
  head.sessions = head.descriptors = head.memfd = 0;
  SendBatch(socket, head, {}, {});
  uint64_t received = 0;
  Require(::recv(socket, &received, sizeof(received), 0) == sizeof(received) &&
              received == states.size(),
          "the receiver has not got all of it");
}

// What one move has brought.
struct Received {
  UniqueFd epoll{::epoll_create1(EPOLL_CLOEXEC)};
  std::vector<UniqueFd> connections;
  std::vector<std::unique_ptr<char[]>> states;  // of a batch each
  uint64_t sessions = 0;
};

// False at the end of the last move.
bool ReceiveBatch(int socket, size_t state_bytes, std::vector<char>& buffer,
                  Received& all) {
  iovec part = {buffer.data(), buffer.size()};
  msghdr message = {};
  alignas(
      cmsghdr) unsigned char control[CMSG_SPACE((kBatch + 1) * sizeof(int))];
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (size <= 0) std::_Exit(0);  // the sender has ended
  Head head;
  std::memcpy(&head, buffer.data(), sizeof(head));
  if (head.sessions == 0) return false;
  std::vector<int> fds(head.descriptors + head.memfd);
  if (cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr) {
    std::memcpy(fds.data(), CMSG_DATA(rights), fds.size() * sizeof(int));
  }
  const size_t bytes = head.sessions * state_bytes;
  auto state = std::make_unique_for_overwrite<char[]>(bytes);
  if (head.memfd != 0) {
    const UniqueFd memfd(fds.back());
    fds.pop_back();
    Require(::pread(memfd.get(), state.get(), bytes, 0) ==
                static_cast<ssize_t>(bytes),
            "pread");
  } else {
    std::memcpy(state.get(), buffer.data() + sizeof(head), bytes);
  }
  all.states.push_back(std::move(state));
  for (size_t i = 0; i < fds.size(); ++i) {
    Require(Cookie(fds[i]) == head.cookies[i], "another descriptor has come");
    Register(all.epoll, fds[i]);
    all.connections.emplace_back(fds[i]);
  }
  all.sessions += head.sessions;
  return true;
}

void SayTo(int socket) {
  Require(::send(socket, "", 1, MSG_NOSIGNAL) == 1, "send");
}

// False where the other side has ended.
bool HearFrom(int socket) {
  char byte;
  return ::recv(socket, &byte, 1, 0) == 1;
}

[[noreturn]] void ReceiveOnce(int socket, size_t count, size_t state_bytes) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char> buffer(sizeof(Head) + kMostInline);
  // As a handoff has it: the table does not grow meanwhile.
  const UniqueFd highest(
      ::fcntl(socket, F_DUPFD_CLOEXEC, static_cast<int>(count + 64)));
  Received all;
  all.connections.reserve(count);
  SayTo(socket);
  while (ReceiveBatch(socket, state_bytes, buffer, all)) {
  }
  Require(::send(socket, &all.sessions, sizeof(all.sessions), MSG_NOSIGNAL) ==
              sizeof(all.sessions),
          "send");
  std::_Exit(0);
}

// Each move is to a new process, as a handoff is.
[[noreturn]] void Receive(int socket, size_t count, size_t state_bytes) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (HearFrom(socket)) {
    const pid_t child = ::fork();
    if (child == 0) ReceiveOnce(socket, count, state_bytes);
    int status = -1;
    Require(child > 0 && ::waitpid(child, &status, 0) == child && status == 0,
            "a receiver has failed");
    SayTo(socket);
  }
  std::_Exit(0);
}

}  // namespace

void RunBareLoop(size_t count, size_t state_bytes) {
  int pair[2];
  Require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0,
          "socketpair");
  UniqueFd sender(pair[0]);
  UniqueFd receiver(pair[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    sender.reset();
    Receive(receiver.get(), count, state_bytes);
  }
  receiver.reset();

  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  socklen_t length = sizeof(address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  Require(::bind(listener.get(), any, length) == 0 &&
              ::listen(listener.get(), 4096) == 0 &&
              ::getsockname(listener.get(), any, &length) == 0,
          "listen");
  Say(absl::StrCat("port ", ntohs(address.sin_port)));
  // As in a service that serves them: a socket that is in one epoll already is
  // slower to register in another.
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  std::vector<UniqueFd> connections(count);
  for (UniqueFd& connection : connections) {
    connection.reset(::accept4(listener.get(), nullptr, nullptr,
                               SOCK_NONBLOCK | SOCK_CLOEXEC));
    Require(connection.valid(), "accept4");
    Register(epoll, connection.get());
  }
  Say("accepted");
  std::vector<std::string> states(count, std::string(state_bytes, 's'));
  for (std::string told; !(told = Hear()).empty();) {
    SayTo(sender.get());
    Require(HearFrom(sender.get()), "no receiver begins");
    const int64_t begun = NowNanos();
    Send(sender.get(), connections, states, told == "move");
    const int64_t ended = NowNanos();
    // What it had is let go of before the next move begins.
    Require(HearFrom(sender.get()), "the receiver has not ended");
    Say(absl::StrCat("moved ", ended - begun));
  }
  sender.reset();
  ::waitpid(child, nullptr, 0);
}

}  // namespace handoff::benchmark
