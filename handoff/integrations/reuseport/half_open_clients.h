#ifndef HANDOFF_INTEGRATIONS_REUSEPORT_HALF_OPEN_CLIENTS_H_
#define HANDOFF_INTEGRATIONS_REUSEPORT_HALF_OPEN_CLIENTS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// For tests: TCP clients that stop in the middle of a handshake. They live
// behind a TUN device, where every packet is the test's own; the kernel is the
// server. Each client is known by its port, at 10.9.0.2; the server's address
// is kServer.
class HalfOpenClients {
 public:
  static constexpr char kServer[] = "10.9.0.1";

  struct Client {
    bool offered = false;  // SYN-ACK has come
    bool reset = false;
    std::string received;
    uint32_t sent_up_to = 0;
    uint32_t received_up_to = 0;
  };

  // Puts this thread into a network namespace of its own, with the device.
  // PERMISSION_DENIED where that is not allowed.
  static absl::StatusOr<HalfOpenClients> Create(uint16_t server_port);

  void Syn(uint16_t port);
  // The last of a handshake, with `data`.
  void Ack(uint16_t port, const std::string& data);

  // Handles what comes within a few milliseconds.
  void Pump();
  const Client& client(uint16_t port) { return clients_[port]; }

 private:
  HalfOpenClients(UniqueFd device, uint16_t server_port)
      : device_(std::move(device)), server_port_(server_port) {}

  void Send(uint16_t port, uint8_t flags, const std::string& data);
  void Handle(const std::string& packet);

  UniqueFd device_;
  uint16_t server_port_;
  std::map<uint16_t, Client> clients_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_REUSEPORT_HALF_OPEN_CLIENTS_H_
