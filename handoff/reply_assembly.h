#ifndef HANDOFF_REPLY_ASSEMBLY_H_
#define HANDOFF_REPLY_ASSEMBLY_H_

#include <cstddef>

#include "absl/status/status.h"
#include "proto/handoff.pb.h"

namespace handoff {

// What one reply may cost, all of its frames together.
struct ReplyLimits {
  // Items of the inventory, or handoffs and their entries. A process may offer
  // 1,000,000 sessions and 20,000 listeners, descriptors and blobs (Limits in
  // protocol/settings.h); the rest is room for a ledger of several handoffs.
  size_t items = 1'200'000;
  size_t bytes = size_t{256} * 1024 * 1024;
};

// Puts a reply together out of the frames that it comes in. Not thread-safe.
class ReplyAssembly {
 public:
  explicit ReplyAssembly(const ReplyLimits& limits) : limits_(limits) {}

  // The next frame. INVALID_ARGUMENT where it answers no question,
  // RESOURCE_EXHAUSTED over a limit, and what a refusal means.
  absl::Status Add(v1::Frame frame);
  // Its last frame has come.
  bool complete() const { return whole_.last(); }
  // A handoff whose entries came in several frames is one.
  v1::QueryReply& whole() { return whole_; }

 private:
  absl::Status AddPart(v1::QueryReply part);
  absl::Status Count(int more);
  absl::Status AddHandoff(v1::LedgerHandoff& part);

  const ReplyLimits limits_;
  v1::QueryReply whole_;
  size_t items_ = 0;
  size_t bytes_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_REPLY_ASSEMBLY_H_
