#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_FAKE_MANAGER_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_FAKE_MANAGER_H_

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// For tests: the service manager's end of NOTIFY_SOCKET, at a path or at an
// abstract name.
class FakeManager {
 public:
  explicit FakeManager(const std::string& address)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, address.data(), address.size());
    size_t size = offsetof(sockaddr_un, sun_path) + address.size();
    if (address[0] == '@') {
      name.sun_path[0] = '\0';
    } else {
      ++size;
    }
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&name),
                     static_cast<socklen_t>(size)),
              0)
        << std::strerror(errno);
    EXPECT_TRUE(EnableSenderIdentity(socket_.get()).ok());
  }

  // The next message, which must come; empty where none does.
  ReceivedMessage Next() {
    pollfd polled = {socket_.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&polled, 1, 30'000), 1) << "nothing was sent";
    auto received = ReceiveMessage(socket_.get());
    EXPECT_TRUE(received.ok()) << received.status();
    return received.ok() ? *std::move(received) : ReceivedMessage();
  }
  // And none comes within this time.
  bool HasNone(int milliseconds = 0) {
    pollfd polled = {socket_.get(), POLLIN, 0};
    return ::poll(&polled, 1, milliseconds) == 0;
  }

 private:
  UniqueFd socket_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_FAKE_MANAGER_H_
