#ifndef HANDOFF_BELONGINGS_H_
#define HANDOFF_BELONGINGS_H_

#include <string>
#include <vector>

#include "handoff/batch_builder.h"
#include "handoff/handoff.h"

namespace handoff {

// What a process has to give, besides its sessions. Written until Ready().
struct Belongings {
  struct Blob {
    std::string name;
    Handoff::SaveBlob save;
  };
  // The handoff listener first.
  std::vector<NamedDescriptor> named;
  std::vector<Blob> blobs;
};

}  // namespace handoff

#endif  // HANDOFF_BELONGINGS_H_
