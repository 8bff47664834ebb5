#ifndef HANDOFF_PROTOCOL_TEST_FRAMES_H_
#define HANDOFF_PROTOCOL_TEST_FRAMES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "handoff/fd/unique_fd.h"
#include "handoff/protocol/settings.h"
#include "proto/handoff.pb.h"

// For tests of the protocol: frames, and descriptors that can be told apart.

namespace handoff {

// Deadlines of which no two are equal, and no sum of two is a third.
Deadlines DistinctDeadlines();

// A Hello that the predecessor accepts, which reads versions 1 to 3 of "chat".
v1::Frame HelloFrame();
// The answer to it.
v1::Frame OfferFrame();

// One frame with each body that the protocol has, by name; besides "unknown",
// which may be ignored, and "unknown, must understand". Hello and Offer are
// valid, Abort and Refuse give a reason, all others are empty.
struct NamedFrame {
  std::string name;
  v1::Frame frame;
};
std::vector<NamedFrame> EveryFrame();

// An eventfd that counts to `number`, 1 or more: every duplicate of it does.
UniqueFd NumberedFd(uint64_t number);
std::vector<UniqueFd> NumberedFds(const std::vector<uint64_t>& numbers);
SharedFd SharedNumberedFd(uint64_t number);
// What it counts to, which it still does afterwards; 0 where it is none.
uint64_t NumberOf(int fd);

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_TEST_FRAMES_H_
