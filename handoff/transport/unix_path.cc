#include "handoff/transport/unix_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

constexpr char kFolders[] = "/proc/self/fd/";

}  // namespace

absl::StatusOr<sockaddr_un> UnixAddress(absl::string_view path) {
  if (path.empty()) return absl::InvalidArgumentError("an empty socket path");
  if (path.front() == '@' || path.front() == '\0') {
    return absl::InvalidArgumentError(
        "an abstract socket name has no permissions; give a path");
  }
  if (path.find('\0') != absl::string_view::npos) {
    return absl::InvalidArgumentError("a socket path with a NUL byte");
  }
  if (path.size() > kMaxUnixPathBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a socket path of ", path.size(), " bytes: at most ",
                     kMaxUnixPathBytes, " are possible: ", path));
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string FolderOf(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == absl::string_view::npos) return ".";
  return absl::StrCat(path.substr(0, slash == 0 ? 1 : slash));
}

absl::Status ListenAndRename(int socket, const std::string& path,
                             absl::string_view suffix, int backlog,
                             bool replace) {
  std::string temporary = absl::StrCat(path, suffix);
  UniqueFd folder;
  if (temporary.size() > kMaxUnixPathBytes) {
    // Reached through the folder's descriptor, the name is short.
    folder.reset(
        ::open(FolderOf(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder.valid()) {
      return absl::ErrnoToStatus(errno, absl::StrCat("open ", FolderOf(path)));
    }
    temporary = absl::StrCat(kFolders, folder.get(), "/", suffix);
  }
  absl::StatusOr<sockaddr_un> address = UnixAddress(temporary);
  if (!address.ok()) return address.status();

  // Left by a process that died between bind and rename.
  ::unlink(temporary.c_str());
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&*address),
             sizeof(*address)) < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("bind ", temporary));
  }
  absl::Status status;
  if (::listen(socket, backlog) < 0) {
    status = absl::ErrnoToStatus(errno, absl::StrCat("listen at ", path));
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(),
                         replace ? 0 : RENAME_NOREPLACE) < 0) {
    status = errno == EEXIST
                 ? absl::AlreadyExistsError(absl::StrCat(path, " is in use"))
                 : absl::ErrnoToStatus(errno, absl::StrCat("rename to ", path));
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

bool IsBoundAt(int socket, absl::string_view path) {
  sockaddr_un bound = {};
  socklen_t length = sizeof(bound);
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&bound), &length) < 0 ||
      bound.sun_family != AF_UNIX ||
      length <= offsetof(sockaddr_un, sun_path)) {
    return false;
  }
  absl::string_view name(bound.sun_path,
                         ::strnlen(bound.sun_path, sizeof(bound.sun_path)));
  if (absl::StartsWith(name, kFolders)) {
    // In a folder that was reached by a descriptor, and of which nobody knows
    // the name now: where the path is too long for anything else.
    return path.size() + name.size() - name.rfind('/') - 1 > kMaxUnixPathBytes;
  }
  if (!absl::ConsumePrefix(&name, path)) return false;
  return name.empty() ||
         (absl::ConsumePrefix(&name, ".") && !name.empty() &&
          std::all_of(name.begin(), name.end(), absl::ascii_isdigit));
}

}  // namespace handoff
