#ifndef HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_
#define HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "handoff/descriptor_store.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/integrations/systemd/notify_socket.h"

namespace handoff {

// systemd's fd store (FDSTORE= and FDSTOREREMOVE= of sd_notify(3)), for
// Options::store. What it has, TakeListenFds() gets when the service is started
// again.
//
// The unit needs FileDescriptorStoreMax=, at least StoreLimits::descriptors:
// what is more, systemd closes without a word to us. Nor does it say so where
// it takes nothing of this process: because there is no such line, or because
// it does not know it as the main one yet (NotifyAccess=). So the first thing
// that it is given is the end of a pipe, at whose other end one can see what
// becomes of it; until that is kept nothing else is sent.
//
// Not thread-safe.
class FdStore : public DescriptorStore {
 public:
  // At the manager that NOTIFY_SOCKET names; null where it is not set: nobody
  // keeps anything for us. Codes of NotifySocket::Open().
  static absl::StatusOr<std::unique_ptr<FdStore>> FromEnvironment();

  // `name`: the manager's and that of our unit, of which each has a store.
  FdStore(std::unique_ptr<NotifySocket> manager, std::string name)
      : manager_(std::move(manager)), name_(std::move(name)) {}

  std::string Name() const override { return name_; }
  absl::Status Keep(absl::string_view name, absl::Span<const int> fds,
                    bool connection) override;
  absl::Status Forget(absl::string_view name) override;

 private:
  // UNAVAILABLE until it is certain that the manager keeps what is sent to it.
  absl::Status Probe();
  absl::Status SendProbe();
  absl::Status SendForget(absl::string_view name) const;

  const std::unique_ptr<NotifySocket> manager_;
  const std::string name_;
  bool keeps_ = false;
  // Of pipes whose other ends were sent: to be kept, and to be closed as soon
  // as the manager has read so far.
  UniqueFd kept_;
  UniqueFd read_;
  absl::Time next_probe_ = absl::InfinitePast();
  absl::Duration pause_;
};

}  // namespace handoff

#endif  // HANDOFF_INTEGRATIONS_SYSTEMD_FD_STORE_H_
