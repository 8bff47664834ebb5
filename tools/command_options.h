#ifndef HANDOFF_TOOLS_COMMAND_OPTIONS_H_
#define HANDOFF_TOOLS_COMMAND_OPTIONS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/command_line.h"
#include "tools/verb.h"

namespace handoff {

// An option, or what a verb has for an argument.
struct OptionText {
  // "--timeout"; without dashes, an argument.
  std::string name;
  // As help names its value; empty: a flag, which has none.
  std::string value;
  // Lines of at most 56 columns.
  std::string description;
  // Called with each value that is given, in their order, or with "" for a
  // flag. INVALID_ARGUMENT, in words for people, where it is none.
  std::function<absl::Status(const std::string& value, CommandLine& line)> set;
  // What a value can be, where that is a few words.
  std::vector<std::string> choices;
  // The value names a file.
  bool path = false;
  // `--name A B` are two values of it.
  bool takes_several = false;
};

// Those that come before the verb: whom to ask, and how.
std::vector<OptionText> CommandOptions();
// Those that come behind it; the argument too.
std::vector<OptionText> VerbOptions(Verb verb);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMMAND_OPTIONS_H_
