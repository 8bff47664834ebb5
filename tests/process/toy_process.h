#ifndef TESTS_PROCESS_TOY_PROCESS_H_
#define TESTS_PROCESS_TOY_PROCESS_H_

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "handoff/fd/unique_fd.h"
#include "tests/process/toy_service.h"

namespace handoff::toy {

// How long anything in these tests may take before it counts as hung.
inline constexpr absl::Duration kPatience = absl::Seconds(30);

// A folder of its own with a short path (a Unix socket's is at most 107 bytes),
// mode 0700, removed at the end.
class ShortFolder {
 public:
  ShortFolder();
  ~ShortFolder();
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

// Reads lines from a descriptor, each with a deadline.
class LineReader {
 public:
  explicit LineReader(UniqueFd fd) : fd_(std::move(fd)) {}
  // Empty at end of file or after `patience`.
  absl::optional<std::string> Next(absl::Duration patience = kPatience);
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  std::string buffer_;
};

// A toy service in a process of its own: this program, executed again. Killed
// and reaped at the end, whatever happened.
class ToyProcess {
 public:
  explicit ToyProcess(const Settings& settings);
  // Another program, words[0], with this environment, to which LISTEN_PID is
  // added, and with `fds` as descriptors from 3 on: their own numbers are above
  // those.
  ToyProcess(std::vector<std::string> words,
             std::vector<std::string> environment,
             const std::vector<UniqueFd>& fds);
  // A process that a toy service has started itself; not our child, so neither
  // reaped nor waited for. Its lines come on its parent's output.
  ~ToyProcess();

  // Reads lines until one begins with `start`; that line, or empty at the end
  // of the output. Every line read stays in lines().
  std::string WaitFor(const std::string& start);
  // Reads the lines that are there, without waiting.
  void Take();
  int output() const { return output_->fd(); }
  // Whether it has ended; its last lines may be still to be read.
  bool Ended() const;
  // Whether it is stopped by a signal; and waits until it is.
  bool Stopped() const;
  bool WaitStopped() const;
  // Whether a line that was read begins with `start`.
  bool Has(const std::string& start) const;
  bool WaitReady() { return !WaitFor("ready ").empty(); }
  const std::vector<std::string>& lines() const { return lines_; }
  // All that was said, for a failure's message.
  std::string Said() const;

  void Signal(int signal);
  // The exit code, or -signal; waits for it. -1000 where it does not end.
  int WaitExit();

  pid_t pid() const { return pid_; }
  int port() const { return port_; }
  uint64_t generation() const { return generation_; }

 private:
  pid_t pid_ = 0;
  int port_ = 0;
  uint64_t generation_ = 0;
  bool reaped_ = false;
  int exit_ = 0;
  std::unique_ptr<LineReader> output_;
  std::vector<std::string> lines_;

  void Note(const std::string& line);
  UniqueFd MakeOutput();  // the end to write to
};

// A client of the toy service.
class ToyClient {
 public:
  explicit ToyClient(int port);

  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void Send(const std::string& bytes);
  // The next line, without its end; "<end>" where the connection has ended,
  // "<reset>" where it was reset, "<nothing>" after `patience`.
  std::string Line(absl::Duration patience = kPatience);
  // Sends a line and returns the answer.
  std::string Ask(const std::string& line);

 private:
  int fd_ = -1;
  UniqueFd owned_;
  std::string buffer_;
};

// The words of the answer to "who": pid, generation, handoffs, lines.
std::vector<std::string> Who(ToyClient& client);

// How many descriptors this process may have, and those that it starts.
size_t DescriptorLimit();

// What the descriptors of a process are, from /proc/PID/fd: "socket", "pipe",
// "anon_inode:[eventfd]", ..., each with how many there are.
std::map<std::string, int> DescriptorTable(pid_t pid);

// The same, once it is `expected`, or as it is when patience ends: a process
// closes what it was sent a moment after it has said what became of it.
std::map<std::string, int> SettledTable(
    pid_t pid, const std::map<std::string, int>& expected);

// Where main() is to run a toy service instead of the tests, does so and exits.
// Otherwise prepares this process for the tests: as many descriptors as the
// hard limit allows, and the parent of what a service leaves behind.
void MaybeRunToyService(int argc, char** argv);

// Ends every child of this process that is left, after the tests.
void EndOrphans();

}  // namespace handoff::toy

#endif  // TESTS_PROCESS_TOY_PROCESS_H_
