#ifndef HANDOFF_GIVEN_DESCRIPTOR_H_
#define HANDOFF_GIVEN_DESCRIPTOR_H_

#include <memory>
#include <string>

#include "handoff/fd/unique_fd.h"

namespace handoff {

// A descriptor that whoever started this process gave to it, under a name:
// Options::given. Listen() and Descriptor() take what has their name, in the
// order of the list, instead of making it, where the predecessor had nothing of
// that name. What nobody has taken by then, Ready() closes.
struct GivenDescriptor {
  std::string name;
  std::shared_ptr<UniqueFd> fd;  // CLOEXEC
};

}  // namespace handoff

#endif  // HANDOFF_GIVEN_DESCRIPTOR_H_
