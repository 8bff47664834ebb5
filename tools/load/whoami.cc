#include "tools/load/whoami.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/load/json_member.h"

namespace handoff::load {
absl::StatusOr<WhoamiAnswer> ParseWhoami(absl::string_view json) {
  WhoamiAnswer answer;
  answer.id = std::string(JsonMember(json, "id"));
  if (answer.id.empty() ||
      !absl::SimpleAtoi(JsonMember(json, "pid"), &answer.pid) ||
      !absl::SimpleAtoi(JsonMember(json, "requests"), &answer.requests) ||
      !absl::SimpleAtoi(JsonMember(json, "handoffs"), &answer.handoffs)) {
    return absl::InvalidArgumentError(
        absl::StrCat("not what /whoami says: ", json));
  }
  return answer;
}

void Generations::Expect(pid_t pid) { expected_ = pid; }

absl::Status Generations::Confirm(pid_t pid) {
  if (!expected_.has_value() || (*expected_ != 0 && *expected_ != pid)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "process ", pid, " says that it serves; expected was ",
        expected_.has_value() ? absl::StrCat(*expected_) : "none"));
  }
  expected_.reset();
  confirmed_.push_back(pid);
  return absl::OkStatus();
}

void Generations::Withdraw() { expected_.reset(); }

absl::StatusOr<size_t> Generations::Index(pid_t pid) {
  const auto known = std::find(confirmed_.begin(), confirmed_.end(), pid);
  if (known != confirmed_.end()) return known - confirmed_.begin();
  if (expected_.has_value() && *expected_ == 0) expected_ = pid;
  if (expected_ == pid) return confirmed_.size();
  return absl::NotFoundError(
      absl::StrCat("process ", pid, " answers, which should not"));
}

}  // namespace handoff::load
