#ifndef HANDOFF_PROTOCOL_FRAME_FAULT_H_
#define HANDOFF_PROTOCOL_FRAME_FAULT_H_

#include <random>
#include <string>

#include "google/protobuf/message.h"
#include "proto/handoff.pb.h"

// For tests: what a mistaken or hostile peer may make of a frame. A socket does
// none of it by itself.

namespace handoff {

enum class FrameFault {
  kNone,
  kDrop,
  kDouble,
  kFlipBytes,        // of the serialized frame
  kChangeField,      // some field of it, or of a message in it
  kOtherBody,        // a valid body of another kind, in its place
  kOtherCount,       // says that it has one descriptor more
  kLoseDescriptor,   // has one less than it says
  kDescribeAnother,  // says of a descriptor what it is not
  kSwapDescriptor,   // carries another descriptor, and says so
};
inline constexpr int kFrameFaults = 10;

const char* Name(FrameFault fault);

// Changes, clears, doubles or removes one field that is set, at any depth.
void ChangeSomeField(google::protobuf::Message& message,
                     std::mt19937_64& random);

// Gives `frame` the body of another frame of the protocol.
void ChangeBody(v1::Frame& frame, std::mt19937_64& random);

// Flips bits in one to three bytes.
void FlipSomeBytes(std::string& bytes, std::mt19937_64& random);

}  // namespace handoff

#endif  // HANDOFF_PROTOCOL_FRAME_FAULT_H_
