#include "tools/load/server_processes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/load/event_loop.h"

namespace handoff::load {
namespace {

// What a child exits with where it could not execute the file.
constexpr int kNotExecuted = 127;

// The children of this process: those that it started, and those that were left
// to it. Empty where the kernel has no such list; then only the former are
// known.
std::vector<pid_t> Children() {
  const pid_t self = getpid();
  std::ifstream list(absl::StrCat("/proc/", self, "/task/", self, "/children"));
  return {std::istream_iterator<pid_t>(list), std::istream_iterator<pid_t>()};
}

}  // namespace

absl::StatusOr<ReadyLine> ParseReadyLine(absl::string_view line) {
  ReadyLine ready;
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  bool good = words.size() >= 4 && words[0] == "ready";
  if (good) {
    absl::string_view pid = words[1];
    absl::string_view generation = words[2];
    absl::string_view http = words[3];
    good = absl::ConsumePrefix(&pid, "pid=") &&
           absl::SimpleAtoi(pid, &ready.pid) &&
           absl::ConsumePrefix(&generation, "generation=") &&
           absl::SimpleAtoi(generation, &ready.generation) &&
           absl::ConsumePrefix(&http, "http=");
    const std::pair<std::string, absl::string_view> address =
        absl::StrSplit(http, absl::MaxSplits(':', 1));
    uint32_t port = 0;
    good = good && absl::SimpleAtoi(address.second, &port) && port != 0 &&
           port <= 0xffff &&
           inet_pton(AF_INET, address.first.c_str(), &ready.http.sin_addr) == 1;
    ready.http.sin_family = AF_INET;
    ready.http.sin_port = htons(static_cast<uint16_t>(port));
    for (size_t i = 4; i < words.size(); ++i) {
      const std::pair<std::string, std::string> more =
          absl::StrSplit(words[i], absl::MaxSplits('=', 1));
      good = good && !more.second.empty();
      if (more.first == "grpc") {
        ready.grpc = more.second;
      } else if (more.first == "admin") {
        ready.admin = more.second;
      } else {
        good = false;
      }
    }
  }
  if (good) return ready;
  return absl::InvalidArgumentError(
      absl::StrCat("not the line of a server that is ready: ", line));
}

absl::StatusOr<ServerProcesses> ServerProcesses::Create(
    const std::string& log) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "pipe2");
  }
  Descriptor in(ends[0]);
  Descriptor out(ends[1]);
  // Not of the end that the servers write to, which they share with this one.
  fcntl(in.get(), F_SETFL, O_NONBLOCK);
  Descriptor file(
      open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) return absl::ErrnoToStatus(errno, log);
  // A server whose parent is gone stays a child of this process.
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
    return absl::ErrnoToStatus(errno, "PR_SET_CHILD_SUBREAPER");
  }
  return ServerProcesses(std::move(in), std::move(out), std::move(file), log);
}

ServerProcesses::~ServerProcesses() {
  if (!lines_in_.valid()) return;  // moved from
  // Killing one leaves its own children to us, so go on until there are none.
  const absl::Time deadline = MonotonicNow() + absl::Seconds(5);
  while (MonotonicNow() < deadline) {
    Reap();
    bool some = false;
    for (const pid_t pid : Children()) Adopt(pid);
    for (const auto& [pid, status] : running_) {
      if (status.has_value()) continue;
      some = kill(pid, SIGKILL) == 0 || some;
    }
    if (!some) return;
    poll(nullptr, 0, 10);
  }
}

absl::StatusOr<pid_t> ServerProcesses::Start(
    const std::vector<std::string>& argv) {
  return Execute(argv, lines_out_.get());
}

absl::StatusOr<pid_t> ServerProcesses::Execute(
    const std::vector<std::string>& argv, int standard_output) {
  // Before the fork: the child of a fork should not allocate.
  std::vector<char*> arguments;
  arguments.reserve(argv.size() + 1);
  for (const std::string& argument : argv) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "fork");
  if (pid == 0) {
    // Even if this process is killed, its servers do not outlive it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(kNotExecuted);
    // A server whose write to a closed connection would kill it must not be
    // spared by what this process ignores.
    signal(SIGPIPE, SIG_DFL);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(standard_output, STDOUT_FILENO);
    dup2(log_.get(), STDERR_FILENO);
    execv(arguments[0], arguments.data());
    perror(arguments[0]);
    _exit(kNotExecuted);
  }
  Adopt(pid);
  return pid;
}

absl::optional<std::string> ServerProcesses::TakeLine() {
  std::array<char, 4096> buffer;
  ssize_t count = 0;
  while ((count = read(lines_in_.get(), buffer.data(), buffer.size())) > 0) {
    text_.append(buffer.data(), count);
  }
  const size_t end = text_.find('\n');
  if (end == std::string::npos) return absl::nullopt;
  std::string line = text_.substr(0, end);
  text_.erase(0, end + 1);
  return line;
}

void ServerProcesses::Reap() {
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) running_[pid] = status;
}

absl::optional<int> ServerProcesses::Ended(pid_t pid) {
  Reap();
  const auto found = running_.find(pid);
  if (found == running_.end()) return absl::nullopt;
  if (!found->second.has_value() && kill(pid, 0) != 0 && errno == ESRCH) {
    found->second = StatusInLog(pid);
  }
  return found->second;
}

absl::optional<int> ServerProcesses::StatusInLog(pid_t pid) const {
  const std::string exited =
      absl::StrCat("child-ended: pid ", pid, " exited with code ");
  const std::string killed =
      absl::StrCat("child-ended: pid ", pid, " was killed by signal ");
  std::ifstream log(log_path_);
  for (std::string line; std::getline(log, line);) {
    for (const bool normal : {true, false}) {
      const std::string& what = normal ? exited : killed;
      const size_t at = line.find(what);
      if (at == std::string::npos) continue;
      const int number = std::atoi(line.c_str() + at + what.size());
      return normal ? W_EXITCODE(number, 0) : W_EXITCODE(0, number);
    }
  }
  return absl::nullopt;  // its parent is about to say so
}

std::string ServerProcesses::Describe(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("was killed by signal ", WTERMSIG(wait_status));
  }
  return absl::StrCat("exited with ", WEXITSTATUS(wait_status));
}

absl::StatusOr<std::string> ServerProcesses::Run(
    const std::vector<std::string>& argv, absl::Duration timeout) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return absl::ErrnoToStatus(errno, "pipe2");
  }
  Descriptor in(ends[0]);
  Descriptor out(ends[1]);
  const absl::StatusOr<pid_t> pid = Execute(argv, out.get());
  out.Reset();
  if (!pid.ok()) return pid.status();

  const absl::Time deadline = MonotonicNow() + timeout;
  std::string text;
  bool more = true;
  absl::optional<int> status;
  while (more || !(status = Ended(*pid)).has_value()) {
    if (MonotonicNow() > deadline) {
      kill(*pid, SIGKILL);
      return absl::DeadlineExceededError(absl::StrCat(argv[0], " hangs"));
    }
    pollfd readable = {in.get(), POLLIN, 0};
    // Once there is nothing more to read, this waits for the process to end.
    if (poll(&readable, more ? 1 : 0, 10) <= 0) continue;
    std::array<char, 4096> buffer;
    const ssize_t count = read(in.get(), buffer.data(), buffer.size());
    more = count > 0;
    if (more) text.append(buffer.data(), count);
  }
  if (*status != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(argv[0], " ", Describe(*status)));
  }
  return text;
}

}  // namespace handoff::load
