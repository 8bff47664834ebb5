#include "tools/load/json_member.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace handoff::load {

absl::string_view JsonMember(absl::string_view json, absl::string_view name) {
  const size_t at = json.find(absl::StrCat("\"", name, "\""));
  if (at == absl::string_view::npos) return {};
  absl::string_view rest = json.substr(at + name.size() + 2);
  rest = absl::StripLeadingAsciiWhitespace(rest);
  if (!absl::ConsumePrefix(&rest, ":")) return {};
  rest = absl::StripLeadingAsciiWhitespace(rest);
  if (absl::ConsumePrefix(&rest, "\"")) return rest.substr(0, rest.find('"'));
  return absl::StripAsciiWhitespace(rest.substr(0, rest.find_first_of(",}")));
}

}  // namespace handoff::load
