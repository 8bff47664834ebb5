#ifndef HANDOFF_SERVER_CONNECTION_OWNER_H_
#define HANDOFF_SERVER_CONNECTION_OWNER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "handoff/fd/unique_fd.h"
#include "server/chat_desk.h"

namespace handoff::server {

// Who owns a connection's descriptors: a handoff::Session in the service.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;

  virtual uint64_t id() const = 0;
  // How many handoffs the connection has lived through.
  virtual uint32_t handoffs() const = 0;

  // Something that Connection::Save() writes has changed.
  virtual void Changed() = 0;
  // As Changed(), outside the calls that say what to wait for next: there is
  // something to write.
  virtual void WriteSoon() = 0;

  // Where the connection's client takes part in the chat.
  virtual ChatDesk* desk() = 0;

  // Keeps the file that a body grows in, at most one at a time, until
  // CloseBody(). Returns the descriptor, borrowed.
  virtual absl::StatusOr<int> KeepBody(UniqueFd file) = 0;
  virtual void CloseBody() = 0;
};

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_CONNECTION_OWNER_H_
