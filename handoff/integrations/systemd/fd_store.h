#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "handoff/descriptor_store.h"
#include "handoff/integrations/systemd/notify_socket.h"

namespace handoff {

// systemd's fd store (FDSTORE= and FDSTOREREMOVE= of sd_notify(3)), for
// Options::store. What it has, TakeListenFds() gets when the service is started
// again.
//
// The unit needs FileDescriptorStoreMax=, at least StoreLimits::descriptors:
// what is more, systemd closes without a word to us. It takes messages of the
// main process alone, unless NotifyAccess= says otherwise.
//
// Thread-safe.
class FdStore : public DescriptorStore {
 public:
  // At the manager that NOTIFY_SOCKET names; null where it is not set: nobody
  // keeps anything for us. Codes of NotifySocket::Open().
  static absl::StatusOr<std::unique_ptr<FdStore>> FromEnvironment();

  explicit FdStore(std::unique_ptr<NotifySocket> manager)
      : manager_(std::move(manager)) {}

  absl::Status Keep(absl::string_view name, absl::Span<const int> fds,
                    bool connection) override;
  absl::Status Forget(absl::string_view name) override;

 private:
  const std::unique_ptr<NotifySocket> manager_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_
