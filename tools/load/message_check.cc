#include "tools/load/message_check.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tools/load/json_member.h"

namespace handoff::load {

std::string ChatText(size_t member, uint64_t count) {
  return absl::StrCat("text ", member, " ", count);
}

absl::StatusOr<ChatMessage> ParseChatMessage(absl::string_view json) {
  ChatMessage message;
  const std::vector<absl::string_view> text =
      absl::StrSplit(JsonMember(json, "text"), ' ');
  if (text.size() != 3 || !absl::SimpleAtoi(text[1], &message.member) ||
      !absl::SimpleAtoi(text[2], &message.count) ||
      !absl::SimpleAtoi(JsonMember(json, "seq"), &message.seq) ||
      !absl::SimpleAtoi(JsonMember(json, "pid"), &message.pid)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not what a room is told: ", json));
  }
  return message;
}

absl::Status MessageCheck::Take(const ChatMessage& message) {
  if (message.member < 1 || message.member > counts_.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("somebody unknown has spoken: ", message.member));
  }
  uint64_t& count = counts_[message.member - 1];
  if (message.seq <= last_seq_ || message.count <= count) {
    ++tally_.messages_doubled;
    return absl::OkStatus();
  }
  tally_.messages_lost += message.seq - last_seq_ - 1;
  ++tally_.messages_ok;
  last_seq_ = message.seq;
  count = message.count;
  return absl::OkStatus();
}

void MessageCheck::Finish(uint64_t said) {
  // Also what was said and never got a number.
  if (said > last_seq_) tally_.messages_lost += said - last_seq_;
}

}  // namespace handoff::load
