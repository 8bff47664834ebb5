// `handoff run` as process 1 of a pid namespace, as in a container.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr int kExitMs = 30'000;

bool Eventually(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!done()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return true;
}

// As fork(), with the child as process 1 that has a /proc of its own.
pid_t ForkIntoNamespace() {
  const long pid = ::syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD,
                             nullptr, nullptr, nullptr, nullptr);
  if (pid == 0 &&
      (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
       ::mount("proc", "/proc", "proc", 0, nullptr) != 0)) {
    ::_exit(99);
  }
  return static_cast<pid_t>(pid);
}

// `handoff run` with these arguments.
class Container {
 public:
  explicit Container(const std::vector<std::string>& arguments) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ForkIntoNamespace();
    if (pid_ == 0) {
      ::dup2(ends[1], STDERR_FILENO);
      ::dup2(ends[1], STDOUT_FILENO);
      ::close_range(3, ~0U, 0);
      std::vector<char*> words = {const_cast<char*>("handoff"),
                                  const_cast<char*>("run")};
      for (const std::string& argument : arguments) {
        words.push_back(const_cast<char*>(argument.c_str()));
      }
      words.push_back(nullptr);
      ::execv(::getenv("HANDOFF_COMMAND"), words.data());
      ::_exit(98);
    }
    EXPECT_GT(pid_, 0) << "no pid namespace: errno " << errno;
    ::close(ends[1]);
    output_.reset(ends[0]);
  }
  // With process 1 all of them end.
  ~Container() {
    if (pid_ <= 0 || exited_) return;
    ::kill(pid_, SIGKILL);
    Exit();
  }

  void Signal(int signal) const {
    ASSERT_GT(pid_, 0) << "no process: that would signal all of them";
    EXPECT_EQ(::kill(pid_, signal), 0);
  }
  // The exit code, or 128 and the signal.
  int Exit() {
    if (pid_ <= 0) {
      ADD_FAILURE() << "no process";
      return -1;
    }
    const UniqueFd process(
        static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    pollfd polled = {process.get(), POLLIN, 0};
    if (::poll(&polled, 1, kExitMs) != 1) {
      ADD_FAILURE() << "it does not end; it said:\n" << ReadSaid();
      ::kill(pid_, SIGKILL);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    exited_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  // Reads output until it has `text`; what follows that on its line.
  std::string Await(const std::string& text) {
    while (true) {
      const size_t at = said_.find(text, from_);
      const size_t end =
          at == std::string::npos ? at : said_.find('\n', at + text.size());
      if (end != std::string::npos) {
        from_ = end;
        return said_.substr(at + text.size(), end - at - text.size());
      }
      pollfd polled = {output_.get(), POLLIN, 0};
      char buffer[4096];
      const ssize_t size =
          ::poll(&polled, 1,
                 static_cast<int>(kPatience / absl::Milliseconds(1))) == 1
              ? ::read(output_.get(), buffer, sizeof(buffer))
              : 0;
      if (size <= 0) {
        ADD_FAILURE() << "not said: " << text << "\nbut:\n" << said_;
        return "";
      }
      said_.append(buffer, static_cast<size_t>(size));
    }
  }
  const std::string& said() const { return said_; }
  // With what is there to be read.
  const std::string& ReadSaid() {
    pollfd polled = {output_.get(), POLLIN, 0};
    char buffer[4096];
    ssize_t size;
    while (said_.size() < (1 << 20) && ::poll(&polled, 1, 0) == 1 &&
           (size = ::read(output_.get(), buffer, sizeof(buffer))) > 0) {
      said_.append(buffer, static_cast<size_t>(size));
    }
    return said_;
  }
  // Of process 1, by our pids.
  std::vector<pid_t> Children() const {
    std::vector<pid_t> pids;
    std::ifstream children(
        absl::StrCat("/proc/", pid_, "/task/", pid_, "/children"));
    for (pid_t pid; children >> pid;) pids.push_back(pid);
    return pids;
  }

 private:
  pid_t pid_;
  bool exited_ = false;
  UniqueFd output_;
  std::string said_;
  size_t from_ = 0;
};

// One request on a connection of its own; the body, or what went wrong.
std::string Get(int port, const std::string& path) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience = {60, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience,
               sizeof(patience));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) != 0) {
    return absl::StrCat("failed: connect, errno ", errno);
  }
  const std::string request = absl::StrCat(
      "GET ", path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  if (::send(socket.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return absl::StrCat("failed: send, errno ", errno);
  }
  std::string response;
  char buffer[4096];
  ssize_t size;
  while ((size = ::recv(socket.get(), buffer, sizeof(buffer), 0)) > 0) {
    response.append(buffer, static_cast<size_t>(size));
  }
  const size_t body = response.find("\r\n\r\n");
  if (size < 0 || body == std::string::npos ||
      !absl::StartsWith(response, "HTTP/1.1 200")) {
    return absl::StrCat("failed: errno ", errno, ", response ", response);
  }
  return response.substr(body + 4);
}

// Requests one after the other, all the time.
class Clients {
 public:
  Clients(int port, std::string path)
      : thread_([this, port, path = std::move(path)] {
          while (!stop_) {
            const std::string body = Get(port, path);
            ++requests_;
            if (absl::StartsWith(body, "failed")) failures_ += body + "\n";
          }
        }) {}
  ~Clients() { End(); }
  // What went wrong.
  std::string End() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return failures_;
  }
  int requests() const { return requests_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> requests_{0};
  std::string failures_;
  std::thread thread_;
};

bool IsNumber(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

int PortIn(const std::string& address) {
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

// Executes the command; what it says.
std::string Handoff(const std::string& arguments) {
  FILE* const pipe =
      ::popen(absl::StrCat(::getenv("HANDOFF_COMMAND"), " ", arguments, " 2>&1")
                  .c_str(),
              "r");
  std::string said;
  for (int c; (c = std::fgetc(pipe)) != EOF;) said += static_cast<char>(c);
  ::pclose(pipe);
  return said;
}

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    static const bool permitted = [] {
      const pid_t pid = ForkIntoNamespace();
      if (pid == 0) ::_exit(0);
      int status = 0;
      return pid > 0 && ::waitpid(pid, &status, 0) == pid && status == 0;
    }();
    if (!permitted) GTEST_SKIP() << "a pid namespace with a /proc takes root";
  }
};

TEST_F(RunTest, TheCommandsExitCodeIsOurs) {
  Container parent({"--", "sh", "-c", "echo parent $PPID."});
  EXPECT_EQ(parent.Await("parent "), "1.");
  EXPECT_EQ(parent.Exit(), 0);
  EXPECT_EQ(Container({"--", "/no/such/command"}).Exit(), 127);
  EXPECT_EQ(Container({"--", "/etc/passwd"}).Exit(), 126);

  Container killed({"--", "sh", "-c", "echo up; exec sleep 1000"});
  killed.Await("up");
  killed.Signal(SIGTERM);
  EXPECT_EQ(killed.Exit(), 128 + SIGTERM);

  Container stopped(
      {"--", "sh", "-c",
       "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done"});
  stopped.Await("up");
  stopped.Signal(SIGTERM);
  EXPECT_EQ(stopped.Exit(), 3);
}

TEST_F(RunTest, ItReapsOrphansAndPassesSignalsOn) {
  Container container(
      {"--", "sh", "-c",
       "for i in 1 2 3; do (true & true & true &); done; trap 'exit 7' USR1; "
       "trap 'exit 0' INT; echo up; while :; do sleep 0.02; done"});
  container.Await("up");
  EXPECT_TRUE(Eventually([&] { return container.Children().size() == 1; }))
      << container.Children().size() << " children";
  const std::vector<pid_t> first = container.Children();
  container.Signal(SIGUSR1);
  container.Await("exited with code 7");
  container.Await("up");  // a crash: it is started again
  EXPECT_TRUE(Eventually([&] {
    return container.Children().size() == 1 && container.Children() != first;
  }));
  container.Signal(SIGINT);
  EXPECT_EQ(container.Exit(), 0) << container.said();
}

TEST_F(RunTest, WhatHasEndedUnwaitedForIsNoPartOfTheService) {
  Container container({"--", "python3", "-c",
                       "import os\n"
                       "os.fork() or os._exit(1)\n"
                       "os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # "
                       "does not reap it\n"});
  EXPECT_EQ(container.Exit(), 0);
  container.Await("exited with code 0");
}

TEST_F(RunTest, AStopReachesWhatTheServiceHasStartedItself) {
  const std::string command =
      "trap 'exit 3' TERM; "
      "sh -c 'trap \"echo it stops; exit 4\" TERM; echo up; "
      "while :; do sleep 0.02; done' & while :; do sleep 0.02; done";
  Container takes_over({"--takes_over", "--", "sh", "-c", command});
  takes_over.Await("up");
  takes_over.Signal(SIGTERM);
  takes_over.Await("it stops");
  EXPECT_EQ(takes_over.Exit(), 4) << "of the successor";

  Container other({"--", "sh", "-c", command});
  other.Await("up");
  other.Signal(SIGTERM);
  other.Await("it stops");
  EXPECT_EQ(other.Exit(), 3) << "of the service";
}

TEST_F(RunTest, AnIgnoredSigchldIsNotInherited) {
  Container container({"--", "env", "--ignore-signal=CHLD",
                       ::getenv("HANDOFF_COMMAND"), "run", "--", "true"});
  EXPECT_EQ(container.Exit(), 0);
}

TEST_F(RunTest, WhereNobodyKnowsItsChildrenItWaitsForWhateverIsLeft) {
  const TempFolder folder;
  const std::string gate = folder / "gate";
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  std::ofstream(folder / "service")
      << "(read line < " << gate << "; echo it is late) & exit 0\n";
  // A leak is looked for in what is hidden here.
  std::ofstream(folder / "run")
      << "mount -t tmpfs none /proc/$$/task/$$ && exec env "
         "ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 "
      << ::getenv("HANDOFF_COMMAND") << " run -- sh " << folder / "service"
      << "\n";
  Container container(
      {"--", "sh", "-c",
       absl::StrCat("sh ", folder / "run", "; echo inner: $?")});
  container.Await("exited with code 0");
  std::ofstream(gate) << "go\n";
  container.Await("it is late");
  EXPECT_EQ(container.Await("inner: "), "0") << "after that, and not before";
  EXPECT_EQ(container.Exit(), 0);
}

// Debian's gunicorn knows socket activation, and nothing of us.
TEST_F(RunTest, GunicornIsReplacedAndCrashesWithNoRefusedConnection) {
  const TempFolder folder;
  std::ofstream(folder / "app.py")
      << "import os\n"
         "def app(environ, start_response):\n"
         "    body = str(os.getppid()).encode()\n"
         "    size = ('Content-Length', str(len(body)))\n"
         "    start_response('200 OK', [size])\n"
         "    return [body]\n";
  Container container({"--listen=web=tcp:127.0.0.1:0", "--", "gunicorn",
                       "--chdir", folder.path(), "--worker-tmp-dir",
                       folder.path(), "--graceful-timeout", "60", "app:app"});
  const int port = PortIn(container.Await("web listens at "));
  Clients clients(port, "/");
  const std::string first = Get(port, "/");
  ASSERT_EQ(first, "2") << container.said();  // the pid

  container.Signal(SIGUSR2);
  container.Await("pid 2 exited with code 0");
  const std::string second = Get(port, "/");
  EXPECT_TRUE(IsNumber(second)) << second;
  EXPECT_NE(second, first);

  ASSERT_EQ(container.Children().size(), 1u) << container.said();
  ASSERT_EQ(::kill(container.Children().front(), SIGKILL), 0);
  container.Await("was killed by signal 9");
  container.Await("is started");
  EXPECT_TRUE(Eventually([&] {
    const std::string third = Get(port, "/");
    // 1 is that of an orphan, for a moment.
    return IsNumber(third) && third != second && third != "1";
  }));
  const int so_far = clients.requests();
  EXPECT_TRUE(Eventually([&] { return clients.requests() > so_far + 20; }));
  EXPECT_EQ(clients.End(), "") << container.said();
  container.Signal(SIGTERM);
  EXPECT_EQ(container.Exit(), 0) << container.said();
}

TEST_F(RunTest, AServiceThatTakesOverDoesSoAndGoesOnWhereverItIs) {
  const TempFolder folder;
  const std::string path = folder / "h";
  Container container({"--listen=http=tcp:127.0.0.1:0", "--takes_over", "--",
                       ::getenv("HANDOFF_SERVER"), "--handoff=" + path,
                       "--watch=100ms"});
  const int port = PortIn(container.Await("http listens at "));
  const auto whoami = [&](int generation) {
    const std::string body = Get(port, "/whoami");
    EXPECT_TRUE(
        absl::StrContains(body, absl::StrCat("\"generation\":", generation)))
        << body << container.said();
  };
  whoami(1);
  Clients clients(port, "/whoami");
  container.Await("ready pid=");
  container.Signal(SIGHUP);
  container.Await("generation=2");
  container.Await("pid 2 exited with code 0");
  whoami(2);

  // The service starts its successor itself, and leaves it to process 1.
  const std::string said =
      Handoff(absl::StrCat("upgrade --timeout=60s --handoff=", path));
  EXPECT_TRUE(absl::StrContains(said, "committed")) << said;
  container.Await("exited with code 0");
  whoami(3);
  EXPECT_TRUE(Eventually([&] { return container.Children().size() == 1; }));
  EXPECT_EQ(clients.End(), "") << container.said();
  container.Signal(SIGTERM);
  EXPECT_EQ(container.Exit(), 0) << container.said();
}

}  // namespace
}  // namespace handoff
