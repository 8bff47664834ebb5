#ifndef HANDOFF_OPTIONS_H_
#define HANDOFF_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "handoff/descriptor_store.h"
#include "handoff/fault_seam.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/given_descriptor.h"
#include "handoff/observer.h"
#include "handoff/protocol/settings.h"

namespace handoff {

// One kind of state that moves: of sessions or of a blob.
struct StateType {
  std::string name;
  // The versions that this binary reads and writes. The highest that both sides
  // have is used; where there is none, the handoff is refused before anything
  // moves.
  uint32_t lowest = 1;
  uint32_t highest = 1;
  // Of the message, so that tools can decode it. May be null.
  const google::protobuf::Descriptor* descriptor = nullptr;
};

struct Options {
  // Where predecessor and successor meet: a Unix socket, at most 107 bytes, in
  // a folder that only this user can write. Created 0600. PATH.lock is created
  // beside it and stays.
  std::string path;
  // Shown to people: a version, a build.
  std::string label;
  // Everything that Open() and AddBlob() name.
  std::vector<StateType> state_types;
  Deadlines deadlines;
  Limits limits;
  // Who else may be at the other end, besides this user and root.
  TrustPolicy trust;
  // What StartSuccessor() executes: a path (not /proc/self/exe: after the file
  // is replaced that names the old one) and argv, argv[0] included.
  std::string executable;
  std::vector<std::string> arguments;
  // What a manager gave to this process; integrations/systemd has it.
  std::vector<GivenDescriptor> given;
  // Where this process keeps what it has, for the next one should it crash:
  // README.md, "Surviving a crash". Borrowed, may be null; outlives the Handoff.
  DescriptorStore* store = nullptr;
  StoreLimits store_limits;
  // An aborted successor that does not go within deadlines.released is killed.
  bool kill_stuck_successor = true;
  // Has StartSuccessor() make the new process a child of whoever adopts orphans,
  // in place of ours: a service manager stops and restarts its own children
  // well, and others badly. How it ended is not known here then.
  // integrations/systemd sets it.
  bool orphan_successor = false;
  // Only finds out whether this binary could take over: see Ready(). Also
  // switched on by HANDOFF_REHEARSAL_FD, which `handoff rehearse` sets.
  bool rehearse = false;
  // Off: as on Linux before 6.5. For tests.
  bool use_scm_pidfd = true;
  // Borrowed, may be null; outlives the Handoff.
  Observer* observer = nullptr;
  // For tests; as the observer.
  FaultSeam* fault_seam = nullptr;
};

}  // namespace handoff

#endif  // HANDOFF_OPTIONS_H_
