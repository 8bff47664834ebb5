#include "handoff/transport/unix_path.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {

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
    temporary = absl::StrCat("/proc/self/fd/", folder.get(), "/", suffix);
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

}  // namespace handoff
