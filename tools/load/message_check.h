#ifndef HANDOFF_TOOLS_LOAD_MESSAGE_CHECK_H_
#define HANDOFF_TOOLS_LOAD_MESSAGE_CHECK_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/load/tally.h"

namespace handoff::load {

// What one member of a room says: which of its texts this is.
std::string ChatText(size_t member, uint64_t count);

struct ChatMessage {
  uint64_t seq = 0;
  // Of the text, as ChatText() writes it, both from 1 on.
  size_t member = 0;
  uint64_t count = 0;
  // Of the process that gave it its number.
  pid_t pid = 0;
};
// INVALID_ARGUMENT where it is not what a room's members are told.
absl::StatusOr<ChatMessage> ParseChatMessage(absl::string_view json);

// What one member of a room was told, held against what must be: each number
// once, and of each member each text once, in their orders. It was there before
// anything was said. Not thread-safe.
class MessageCheck {
 public:
  // `tally` is borrowed; there the messages are counted.
  MessageCheck(size_t members, Tally* tally)
      : counts_(members), tally_(*tally) {}

  // INVALID_ARGUMENT for a member that is none.
  absl::Status Take(const ChatMessage& message);
  // Nothing more comes, and so many were said in the room.
  void Finish(uint64_t said);

  uint64_t last_seq() const { return last_seq_; }

 private:
  uint64_t last_seq_ = 0;
  std::vector<uint64_t> counts_;  // the last, by member
  Tally& tally_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_MESSAGE_CHECK_H_
