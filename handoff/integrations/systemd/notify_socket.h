#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFY_SOCKET_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFY_SOCKET_H_

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

// The socket at which the service manager hears how a service is: the protocol
// of sd_notify(3), of which this is an implementation of its own.
//
// The manager knows the sender by the credentials that the kernel adds, and
// drops without a word what it does not take from this process
// (NotifyAccess=): that a message was sent says nothing of what became of it.
//
// Never waits longer than it is told to. Thread-safe.
class NotifySocket {
 public:
  // What the manager reads of a message (NOTIFY_BUFFER_MAX of systemd,
  // PIPE_BUF): it drops longer ones.
  static constexpr size_t kMaxBytes = 4096;

  // One line of a message, such as {"READY", "1"}.
  struct Assignment {
    std::string name;
    std::string value;
  };

  // The one that NOTIFY_SOCKET names; null where it is not set: nobody wants to
  // hear anything. The variable stays, for the successor that we execute.
  static absl::StatusOr<std::unique_ptr<NotifySocket>> FromEnvironment();

  // `address`: an absolute path, or an abstract name with '@' in front.
  //
  // UNIMPLEMENTED     vsock, at which a virtual machine's manager talks to its
  //                   host; that is not for services
  // INVALID_ARGUMENT  anything else
  static absl::StatusOr<std::unique_ptr<NotifySocket>> Open(
      absl::string_view address);

  // Sends one message, with duplicates of `fds`, waiting up to `patience` for
  // room in the manager's queue; where that is zero, not at all. Names and
  // values go out as they are, or not at all: no value can become a line of its
  // own.
  //
  // INVALID_ARGUMENT    a name that is none, a value with a newline or a NUL,
  //                     more than kMaxBytes; codes of SendMessage()
  // DEADLINE_EXCEEDED   no room
  // FAILED_PRECONDITION nobody listens there
  absl::Status Send(const std::vector<Assignment>& message,
                    absl::Duration patience,
                    absl::Span<const int> fds = {}) const;

  // Returns once the manager has worked through everything that this process
  // has sent before (sd_notify_barrier(3)). Codes of Send().
  absl::Status Barrier(absl::Duration patience) const;

 private:
  NotifySocket(UniqueFd socket, const sockaddr_un& address, socklen_t size)
      : socket_(std::move(socket)), address_(address), size_(size) {}

  const UniqueFd socket_;
  const sockaddr_un address_;
  const socklen_t size_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_NOTIFY_SOCKET_H_
