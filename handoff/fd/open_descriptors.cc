#include "handoff/fd/open_descriptors.h"

#include <dirent.h>
#include <sys/resource.h>

namespace handoff {

OpenDescriptors CountOpenDescriptors() {
  OpenDescriptors open;
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) open.limit = limit.rlim_cur;
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return open;
  while (::readdir(folder) != nullptr) ++open.count;
  ::closedir(folder);
  // ".", "..", and the folder's own.
  open.count -= open.count < 3 ? open.count : 3;
  return open;
}

}  // namespace handoff
