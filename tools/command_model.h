#ifndef HANDOFF_TOOLS_COMMAND_MODEL_H_
#define HANDOFF_TOOLS_COMMAND_MODEL_H_

#include <string>
#include <vector>

namespace handoff {

// What can be typed behind the command's name, for whoever completes it.

struct OptionModel {
  std::string name;  // "--format"
  std::string description;
  bool takes_value = false;
  // What the value can be, where that is a few words.
  std::vector<std::string> values;
  // The value names a file.
  bool path = false;
};

struct VerbModel {
  std::string name;
  std::string description;
  std::vector<OptionModel> options;
  // What its argument can be.
  std::vector<std::string> values;
  // A command follows "--".
  bool runs_command = false;
};

struct CommandModel {
  std::vector<OptionModel> options;  // those that come before a verb
  std::vector<VerbModel> verbs;
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_COMMAND_MODEL_H_
