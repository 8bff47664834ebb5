#include "handoff/integrations/systemd/listen_fds.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"

namespace handoff {
namespace {

// SD_LISTEN_FDS_START of sd-daemon.h.
constexpr int kFirst = 3;

absl::optional<std::string> Take(const char* variable) {
  const char* const value = ::getenv(variable);
  if (value == nullptr) return absl::nullopt;
  std::string text = value;
  ::unsetenv(variable);
  return text;
}

}  // namespace

absl::StatusOr<std::vector<GivenDescriptor>> TakeListenFds() {
  const absl::optional<std::string> pid = Take("LISTEN_PID");
  const absl::optional<std::string> fds = Take("LISTEN_FDS");
  const absl::optional<std::string> fd_names = Take("LISTEN_FDNAMES");
  // The same process by another number (systemd 259): pid and count are enough.
  Take("LISTEN_PIDFDID");
  std::vector<GivenDescriptor> given;
  if (!pid.has_value() || !fds.has_value()) return given;

  int number = 0;
  if (!absl::SimpleAtoi(*pid, &number) || number <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("LISTEN_PID=", *pid, " is no pid"));
  }
  if (number != ::getpid()) return given;
  int count = 0;
  if (!absl::SimpleAtoi(*fds, &count) || count < 0 ||
      count > INT_MAX - kFirst) {
    return absl::InvalidArgumentError(
        absl::StrCat("LISTEN_FDS=", *fds, " is no number of descriptors"));
  }
  std::vector<std::string> names;
  if (fd_names.has_value() && !fd_names->empty()) {
    names = absl::StrSplit(*fd_names, ':');
    if (names.size() != static_cast<size_t>(count)) {
      return absl::InvalidArgumentError(
          absl::StrCat("LISTEN_FDNAMES has ", names.size(),
                       " names for LISTEN_FDS=", count, " descriptors"));
    }
  }
  // Where one of them is wrong, it is not certain that any is ours.
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "LISTEN_FDS=", count, ", but descriptor ", fd, " is not open"));
    }
  }
  for (int i = 0; i < count; ++i) {
    const size_t at = static_cast<size_t>(i);
    given.push_back({names.empty() ? "unknown" : std::move(names[at]),
                     std::make_shared<UniqueFd>(kFirst + i)});
  }
  for (const GivenDescriptor& one : given) {
    if (::fcntl(one.fd->get(), F_SETFD, FD_CLOEXEC) < 0) {
      return absl::ErrnoToStatus(errno, "fcntl(F_SETFD)");
    }
  }
  return given;
}

}  // namespace handoff
