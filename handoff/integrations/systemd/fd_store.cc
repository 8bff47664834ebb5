#include "handoff/integrations/systemd/fd_store.h"

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace handoff {
namespace {

// Its queue is full, or too much of this user is in queues: later, without
// waiting here.
absl::Status Later(absl::Status status) {
  return absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)
             ? absl::UnavailableError(status.message())
             : status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FdStore>> FdStore::FromEnvironment() {
  auto manager = NotifySocket::FromEnvironment();
  if (!manager.ok()) return manager.status();
  if (*manager == nullptr) return nullptr;
  return std::make_unique<FdStore>(*std::move(manager));
}

absl::Status FdStore::Keep(absl::string_view name, absl::Span<const int> fds,
                           bool connection) {
  std::vector<NotifySocket::Assignment> message = {
      {"FDSTORE", "1"}, {"FDNAME", std::string(name)}};
  // systemd polls what it has, and closes what hangs up or has an error: right
  // for a client who goes away, wrong for a UDP socket or a pipe.
  if (!connection) message.push_back({"FDPOLL", "0"});
  return Later(manager_->Send(message, absl::ZeroDuration(), fds));
}

absl::Status FdStore::Forget(absl::string_view name) {
  return Later(
      manager_->Send({{"FDSTOREREMOVE", "1"}, {"FDNAME", std::string(name)}},
                     absl::ZeroDuration()));
}

}  // namespace handoff
