#include "handoff/integrations/reuseport/tcp_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

// Of include/net/tcp_states.h. A handshake is listed as SYN_RECV.
constexpr uint32_t kSynRecv = 3;
constexpr uint32_t kListen = 10;
// The kernel fills a page or more at once; it does not use more than this.
constexpr size_t kMostAtOnce = 64 * 1024;

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

absl::Status Ask(int netlink, int family, TcpState state) {
  Request request = {};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = static_cast<uint8_t>(family);
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_states =
      1U << (state == TcpState::kListen ? kListen : kSynRecv);
  if (::send(netlink, &request, sizeof(request), 0) < 0) {
    return absl::ErrnoToStatus(errno, "asking for TCP sockets");
  }
  return absl::OkStatus();
}

std::string Bytes(const void* data, size_t size) {
  return std::string(static_cast<const char*>(data), size);
}

}  // namespace

absl::StatusOr<std::vector<TcpEntry>> ListTcp(int family, TcpState state,
                                              uint16_t port) {
  const UniqueFd netlink(
      ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return absl::ErrnoToStatus(errno, "socket(NETLINK_SOCK_DIAG)");
  if (absl::Status asked = Ask(netlink.get(), family, state); !asked.ok()) {
    return asked;
  }
  const size_t address_size =
      family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  std::vector<TcpEntry> entries;
  alignas(nlmsghdr) static thread_local char buffer[kMostAtOnce];
  while (true) {
    const ssize_t received = ::recv(netlink.get(), buffer, sizeof(buffer), 0);
    if (received < 0) {
      if (errno == EINTR) continue;
      return absl::ErrnoToStatus(errno, "reading the list of TCP sockets");
    }
    auto left = static_cast<int>(received);
    for (const auto* header = reinterpret_cast<const nlmsghdr*>(buffer);
         NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == NLMSG_DONE) return entries;
      if (header->nlmsg_type == NLMSG_ERROR) {
        const auto* error = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
        return absl::ErrnoToStatus(-error->error, "listing TCP sockets");
      }
      inet_diag_msg socket;
      if (header->nlmsg_len < NLMSG_LENGTH(sizeof(socket))) continue;
      std::memcpy(&socket, NLMSG_DATA(header), sizeof(socket));
      if (socket.id.idiag_sport != htons(port)) continue;
      entries.push_back(
          {Bytes(socket.id.idiag_src, address_size),
           Bytes(socket.id.idiag_dst, address_size) +
               Bytes(&socket.id.idiag_dport, sizeof(socket.id.idiag_dport)),
           socket.idiag_inode});
    }
  }
}

}  // namespace handoff
