// Every kind of descriptor in a handoff between two processes: what the table
// in handoff/README.md says of each.

#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/handoff.h"
#include "tests/process/descriptor_rows.h"

extern char** environ;

namespace handoff {
namespace {

constexpr char kSuccessor[] = "--successor";

Options AtPath(const std::string& path) {
  Options options;
  options.path = path;
  // None of which is to expire.
  options.deadlines.hello = options.deadlines.quiesce =
      options.deadlines.frozen = absl::Seconds(30);
  return options;
}

// The successor, in a process of its own: takes "it" over, and says what became
// of its use once it is told that the predecessor is gone.
absl::Status UseWhatIsTaken(const std::string& path, const std::string& row,
                            const std::string& folder) {
  auto handoff = Handoff::Start(AtPath(path));
  if (!handoff.ok()) return handoff.status();
  const absl::StatusOr<int> fd =
      (*handoff)->Descriptor("it", []() -> absl::StatusOr<UniqueFd> {
        return absl::NotFoundError("nothing is inherited");
      });
  if (!fd.ok()) return fd.status();
  absl::Status status = (*handoff)->Ready();
  if (!status.ok()) return status;
  std::string line;
  std::getline(std::cin, line);
  status = DescriptorRows().at(row)()->Use(*fd, folder);
  std::cout << status << std::endl;
  std::getline(std::cin, line);
  (*handoff)->Stop();
  return status;
}

// Of this program, executed again, with its input and its output.
class Successor {
 public:
  explicit Successor(const std::vector<std::string>& arguments) {
    int in[2];
    int out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    UniqueFd its_input(in[0]);
    UniqueFd its_output(out[1]);
    input_.reset(in[1]);
    output_.reset(out[0]);
    std::vector<char*> argv;
    std::string name = "/proc/self/exe";
    argv.push_back(name.data());
    std::vector<std::string> copies = arguments;
    for (std::string& copy : copies) argv.push_back(copy.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, its_input.get(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, its_output.get(), 1);
    EXPECT_EQ(::posix_spawn(&pid_, name.c_str(), &actions, nullptr, argv.data(),
                            environ),
              0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Successor() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  // It goes on.
  void Tell() { EXPECT_EQ(::write(input_.get(), "\n", 1), 1); }
  // What it says next; empty where it ends.
  std::string Line() {
    std::string line;
    char byte = 0;
    while (::read(output_.get(), &byte, 1) == 1 && byte != '\n') line += byte;
    return line;
  }
  int ExitStatus() {
    int status = -1;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd input_;
  UniqueFd output_;
};

class AnyDescriptorTest : public testing::TestWithParam<std::string> {};

TEST_P(AnyDescriptorTest, MovesAsTheTableSays) {
  const TempFolder folder;   // of the row
  const TempFolder meeting;  // of the two processes
  const auto row = DescriptorRows().at(GetParam())();
  Options options = AtPath(meeting / "s");
  options.deadlines.watch = absl::Milliseconds(1);
  auto handoff = Handoff::Start(options);
  ASSERT_TRUE(handoff.ok()) << handoff.status();
  const absl::StatusOr<int> fd = (*handoff)->Descriptor(
      "it",
      [&]() -> absl::StatusOr<UniqueFd> { return row->Make(folder.path()); });
  ASSERT_TRUE(fd.ok()) << fd.status();
  const auto made = DescribeDescriptor(*fd);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(KindName(made->kind()), KindName(row->kind()));
  ASSERT_TRUE((*handoff)->Ready().ok());

  Successor successor({kSuccessor, options.path, GetParam(), folder.path()});
  const absl::StatusOr<Ended> ended = (*handoff)->Wait();
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(*ended, Ended::kHandedOff);
  const v1::Ledger ledger = (*handoff)->GetLedger();
  EXPECT_EQ(ledger.handoffs_size(), 1) << ledger.ShortDebugString();
  handoff->reset();  // closes what is left here

  successor.Tell();
  EXPECT_EQ(successor.Line(), "OK");
  EXPECT_EQ(row->After(), absl::OkStatus());
  successor.Tell();
  EXPECT_EQ(successor.ExitStatus(), 0);
}

std::vector<std::string> RowNames() {
  std::vector<std::string> names;
  for (const auto& [name, make] : DescriptorRows()) names.push_back(name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Kinds, AnyDescriptorTest,
                         testing::ValuesIn(RowNames()),
                         [](const auto& info) { return info.param; });

// The kernel would refuse it in the middle of a handoff.
TEST(RefusedDescriptorTest, AnIoUringIsRefusedWhereItIsNamed) {
  const TempFolder meeting;
  auto handoff = Handoff::Start(AtPath(meeting / "s"));
  ASSERT_TRUE(handoff.ok()) << handoff.status();
  io_uring_params params = {};
  UniqueFd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
  if (!ring) GTEST_SKIP() << "no io_uring here: " << std::strerror(errno);
  const absl::StatusOr<int> fd = (*handoff)->Descriptor(
      "ring", [&]() -> absl::StatusOr<UniqueFd> { return std::move(ring); });
  EXPECT_EQ(fd.status().code(), absl::StatusCode::kInvalidArgument)
      << fd.status();
  EXPECT_TRUE(absl::StrContains(fd.status().message(), "io_uring"))
      << fd.status();
  EXPECT_TRUE((*handoff)->Ready().ok());
  (*handoff)->Stop();
}

}  // namespace
}  // namespace handoff

int main(int argc, char** argv) {
  // For signalfd, in both processes and all of their threads.
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  sigprocmask(SIG_BLOCK, &usr1, nullptr);
  if (argc == 5 && argv[1] == std::string(handoff::kSuccessor)) {
    const absl::Status status =
        handoff::UseWhatIsTaken(argv[2], argv[3], argv[4]);
    // Also where nobody comes to read its output.
    if (!status.ok()) std::cerr << status << std::endl;
    return status.ok() ? 0 : 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
