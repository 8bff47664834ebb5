#include "handoff/transport/spawn.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/temp_folder.h"

namespace handoff {
namespace {

constexpr int kDeadlineMilliseconds = 30'000;
constexpr char kVariable[] = "HANDOFF_SPAWN_TEST";

// What the child found wrong.
enum Exit {
  kOk = 0,
  kNoSocket = 10,
  kVariableStays = 11,
  kSocketTwice = 12,
  kNotCloseOnExec = 13,
  kOtherDescriptors = 14,
  kSignalBlocked = 15,
  kSignalIgnored = 16,
  kEnvironmentLost = 17,
  kCannotSend = 18,
};

std::string Self() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  return std::string(path, length > 0 ? static_cast<size_t>(length) : 0);
}

// Runs in the child, which is this program with --child: checks what it has
// inherited, says so on the socket, and with `wait` stays until it is killed.
int RunChild(bool wait, size_t standard_descriptors) {
  const std::map<int, std::string> open = OpenDescriptors();
  absl::StatusOr<absl::optional<UniqueFd>> socket = TakeInheritedSocket();
  if (!socket.ok() || !socket->has_value()) return kNoSocket;
  if (::getenv(kInheritedSocketVariable) != nullptr) return kVariableStays;
  absl::StatusOr<absl::optional<UniqueFd>> again = TakeInheritedSocket();
  if (!again.ok() || again->has_value()) return kSocketTwice;
  const int fd = (*socket)->get();
  if (::fcntl(fd, F_GETFD) != FD_CLOEXEC) return kNotCloseOnExec;

  size_t standard = 0;
  for (const auto& [number, target] : open) {
    if (number <= STDERR_FILENO) {
      ++standard;
    } else if (number != fd) {
      return kOtherDescriptors;
    }
  }
  if (standard != standard_descriptors) return kOtherDescriptors;

  sigset_t blocked;
  ::sigprocmask(SIG_BLOCK, nullptr, &blocked);
  if (sigismember(&blocked, SIGUSR1) == 1) return kSignalBlocked;
  struct sigaction action = {};
  ::sigaction(SIGPIPE, nullptr, &action);
  if (action.sa_handler != SIG_DFL) return kSignalIgnored;
  const char* variable = ::getenv(kVariable);
  if (variable == nullptr || std::string(variable) != "kept") {
    return kEnvironmentLost;
  }
  if (!SendMessage(fd, "ready", {}).ok()) return kCannotSend;
  while (wait) ::pause();
  return kOk;
}

absl::StatusOr<Child> Spawn(const std::string& mode) {
  ::setenv(kVariable, "kept", 1);
  return SpawnSuccessor(Self(), {Self(), mode});
}

bool Await(int fd) {
  pollfd readable = {fd, POLLIN, 0};
  return ::poll(&readable, 1, kDeadlineMilliseconds) == 1;
}

// Whether this process has no child left, not even a zombie.
bool NoChildren() {
  siginfo_t info = {};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 &&
         errno == ECHILD;
}

TEST(SpawnTest, TheChildInheritsTheSocketAndTheStandardDescriptorsOnly) {
  const NoDescriptorLeak no_leak;
  // What a service has open and forgot to mark, low and high.
  const UniqueFd forgotten(::open("/dev/null", O_RDWR));
  const UniqueFd high(::fcntl(forgotten.get(), F_DUPFD, 500));
  ASSERT_TRUE(high.valid());
  // And its signals, which the child must not inherit.
  ASSERT_EQ(::signal(SIGPIPE, SIG_IGN), SIG_DFL);
  sigset_t usr1;
  sigset_t before;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  ASSERT_EQ(::sigprocmask(SIG_BLOCK, &usr1, &before), 0);
  absl::StatusOr<Child> child = Spawn("--child");
  ASSERT_EQ(::sigprocmask(SIG_SETMASK, &before, nullptr), 0);
  ASSERT_EQ(::signal(SIGPIPE, SIG_DFL), SIG_IGN);
  ASSERT_TRUE(child.ok()) << child.status();

  EXPECT_EQ(::fcntl(child->socket.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(child->pidfd.get(), F_GETFD), FD_CLOEXEC);
  ASSERT_TRUE(Await(child->pidfd.get()));
  absl::StatusOr<std::string> end = ReapChild(child->pidfd.get());
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, "exited with code 0") << "the codes are above, in Exit";
  absl::StatusOr<ReceivedMessage> message = ReceiveMessage(child->socket.get());
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->bytes, "ready");
  ASSERT_TRUE(message->credentials.has_value());
  EXPECT_EQ(message->credentials->pid, child->pid);
  EXPECT_EQ(ReceiveMessage(child->socket.get()).status().code(),
            absl::StatusCode::kOutOfRange)
      << "somebody else holds the child's end";
  EXPECT_EQ(::getenv(kInheritedSocketVariable), nullptr);
  EXPECT_TRUE(NoChildren());
}

// What the shell's line of /proc/PID/status says of signals 1 to 28. (glibc has
// children ignore its own, above 31.)
bool ChildIgnoresOnly(const std::vector<int>& signals) {
  uint64_t mask = 0;
  for (const int signal : signals) mask |= uint64_t{1} << (signal - 1);
  const std::string script =
      absl::StrCat("grep -q 'SigIgn:.*", absl::Hex(mask, absl::kZeroPad7),
                   "$' /proc/$$/status");
  absl::StatusOr<Child> child = SpawnSuccessor("/bin/sh", {"sh", "-c", script});
  return child.ok() &&
         ReapChild(child->pidfd.get()).value() == "exited with code 0";
}

TEST(SpawnTest, TheChildIgnoresWhatItIsToldToAndWeGoOnAsBefore) {
  const auto handler = [](int) {};
  ASSERT_EQ(::signal(SIGUSR2, handler), SIG_DFL);
  {
    const IgnoredInChildren ignored({SIGUSR2, SIGHUP, SIGUSR2});
    EXPECT_TRUE(ChildIgnoresOnly({SIGUSR2, SIGHUP}));
    EXPECT_FALSE(SpawnSuccessor("/no/such/command", {"x"}).ok());
  }
  EXPECT_TRUE(ChildIgnoresOnly({}));
  EXPECT_EQ(::signal(SIGHUP, SIG_DFL), SIG_DFL);
  EXPECT_EQ(::signal(SIGUSR2, SIG_DFL), static_cast<void (*)(int)>(handler));
}

// The socketpair then gets the number of standard input.
TEST(SpawnTest, AClosedStandardInputIsNotReplacedByTheSocket) {
  const NoDescriptorLeak no_leak;
  ForkedChild daemon([] {
    ::close(STDIN_FILENO);
    absl::StatusOr<Child> child = Spawn("--child-without-stdin");
    if (!child.ok()) return 1;
    absl::StatusOr<std::string> end = ReapChild(child->pidfd.get());
    if (!end.ok()) return 2;
    return *end == "exited with code 0" ? 0 : 3;
  });
  EXPECT_EQ(daemon.Wait(), 0);
}

TEST(SpawnTest, ARehearsalIsAnyCommandAndHasAVariableOfItsOwn) {
  const NoDescriptorLeak no_leak;
  const std::string script =
      absl::StrCat("test \"$", kRehearsalVariable, "\" = 3 && test -z \"$",
                   kInheritedSocketVariable,
                   "\" && test -S /proc/$$/fd/3 && test /proc/$$/fd/1 -ef "
                   "/proc/$$/fd/2 && exit 9");
  absl::StatusOr<Child> child = SpawnRehearsal({"sh", "-c", script});
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(ReapChild(child->pidfd.get()).value(), "exited with code 9");
  EXPECT_EQ(SpawnRehearsal({"/no/such/command"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SpawnRehearsal({}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(NoChildren());
}

TEST(SpawnTest, SaysHowAChildEndedAndLeavesNoZombie) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<Child> child = Spawn("--child-that-waits");
  ASSERT_TRUE(child.ok()) << child.status();
  ASSERT_TRUE(Await(child->socket.get()));
  EXPECT_FALSE(ProcessEnded(child->pidfd.get()));
  EXPECT_FALSE(NoChildren());
  ASSERT_TRUE(KillProcess(child->pidfd.get()).ok());
  absl::StatusOr<std::string> end = ReapChild(child->pidfd.get());
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, "was killed by signal 9 (Killed)");
  EXPECT_TRUE(NoChildren());
  EXPECT_FALSE(ReapChild(child->pidfd.get()).ok()) << "reaped twice";

  child = SpawnSuccessor("/bin/sh", {"sh", "-c", "exit 3"});
  ASSERT_TRUE(child.ok()) << child.status();
  end = ReapChild(child->pidfd.get());
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(*end, "exited with code 3");
  EXPECT_TRUE(NoChildren());
}

TEST(SpawnTest, AnOrphanIsNobodysChildHereAndIsFollowedByItsPidfd) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<Child> child =
      SpawnSuccessor(Self(), {Self(), "--child-that-waits"}, /*orphan=*/true);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_TRUE(NoChildren());
  ASSERT_TRUE(Await(child->socket.get()));
  EXPECT_FALSE(ProcessEnded(child->pidfd.get()));
  ASSERT_TRUE(KillProcess(child->pidfd.get()).ok());
  pollfd polled = {child->pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 30'000), 1) << "it does not end";
  EXPECT_TRUE(ProcessEnded(child->pidfd.get()));

  EXPECT_EQ(SpawnSuccessor("/no/such/command", {"x"}, /*orphan=*/true)
                .status()
                .code(),
            absl::StatusCode::kNotFound);
  EXPECT_TRUE(NoChildren());
}

TEST(SpawnTest, ReplacesTheVariableThatWeInheritedOurselves) {
  const NoDescriptorLeak no_leak;
  ForkedChild grandparent([] {
    ::setenv(kInheritedSocketVariable, "77", 1);
    absl::StatusOr<Child> child = Spawn("--child");
    if (!child.ok()) return 1;
    absl::StatusOr<std::string> end = ReapChild(child->pidfd.get());
    if (!end.ok()) return 2;
    return *end == "exited with code 0" ? 0 : 3;
  });
  EXPECT_EQ(grandparent.Wait(), 0);
}

TEST(SpawnTest, AFileThatCannotBeExecutedIsAnErrorAndLeavesNothing) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string plain = folder / "plain";
  UniqueFd(::open(plain.c_str(), O_CREAT | O_RDWR, 0600)).reset();
  const std::string empty = folder / "empty";
  UniqueFd(::open(empty.c_str(), O_CREAT | O_RDWR, 0700)).reset();
  EXPECT_EQ(SpawnSuccessor(folder / "missing", {"x"}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SpawnSuccessor(plain, {"x"}).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(SpawnSuccessor(folder.path(), {"x"}).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(SpawnSuccessor(empty, {"x"}).ok()) << "no program in there";
  EXPECT_TRUE(NoChildren());
}

TEST(TakeInheritedSocketTest, IsEmptyWhereNothingWasInherited) {
  ASSERT_EQ(::unsetenv(kInheritedSocketVariable), 0);
  absl::StatusOr<absl::optional<UniqueFd>> socket = TakeInheritedSocket();
  ASSERT_TRUE(socket.ok()) << socket.status();
  EXPECT_FALSE(socket->has_value());
}

TEST(TakeInheritedSocketTest, RefusesWhatIsNoSocketOfOursAndLeavesItOpen) {
  const NoDescriptorLeak no_leak;
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const UniqueFd stream(pair[0]);
  const UniqueFd stream_peer(pair[1]);
  const UniqueFd file(::open("/dev/null", O_RDWR));
  const UniqueFd unconnected(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM, 0));
  std::vector<std::string> values = {
      "", "x", "3x", "-1", "0", "1", "999999", "99999999999999", "2 2"};
  for (const int fd :
       {stream.get(), file.get(), unconnected.get(), tcp.get()}) {
    values.push_back(absl::StrCat(fd));
  }
  for (const std::string& value : values) {
    ASSERT_EQ(::setenv(kInheritedSocketVariable, value.c_str(), 1), 0);
    EXPECT_EQ(TakeInheritedSocket().status().code(),
              absl::StatusCode::kInvalidArgument)
        << "\"" << value << "\"";
    EXPECT_EQ(::getenv(kInheritedSocketVariable), nullptr) << value;
  }
}

TEST(TakeInheritedSocketTest, OwnsTheSocket) {
  const NoDescriptorLeak no_leak;
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  const UniqueFd peer(pair[1]);
  const std::string value = absl::StrCat(pair[0]);
  ASSERT_EQ(::setenv(kInheritedSocketVariable, value.c_str(), 1), 0);
  {
    absl::StatusOr<absl::optional<UniqueFd>> socket = TakeInheritedSocket();
    ASSERT_TRUE(socket.ok()) << socket.status();
    ASSERT_TRUE(socket->has_value());
    EXPECT_EQ((*socket)->get(), pair[0]);
  }
  EXPECT_LT(::fcntl(pair[0], F_GETFD), 0);
}

}  // namespace
}  // namespace handoff

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  if (mode == "--child") return handoff::RunChild(false, 3);
  if (mode == "--child-that-waits") return handoff::RunChild(true, 3);
  if (mode == "--child-without-stdin") return handoff::RunChild(false, 2);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
