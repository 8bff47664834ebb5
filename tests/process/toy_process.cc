#include "tests/process/toy_process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

extern char** environ;

namespace handoff::toy {
namespace {

bool WaitReadable(int fd, absl::Time deadline) {
  while (true) {
    pollfd polled = {fd, POLLIN, 0};
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    const int n = ::poll(&polled, 1, left > 0 ? static_cast<int>(left) : 0);
    if (n > 0) return true;
    if (n == 0 && absl::Now() >= deadline) return false;
  }
}

std::vector<std::string> Words(const Settings& settings) {
  std::vector<std::string> words = {"toy", "--toy"};
  for (const auto& [key, value] : settings) {
    words.push_back(absl::StrCat(key, "=", value));
  }
  return words;
}

// For execve(2): of strings that live on.
std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

ShortFolder::ShortFolder() {
  char name[] = "/tmp/toy.XXXXXX";
  path_ = ::mkdtemp(name);
}

ShortFolder::~ShortFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

absl::optional<std::string> LineReader::Next(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!WaitReadable(fd_.get(), deadline)) return absl::nullopt;
    char bytes[4096];
    const ssize_t n = ::read(fd_.get(), bytes, sizeof(bytes));
    if (n <= 0) return absl::nullopt;
    buffer_.append(bytes, static_cast<size_t>(n));
  }
}

ToyProcess::ToyProcess(const Settings& settings) {
  const UniqueFd write_end = MakeOutput();
  std::vector<std::string> words = Words(settings);
  std::vector<char*> argv = Pointers(words);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  if (::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv.data(),
                    environ) != 0) {
    ::abort();
  }
  posix_spawn_file_actions_destroy(&actions);
}

ToyProcess::ToyProcess(std::vector<std::string> words,
                       std::vector<std::string> environment,
                       const std::vector<UniqueFd>& fds) {
  const UniqueFd write_end = MakeOutput();
  std::vector<char*> argv = Pointers(words);
  environment.push_back("LISTEN_PID=          ");
  const size_t digits = environment.back().size() - 10;
  std::vector<char*> envp = Pointers(environment);
  pid_ = ::fork();
  if (pid_ < 0) ::abort();
  if (pid_ > 0) return;
  // Other threads may hold any lock: only what fork(2) allows.
  char* at = envp[environment.size() - 1] + digits + 10;
  *at = '\0';
  for (pid_t pid = ::getpid(); pid > 0; pid /= 10) {
    *--at = static_cast<char>('0' + pid % 10);
  }
  ::memmove(envp[environment.size() - 1] + digits, at, ::strlen(at) + 1);
  ::dup2(write_end.get(), STDOUT_FILENO);
  for (size_t i = 0; i < fds.size(); ++i) {
    ::dup2(fds[i].get(), static_cast<int>(3 + i));
  }
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

UniqueFd ToyProcess::MakeOutput() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) ::abort();
  output_ = std::make_unique<LineReader>(UniqueFd(ends[0]));
  return UniqueFd(ends[1]);
}

ToyProcess::~ToyProcess() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string ToyProcess::WaitFor(const std::string& start) {
  for (auto line = output_->Next(); line.has_value(); line = output_->Next()) {
    Note(*line);
    if (absl::StartsWith(*line, start)) return *line;
  }
  return "";
}

void ToyProcess::Note(const std::string& line) {
  lines_.push_back(line);
  if (!absl::StartsWith(line, "ready ")) return;
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  (void)absl::SimpleAtoi(words[2], &generation_);
  (void)absl::SimpleAtoi(words[3], &port_);
}

void ToyProcess::Take() {
  while (const auto line = output_->Next(absl::ZeroDuration())) Note(*line);
}

bool ToyProcess::Ended() const {
  if (reaped_) return true;
  siginfo_t info = {};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info,
                  WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

bool ToyProcess::Stopped() const {
  siginfo_t info = {};
  return ::waitid(P_PID, static_cast<id_t>(pid_), &info,
                  WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == pid_;
}

bool ToyProcess::WaitStopped() const {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!Stopped()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

bool ToyProcess::Has(const std::string& start) const {
  for (const std::string& line : lines_) {
    if (absl::StartsWith(line, start)) return true;
  }
  return false;
}

std::string ToyProcess::Said() const {
  return absl::StrCat("pid ", pid_, " said:\n", absl::StrJoin(lines_, "\n"));
}

void ToyProcess::Signal(int signal) { ::kill(pid_, signal); }

int ToyProcess::WaitExit() {
  if (reaped_) return exit_;
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!WaitReadable(pidfd.get(), absl::Now() + kPatience)) return -1000;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  reaped_ = true;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return exit_;
}

ToyClient::ToyClient(int port)
    : owned_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(owned_.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) == 0) {
    fd_ = owned_.get();
  }
}

void ToyClient::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n =
        ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return;
    sent += static_cast<size_t>(n);
  }
}

std::string ToyClient::Line(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    if (!WaitReadable(fd_, deadline)) return "<nothing>";
    char bytes[65536];
    const ssize_t n = ::read(fd_, bytes, sizeof(bytes));
    if (n == 0) return "<end>";
    if (n < 0) return errno == ECONNRESET ? "<reset>" : strerror(errno);
    buffer_.append(bytes, static_cast<size_t>(n));
  }
}

std::string ToyClient::Ask(const std::string& line) {
  Send(line + "\n");
  return Line();
}

std::map<std::string, int> DescriptorTable(pid_t pid) {
  std::map<std::string, int> table;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator(
           absl::StrCat("/proc/", pid, "/fd"), gone)) {
    std::string target = std::filesystem::read_symlink(entry.path(), gone);
    if (gone) continue;
    // "socket:[123]" and "pipe:[123]" without their inodes.
    const size_t colon = target.find(":[");
    if (colon != std::string::npos && !absl::StartsWith(target, "anon_inode")) {
      target.resize(colon);
    }
    ++table[target];
  }
  return table;
}

std::map<std::string, int> SettledTable(
    pid_t pid, const std::map<std::string, int>& expected) {
  const absl::Time deadline = absl::Now() + absl::Seconds(5);
  std::map<std::string, int> table = DescriptorTable(pid);
  while (table != expected && absl::Now() < deadline) {
    ::sched_yield();
    table = DescriptorTable(pid);
  }
  return table;
}

std::vector<std::string> Who(ToyClient& client) {
  return absl::StrSplit(client.Ask("who"), ' ');
}

size_t DescriptorLimit() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<size_t>(limit.rlim_cur);
}

void EndOrphans() {
  // Again, as the children of those that end come to us.
  for (bool found = true; found;) {
    found = false;
    std::ifstream children(
        absl::StrCat("/proc/self/task/", ::getpid(), "/children"));
    for (pid_t pid; children >> pid;) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      found = true;
    }
  }
}

void MaybeRunToyService(int argc, char** argv) {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (argc < 2 || std::string(argv[1]) != "--toy") {
    // What a service has started comes to us when the service ends.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    return;
  }
  Settings settings;
  for (int i = 2; i < argc; ++i) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    settings[pair.first] = pair.second;
  }
  ::exit(RunToyService(settings));
}

}  // namespace handoff::toy
