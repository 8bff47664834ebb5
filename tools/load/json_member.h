#ifndef HANDOFF_TOOLS_LOAD_JSON_MEMBER_H_
#define HANDOFF_TOOLS_LOAD_JSON_MEMBER_H_

#include "absl/strings/string_view.h"

namespace handoff::load {

// The value of a member as it is written, without quotes; empty where there is
// none. Knows no nesting and no escapes: the server's answers have none.
absl::string_view JsonMember(absl::string_view json, absl::string_view name);

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_JSON_MEMBER_H_
