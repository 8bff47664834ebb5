#include "handoff/integrations/reuseport/half_open_clients.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace handoff {
namespace {

constexpr char kClients[] = "10.9.0.2";
constexpr int kPumpMs = 5;
constexpr uint32_t kFirst = 1'000;  // sequence number of each SYN

// Of RFC 1071, not yet folded.
uint32_t Sum(const std::string& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    sum += i % 2 == 0 ? static_cast<uint32_t>(byte << 8) : byte;
  }
  return sum;
}

uint16_t Checksum(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

template <typename T>
std::string Bytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

in_addr Address(const char* text) {
  in_addr address = {};
  (void)::inet_pton(AF_INET, text, &address);
  return address;
}

// One of the requests of netdevice(7) on the device `name`.
template <typename Fill>
bool Configure(int socket, const char* name, unsigned long what, Fill fill) {
  ifreq request = {};
  std::strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
  fill(request);
  return ::ioctl(socket, what, &request) == 0;
}

bool SetAddress(int socket, unsigned long what, const char* address) {
  return Configure(socket, "tun0", what, [&](ifreq& request) {
    sockaddr_in in = {};
    in.sin_family = AF_INET;
    in.sin_addr = Address(address);
    std::memcpy(&request.ifr_addr, &in, sizeof(in));
  });
}

bool Up(int socket, const char* name) {
  return Configure(socket, name, SIOCSIFFLAGS, [](ifreq& request) {
    request.ifr_flags = IFF_UP | IFF_RUNNING;
  });
}

}  // namespace

absl::StatusOr<HalfOpenClients> HalfOpenClients::Create(uint16_t server_port) {
  if (::unshare(CLONE_NEWNET) < 0) {
    return absl::ErrnoToStatus(errno, "a network namespace");
  }
  UniqueFd device(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device) return absl::ErrnoToStatus(errno, "/dev/net/tun");
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto tun = [](ifreq& request) {
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
  };
  if (!Configure(device.get(), "tun0", TUNSETIFF, tun) ||
      !SetAddress(socket.get(), SIOCSIFADDR, kServer) ||
      !SetAddress(socket.get(), SIOCSIFNETMASK, "255.255.255.0") ||
      !Up(socket.get(), "tun0") || !Up(socket.get(), "lo")) {
    return absl::ErrnoToStatus(errno, "setting up a TUN device");
  }
  return HalfOpenClients(std::move(device), server_port);
}

void HalfOpenClients::Send(uint16_t port, uint8_t flags,
                           const std::string& data) {
  Client& client = clients_[port];
  tcphdr tcp = {};
  tcp.th_sport = htons(port);
  tcp.th_dport = htons(server_port_);
  tcp.th_seq = htonl(client.sent_up_to);
  tcp.th_ack = htonl(client.received_up_to);
  tcp.th_off = sizeof(tcp) / 4;
  tcp.th_flags = flags;
  tcp.th_win = htons(65535);
  const auto length = static_cast<uint16_t>(sizeof(tcp) + data.size());
  const std::string pseudo = Bytes(Address(kClients)) +
                             Bytes(Address(kServer)) +
                             Bytes(htons(IPPROTO_TCP)) + Bytes(htons(length));
  tcp.th_sum = Checksum(Sum(pseudo) + Sum(Bytes(tcp)) + Sum(data));

  iphdr ip = {};
  ip.version = 4;
  ip.ihl = sizeof(ip) / 4;
  ip.tot_len = htons(static_cast<uint16_t>(sizeof(ip) + length));
  ip.ttl = 64;
  ip.protocol = IPPROTO_TCP;
  ip.saddr = Address(kClients).s_addr;
  ip.daddr = Address(kServer).s_addr;
  ip.check = Checksum(Sum(Bytes(ip)));

  const std::string packet = Bytes(ip) + Bytes(tcp) + data;
  (void)::write(device_.get(), packet.data(), packet.size());
  client.sent_up_to += static_cast<uint32_t>(data.size());
}

void HalfOpenClients::Syn(uint16_t port) {
  clients_[port].sent_up_to = kFirst;
  Send(port, TH_SYN, "");
  clients_[port].sent_up_to = kFirst + 1;
}

void HalfOpenClients::Ack(uint16_t port, const std::string& data) {
  Send(port, TH_ACK, data);
}

void HalfOpenClients::Handle(const std::string& packet) {
  iphdr ip;
  tcphdr tcp;
  if (packet.size() < sizeof(ip) + sizeof(tcp)) return;
  std::memcpy(&ip, packet.data(), sizeof(ip));
  if (ip.version != 4 || ip.protocol != IPPROTO_TCP) return;
  const size_t start = size_t{ip.ihl} * 4;
  std::memcpy(&tcp, packet.data() + start, sizeof(tcp));
  const auto known = clients_.find(ntohs(tcp.th_dport));
  if (known == clients_.end()) return;
  Client& client = known->second;
  const uint32_t sequence = ntohl(tcp.th_seq);
  if ((tcp.th_flags & TH_RST) != 0) {
    client.reset = true;
  } else if ((tcp.th_flags & TH_SYN) != 0) {
    client.offered = true;
    client.received_up_to = sequence + 1;
  } else {
    const std::string data = packet.substr(start + size_t{tcp.th_off} * 4);
    if (data.empty() || sequence != client.received_up_to) return;
    client.received += data;
    client.received_up_to += static_cast<uint32_t>(data.size());
    Send(known->first, TH_ACK, "");
  }
}

void HalfOpenClients::Pump() {
  pollfd events = {device_.get(), POLLIN, 0};
  (void)::poll(&events, 1, kPumpMs);
  char packet[2048];
  ssize_t size = 0;
  while ((size = ::read(device_.get(), packet, sizeof(packet))) > 0) {
    Handle(std::string(packet, static_cast<size_t>(size)));
  }
}

}  // namespace handoff
