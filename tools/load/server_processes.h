#ifndef HANDOFF_TOOLS_LOAD_SERVER_PROCESSES_H_
#define HANDOFF_TOOLS_LOAD_SERVER_PROCESSES_H_

#include <netinet/in.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "tools/load/descriptor.h"

namespace handoff::load {

// What a server prints when it serves:
// "ready pid=P generation=N http=ADDR:PORT", with --grpc " grpc=ADDRESS", and
// with --admin " admin=ADDRESS".
struct ReadyLine {
  pid_t pid = 0;
  uint64_t generation = 0;
  sockaddr_in http = {};
  // Empty: none.
  std::string grpc;
  std::string admin;
};
// INVALID_ARGUMENT for any other line.
absl::StatusOr<ReadyLine> ParseReadyLine(absl::string_view line);

// The processes that the run starts, and those that they start: all of them are
// reaped here, and none outlives this object. They share one standard output,
// which only this object reads: a server that another one has started says so
// on that one's.
//
// Makes the calling process the reaper of its descendants, and reaps any child:
// one object in a process. Not thread-safe; nothing blocks but where a deadline
// is given.
class ServerProcesses {
 public:
  // Standard error of every process is appended to the file `log`.
  static absl::StatusOr<ServerProcesses> Create(const std::string& log);
  ServerProcesses(ServerProcesses&&) = default;
  // Kills what is left, and waits for it.
  ~ServerProcesses();

  // Executes argv[0], a path. Codes by absl::ErrnoToStatus.
  absl::StatusOr<pid_t> Start(const std::vector<std::string>& argv);
  // A process that one of ours has started.
  void Adopt(pid_t pid) { running_[pid]; }

  // The next line that a server has printed, if there is one.
  absl::optional<std::string> TakeLine();

  // How the process ended, as waitpid(2) tells it; nothing while it runs. Of
  // one whose parent, another server, has reaped it, the log says how it ended.
  absl::optional<int> Ended(pid_t pid);
  // For people: "exited with 3", "was killed by signal 9".
  static std::string Describe(int wait_status);

  // Executes argv[0] and returns what it prints. FAILED_PRECONDITION if it does
  // not exit with 0, DEADLINE_EXCEEDED (it is then killed).
  absl::StatusOr<std::string> Run(const std::vector<std::string>& argv,
                                  absl::Duration timeout);

 private:
  ServerProcesses(Descriptor lines_in, Descriptor lines_out, Descriptor log,
                  std::string log_path)
      : lines_in_(std::move(lines_in)),
        lines_out_(std::move(lines_out)),
        log_(std::move(log)),
        log_path_(std::move(log_path)) {}

  absl::StatusOr<pid_t> Execute(const std::vector<std::string>& argv,
                                int standard_output);
  void Reap();
  absl::optional<int> StatusInLog(pid_t pid) const;

  Descriptor lines_in_;
  Descriptor lines_out_;
  Descriptor log_;
  std::string log_path_;
  std::string text_;
  // Wait status by pid; nothing while it runs.
  std::map<pid_t, absl::optional<int>> running_;
};

}  // namespace handoff::load

#endif  // HANDOFF_TOOLS_LOAD_SERVER_PROCESSES_H_
