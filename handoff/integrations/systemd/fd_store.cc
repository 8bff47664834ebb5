#include "handoff/integrations/systemd/fd_store.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/str_cat.h"
#include "handoff/clock.h"

namespace handoff {
namespace {

// No session's name and no log's: the library forgets what it finds of it.
constexpr char kProbe[] = "~-";
// systemd logs what it does not take.
constexpr absl::Duration kFirstPause = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Seconds(10);

// Its queue is full, or too much of this user is in queues: later, without
// waiting here.
absl::Status Later(absl::Status status) {
  return absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status)
             ? absl::UnavailableError(status.message())
             : status;
}

// Of a pipe: whether nobody has the other end.
bool HungUp(int fd) {
  pollfd polled = {fd, 0, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP) != 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FdStore>> FdStore::FromEnvironment() {
  auto manager = NotifySocket::FromEnvironment();
  if (!manager.ok()) return manager.status();
  if (*manager == nullptr) return nullptr;
  // Processes of one unit are in its control group.
  std::string name = absl::StrCat(::getenv("NOTIFY_SOCKET"), "\n");
  std::ifstream groups("/proc/self/cgroup");
  name.append(std::istreambuf_iterator<char>(groups), {});
  return std::make_unique<FdStore>(*std::move(manager), std::move(name));
}

absl::Status FdStore::SendProbe() {
  int kept[2];
  if (::pipe2(kept, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  kept_.reset(kept[0]);
  const UniqueFd keep(kept[1]);
  int read[2];
  if (::pipe2(read, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe2");
  read_.reset(read[0]);
  const UniqueFd barrier(read[1]);
  const absl::Status sent =
      manager_->Send({{"FDSTORE", "1"}, {"FDNAME", kProbe}, {"FDPOLL", "0"}},
                     absl::ZeroDuration(), {keep.get()});
  if (!sent.ok()) return sent;
  return manager_->Send({{"BARRIER", "1"}}, absl::ZeroDuration(),
                        {barrier.get()});
}

absl::Status FdStore::Probe() {
  if (keeps_) return absl::OkStatus();
  const absl::Time now = MonotonicNow();
  if (!read_) {
    if (now < next_probe_) {
      return absl::UnavailableError(
          "the service manager keeps nothing of this process: see "
          "FileDescriptorStoreMax= and NotifyAccess= of its unit");
    }
    if (absl::Status s = SendProbe(); !s.ok()) {
      read_.reset();
      return Later(s);
    }
  }
  if (!HungUp(read_.get())) {
    return absl::UnavailableError("the service manager has not read it yet");
  }
  read_.reset();
  if (HungUp(kept_.get())) {
    pause_ = std::clamp(2 * pause_, kFirstPause, kLongestPause);
    next_probe_ = now + pause_;
    return Probe();  // says why
  }
  // Where there is no room for this, the probe is sent again.
  if (absl::Status s = SendForget(kProbe); !s.ok()) return s;
  kept_.reset();
  keeps_ = true;
  return absl::OkStatus();
}

absl::Status FdStore::Keep(absl::string_view name, absl::Span<const int> fds,
                           bool connection) {
  if (absl::Status s = Probe(); !s.ok()) return s;
  std::vector<NotifySocket::Assignment> message = {
      {"FDSTORE", "1"}, {"FDNAME", std::string(name)}};
  // systemd polls what it has, and closes what hangs up or has an error: right
  // for a client who goes away, wrong for a UDP socket or a pipe.
  if (!connection) message.push_back({"FDPOLL", "0"});
  return Later(manager_->Send(message, absl::ZeroDuration(), fds));
}

absl::Status FdStore::Forget(absl::string_view name) {
  if (absl::Status s = Probe(); !s.ok()) return s;
  return SendForget(name);
}

absl::Status FdStore::SendForget(absl::string_view name) const {
  return Later(
      manager_->Send({{"FDSTOREREMOVE", "1"}, {"FDNAME", std::string(name)}},
                     absl::ZeroDuration()));
}

}  // namespace handoff
