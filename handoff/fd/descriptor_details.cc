#include "handoff/fd/descriptor_details.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "handoff/fd/fd_description.h"

namespace handoff {
namespace {

struct Option {
  absl::string_view name;
  int level;
  int option;
};

constexpr Option kOfAll[] = {
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF},
};
constexpr Option kOfInternet[] = {
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT},
    {"SO_MARK", SOL_SOCKET, SO_MARK},
};
constexpr Option kOfIpv4[] = {
    {"IP_TOS", IPPROTO_IP, IP_TOS},
    {"IP_TTL", IPPROTO_IP, IP_TTL},
};
constexpr Option kOfIpv6[] = {
    {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY},
    {"IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS},
};
constexpr Option kOfTcp[] = {
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE},
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY},
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK},
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT},
};
constexpr Option kOfTcpListener[] = {
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN},
};
constexpr Option kOfUdp[] = {
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST},
};
constexpr Option kOfUnix[] = {
    {"SO_PASSCRED", SOL_SOCKET, SO_PASSCRED},
};

void Add(absl::string_view name, int64_t value, v1::DescriptorDetails& to) {
  v1::DescriptorDetails::Option* option = to.add_options();
  option->set_name(std::string(name));
  option->set_value(value);
}

template <size_t kSize>
void AddAll(int fd, const Option (&options)[kSize], v1::DescriptorDetails& to) {
  for (const Option& option : options) {
    int value = 0;
    socklen_t size = sizeof(value);
    if (::getsockopt(fd, option.level, option.option, &value, &size) == 0) {
      Add(option.name, value, to);
    }
  }
}

int IntOption(int fd, int option) {
  int value = 0;
  socklen_t size = sizeof(value);
  ::getsockopt(fd, SOL_SOCKET, option, &value, &size);
  return value;
}

void AddLinger(int fd, v1::DescriptorDetails& to) {
  linger value = {};
  socklen_t size = sizeof(value);
  if (::getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, &size) == 0) {
    Add("SO_LINGER", value.l_onoff != 0 ? value.l_linger : -1, to);
  }
}

void AddQueues(int fd, v1::DescriptorDetails& to) {
  int bytes = 0;
  if (::ioctl(fd, SIOCINQ, &bytes) == 0 && bytes > 0) {
    to.set_receive_queue(static_cast<uint64_t>(bytes));
  }
  bytes = 0;
  if (::ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0) {
    to.set_send_queue(static_cast<uint64_t>(bytes));
  }
}

void AddBacklog(int fd, v1::DescriptorDetails& to) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  // In the state LISTEN these two say something else than their names.
  to.set_receive_queue(info.tcpi_unacked);
  to.set_send_queue(info.tcpi_sacked);
}

}  // namespace

absl::StatusOr<v1::DescriptorDetails> ReadDescriptorDetails(int fd) {
  const auto described = DescribeDescriptor(fd);
  if (!described.ok()) return described.status();
  using Info = v1::DescriptorInfo;
  const Info::Kind kind = described->kind();
  v1::DescriptorDetails details;
  const bool tcp = kind == Info::TCP || kind == Info::TCP_LISTENER;
  const bool internet = tcp || kind == Info::UDP;
  const bool unix_socket =
      kind == Info::UNIX_LISTENER || kind == Info::UNIX_STREAM ||
      kind == Info::UNIX_DATAGRAM || kind == Info::UNIX_SEQPACKET;
  if (!internet && !unix_socket && kind != Info::OTHER_SOCKET) return details;

  AddAll(fd, kOfAll, details);
  if (internet) {
    AddAll(fd, kOfInternet, details);
    if (IntOption(fd, SO_DOMAIN) == AF_INET6) {
      AddAll(fd, kOfIpv6, details);
    } else {
      AddAll(fd, kOfIpv4, details);
    }
  }
  if (tcp) {
    AddLinger(fd, details);
    AddAll(fd, kOfTcp, details);
  }
  if (kind == Info::TCP_LISTENER) AddAll(fd, kOfTcpListener, details);
  if (kind == Info::UDP) AddAll(fd, kOfUdp, details);
  if (unix_socket) AddAll(fd, kOfUnix, details);

  if (kind == Info::TCP_LISTENER) {
    AddBacklog(fd, details);
  } else {
    AddQueues(fd, details);
  }
  if (kind == Info::TCP) {
    // It may have ended meanwhile.
    if (auto counters = ReadTcpCounters(fd); counters.ok()) {
      *details.mutable_tcp() = *std::move(counters);
    }
  }
  return details;
}

}  // namespace handoff
