#ifndef HANDOFF_SERVER_WORKER_CLIENT_H_
#define HANDOFF_SERVER_WORKER_CLIENT_H_

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"
#include "server/websocket_client_frames.h"

namespace handoff::server {

inline constexpr absl::Duration kPatience = absl::Seconds(30);

// A client of the service, which gives up after kPatience.
class WorkerClient {
 public:
  explicit WorkerClient(const sockaddr_in& address)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience = {absl::ToInt64Seconds(kPatience), 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience,
                 sizeof(patience));
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address),
                        sizeof(address)),
              0)
        << "it was refused";
  }

  void Ask(absl::string_view target) {
    Send(absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: x\r\n\r\n"));
  }
  void Send(absl::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Up to `end` and with it; what there is where the connection ends before.
  std::string Until(absl::string_view end) {
    while (!absl::StrContains(buffer_, end) && More()) {
    }
    const size_t at = buffer_.find(std::string(end));
    return Take(at == std::string::npos ? at : at + end.size());
  }
  // As many bytes; fewer where the connection ends before.
  std::string Bytes(size_t bytes) {
    while (buffer_.size() < bytes && More()) {
    }
    return Take(bytes);
  }
  // Changes to WebSocket, and goes into a room.
  void Join(absl::string_view room) {
    Send(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    Send(
        Frame(kText, absl::StrCat("{\"join\":\"", room, "\",\"name\":\"x\"}")));
    EXPECT_TRUE(absl::StrContains(Until("}"), "\"joined\""));
  }
  std::string Whoami() {
    Ask("/whoami");
    return Until("}\n");
  }
  uint64_t Id() {
    const std::string answer = Whoami();
    const size_t at = answer.find("\"id\":");
    return at == std::string::npos ? 0 : strtoull(&answer[at + 5], nullptr, 10);
  }
  // The service has ended it; then this end does too.
  bool Ended() {
    char byte;
    const bool ended = buffer_.empty() && ::read(fd_.get(), &byte, 1) == 0;
    fd_.reset();
    return ended;
  }

 private:
  bool More() {
    const size_t before = buffer_.size();
    buffer_.resize(before + (1 << 20));
    const ssize_t n = ::read(fd_.get(), &buffer_[before], 1 << 20);
    buffer_.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return n > 0;
  }
  std::string Take(size_t bytes) {
    std::string taken = buffer_.substr(0, bytes);
    buffer_.erase(0, bytes);
    return taken;
  }

  UniqueFd fd_;
  std::string buffer_;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_WORKER_CLIENT_H_
