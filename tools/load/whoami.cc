#include "tools/load/whoami.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace handoff::load {
namespace {

// The value of a member as it is written, without quotes. Knows no nesting and
// no escapes: the answer has none.
absl::string_view Member(absl::string_view json, absl::string_view name) {
  const size_t at = json.find(absl::StrCat("\"", name, "\""));
  if (at == absl::string_view::npos) return {};
  absl::string_view rest = json.substr(at + name.size() + 2);
  rest = absl::StripLeadingAsciiWhitespace(rest);
  if (!absl::ConsumePrefix(&rest, ":")) return {};
  rest = absl::StripLeadingAsciiWhitespace(rest);
  if (absl::ConsumePrefix(&rest, "\"")) return rest.substr(0, rest.find('"'));
  return absl::StripAsciiWhitespace(rest.substr(0, rest.find_first_of(",}")));
}

}  // namespace

absl::StatusOr<WhoamiAnswer> ParseWhoami(absl::string_view json) {
  WhoamiAnswer answer;
  answer.id = std::string(Member(json, "id"));
  if (answer.id.empty() ||
      !absl::SimpleAtoi(Member(json, "pid"), &answer.pid) ||
      !absl::SimpleAtoi(Member(json, "requests"), &answer.requests) ||
      !absl::SimpleAtoi(Member(json, "handoffs"), &answer.handoffs)) {
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
