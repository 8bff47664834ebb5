#ifndef HANDOFF_TOOLS_RUN_COMMAND_H_
#define HANDOFF_TOOLS_RUN_COMMAND_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// For tests: the command itself, whose path is in the environment as
// HANDOFF_COMMAND.

namespace handoff {

struct CommandResult {
  int exit_code = -1;  // 128 and the signal where one has ended it
  std::string out;
  std::string err;
};

class RunningCommand {
 public:
  // `out` is where its output goes, and is closed here; -1: to us. `variables`
  // ("NAME=value") are its environment beside ours.
  explicit RunningCommand(const std::vector<std::string>& arguments,
                          int out = -1,
                          const std::vector<std::string>& variables = {});
  // Ended, if End() was not called.
  ~RunningCommand();
  RunningCommand(const RunningCommand&) = delete;
  RunningCommand& operator=(const RunningCommand&) = delete;

  pid_t pid() const { return pid_; }
  // The next line of its output, without its end; empty where there is none
  // within 30 s.
  std::string ReadLine();
  void CloseOutput();
  void Signal(int signal);
  // Waits for it. Has what was not read by ReadLine().
  CommandResult End();

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::string read_;
};

CommandResult RunCommand(const std::vector<std::string>& arguments,
                         int out = -1,
                         const std::vector<std::string>& variables = {});

// A failure has its code, nothing on stdout, and one line on stderr.
void ExpectFailure(const CommandResult& result, int code,
                   absl::string_view text);

}  // namespace handoff

#endif  // HANDOFF_TOOLS_RUN_COMMAND_H_
