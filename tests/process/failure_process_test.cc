// Handoffs between real processes in which one side fails.

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

class FailureTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"watch", "60s"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }

  ShortFolder folder_;
};

// Where a successor fails, and how.
struct Failure {
  const char* at;
  int signal;
};

class SuccessorFailureTest : public FailureTest,
                             public testing::WithParamInterface<Failure> {};

TEST_P(SuccessorFailureTest, ThePredecessorGoesOnWithEverySession) {
  // Long enough for what has to succeed, on a slow machine under a sanitizer;
  // where the successor is stopped, the test takes as long.
  ToyProcess first(With({{"staging", "10s"}, {"frozen", "3s"},
                         {"released", "200ms"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_EQ(clients.back()->Ask("echo a"), "echo a");
    clients.back()->Send("echo ha");
  }
  ToyClient ends(first.port());
  ASSERT_EQ(ends.Ask("echo a"), "echo a");

  ToyProcess second(With({{"stop_at", GetParam().at},
                          {"signal", absl::StrCat(GetParam().signal)}}));
  ASSERT_NE(second.WaitFor(absl::StrCat("event ", GetParam().at)), "")
      << second.Said();
  // A session that ends while a stopped successor holds its duplicate.
  ends.Send("close\n");
  EXPECT_EQ(ends.Line(), "<end>");
  ASSERT_NE(first.WaitFor("event aborted"), "") << first.Said();
  // Killed by us, or by the predecessor because it did not go.
  EXPECT_EQ(second.WaitExit(), -SIGKILL) << second.Said();

  for (auto& client : clients) {
    client->Send("lf\n");
    ASSERT_EQ(client->Line(), "echo half");
    ASSERT_EQ(Who(*client)[0], absl::StrCat(first.pid()));
  }
  ToyClient fresh(first.port());
  EXPECT_EQ(Who(fresh)[0], absl::StrCat(first.pid()));

  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said() << first.Said();
  for (auto& client : clients) {
    ASSERT_EQ(client->Ask("who"), absl::StrCat(third.pid(), " 2 1 4"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    AtEachStep, SuccessorFailureTest,
    testing::Values(Failure{"inheriting", SIGKILL},
                    Failure{"pre-copied", SIGKILL},
                    Failure{"ready-sent", SIGKILL},
                    Failure{"final-decoded", SIGKILL},
                    Failure{"pre-copied", SIGSTOP},
                    Failure{"ready-sent", SIGSTOP},
                    Failure{"final-decoded", SIGSTOP}),
    [](const testing::TestParamInfo<Failure>& info) {
      std::string name = absl::StrCat(
          info.param.at, info.param.signal == SIGKILL ? "Killed" : "Stopped");
      std::erase(name, '-');
      return name;
    });

class PredecessorFailureTest : public FailureTest,
                               public testing::WithParamInterface<const char*> {
};

TEST_P(PredecessorFailureTest, TheSuccessorAdoptsWhatNobodyTouched) {
  ToyProcess first(With({{"stop_at", GetParam()}}));
  ASSERT_TRUE(first.WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_EQ(clients.back()->Ask("echo a"), "echo a");
    clients.back()->Send("echo ha");
  }
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(first.WaitExit(), -SIGKILL) << first.Said();
  ToyClient fresh(first.port());
  EXPECT_EQ(Who(fresh)[0], absl::StrCat(second.pid()));
  for (auto& client : clients) {
    client->Send("lf\n");
    ASSERT_EQ(client->Line(), "echo half");
    ASSERT_EQ(Who(*client)[0], absl::StrCat(second.pid()));
  }
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(third.generation(), 3u);
}

INSTANTIATE_TEST_SUITE_P(AtEachStep, PredecessorFailureTest,
                         testing::Values("ready-received", "quiescing", "cut",
                                         "final-sent"),
                         [](const testing::TestParamInfo<const char*>& info) {
                           std::string name(info.param);
                           std::erase(name, '-');
                           return name;
                         });

TEST_F(FailureTest, APredecessorThatDiesAfterTheCommitIsNotMissed) {
  ToyProcess first(With({{"stop_at", "committed"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(first.WaitExit(), -SIGKILL);
  EXPECT_EQ(client.Ask("who"), absl::StrCat(second.pid(), " 2 1 2"));
}

TEST_F(FailureTest, ACrashWithinTheWatchRollsBack) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  second.Signal(SIGKILL);
  ASSERT_NE(first.WaitFor("event rolled-back"), "") << first.Said();
  ToyClient fresh(first.port());
  EXPECT_EQ(Who(fresh)[0], absl::StrCat(first.pid()));
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(fresh.Ask("who"), absl::StrCat(third.pid(), " 3 1 2"))
      << "a generation is given out once: the second was the one that crashed";
}

TEST_F(FailureTest, ADeliberateStopRetiresTheWatchingPredecessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady());
  second.Signal(SIGTERM);
  EXPECT_EQ(second.WaitExit(), 3) << second.Said();
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  for (const std::string& line : first.lines()) {
    EXPECT_FALSE(absl::StartsWith(line, "event rolled-back")) << first.Said();
  }
}

TEST_F(FailureTest, ThreeGenerationsEachKilledInTurnAreSeenAsWhoTheyAre) {
  auto first = std::make_unique<ToyProcess>(With());
  ASSERT_TRUE(first->WaitReady());
  ToyClient client(first->port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  for (int round = 0; round < 3; ++round) {
    ToyProcess second(With());
    ASSERT_TRUE(second.WaitReady()) << second.Said();
    EXPECT_TRUE(absl::StrContains(
        first->WaitFor("event handoff-begun"),
        absl::StrCat("to pid ", second.pid(), ",")))
        << first->Said();
    // The third connects to a socket that the first bound, and meets the
    // second.
    auto third = std::make_unique<ToyProcess>(With());
    ASSERT_TRUE(third->WaitReady()) << third->Said();
    EXPECT_TRUE(absl::StrContains(
        absl::StrJoin(third->lines(), "\n"),
        absl::StrCat("event inheriting from pid ", second.pid(), ",")))
        << third->Said();
    EXPECT_EQ(first->WaitExit(), 0) << first->Said();
    // The second watches the third, not the first.
    third->Signal(SIGKILL);
    ASSERT_NE(second.WaitFor("event rolled-back"), "") << second.Said();
    second.Signal(SIGKILL);
    EXPECT_EQ(second.WaitExit(), -SIGKILL);
    first = std::make_unique<ToyProcess>(With());
    ASSERT_TRUE(first->WaitReady()) << first->Said();
    EXPECT_EQ(first->generation(), 1u) << "both are dead: a fresh start";
  }
}

TEST_F(FailureTest, ASecondSuccessorIsRefusedWhileOneIsStaged) {
  ToyProcess first(With({{"staging", "60s"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyProcess second(
      With({{"stop_at", "pre-copied"}, {"signal", absl::StrCat(SIGSTOP)}}));
  ASSERT_NE(second.WaitFor("event pre-copied"), "");
  ToyProcess third(With());
  EXPECT_NE(third.WaitFor("failed UNAVAILABLE: refused: "), "")
      << third.Said();
  second.Signal(SIGCONT);
  ASSERT_TRUE(second.WaitReady()) << second.Said();
}

TEST_F(FailureTest, WhatAnAbortedSuccessorRefusedMovesToTheNext) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  for (const char* refusal : {"refuse", "drop_type"}) {
    ToyProcess second(With({{refusal, "1"}, {"stop_at", "final-decoded"}}));
    EXPECT_EQ(second.WaitExit(), -SIGKILL) << second.Said();
    ASSERT_NE(first.WaitFor("event aborted"), "") << first.Said();
    EXPECT_EQ(Who(client)[0], absl::StrCat(first.pid()));
  }
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(client.Ask("who"), absl::StrCat(third.pid(), " 2 1 4"));
}

TEST_F(FailureTest, AGroupThatDoesNotQuiesceAbortsAndTheOthersGoOn) {
  ToyProcess first(With({{"hang", "quiesce"}, {"groups", "1"},
                         {"quiesce", "100ms"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyProcess second(With());
  EXPECT_NE(second.WaitFor("failed ABORTED"), "") << second.Said();
  EXPECT_NE(first.WaitFor("event aborted a group did not quiesce"), "")
      << first.Said();
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
}

TEST_F(FailureTest, StrangersAndGarbageDoNoHarm) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  const auto before = DescriptorTable(first.pid());
  for (const std::string garbage : {"x", "\xff\xff\xff\xff", ""}) {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = folder_ / "h";
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                        sizeof(address)),
              0);
    if (garbage.empty()) continue;  // closes without a word
    ASSERT_EQ(::send(socket.get(), garbage.data(), garbage.size(), 0),
              static_cast<ssize_t>(garbage.size()));
    EXPECT_NE(first.WaitFor("event rejected"), "") << first.Said();
  }
  ToyProcess alien(With({{"lowest", "8"}, {"highest", "8"}}));
  EXPECT_EQ(alien.WaitExit(), 1);
  ASSERT_NE(first.WaitFor("event refused"), "");
  EXPECT_EQ(client.Ask("echo b"), "echo b");
  EXPECT_EQ(SettledTable(first.pid(), before), before);
}

TEST_F(FailureTest, Sigusr2StartsTheBinaryThatIsAtThePathNow) {
  const std::string exe = folder_ / "service";
  std::filesystem::copy_file(std::filesystem::read_symlink("/proc/self/exe"),
                             exe);
  ToyProcess first(With({{"exe", exe}}));
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  std::vector<std::string> who = Who(client);
  for (int generation = 2; generation <= 4; ++generation) {
    // Replaced by rename, as installers do: /proc/self/exe is "(deleted)" now.
    std::filesystem::copy_file(exe, exe + ".new");
    std::filesystem::rename(exe + ".new", exe);
    int pid = 0;
    ASSERT_TRUE(absl::SimpleAtoi(who[0], &pid));
    ASSERT_EQ(::kill(pid, SIGUSR2), 0);
    // The child inherits standard output.
    ASSERT_TRUE(first.WaitReady()) << first.Said();
    who = Who(client);
    EXPECT_EQ(who[1], absl::StrCat(generation));
    EXPECT_NE(who[0], absl::StrCat(pid));
  }
  EXPECT_EQ(first.WaitExit(), 0) << first.Said();
  int last = 0;
  ASSERT_TRUE(absl::SimpleAtoi(who[0], &last));
  ::kill(last, SIGTERM);
  EXPECT_EQ(client.Line(), "<end>");
}

TEST_F(FailureTest, AChildThatFailsIsReapedAndTheNextMayTry) {
  ToyProcess first(With({{"exe", "/bin/false"}}));
  ASSERT_TRUE(first.WaitReady());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  const auto before = DescriptorTable(first.pid());
  for (int i = 0; i < 3; ++i) {
    first.Signal(SIGUSR2);
    const std::string ended = first.WaitFor("event child-ended");
    EXPECT_TRUE(absl::StrContains(ended, "exited with code 1")) << ended;
    EXPECT_EQ(client.Ask("echo b"), "echo b");
  }
  EXPECT_EQ(SettledTable(first.pid(), before), before);
}

TEST_F(FailureTest, AChildThatHangsIsKilledAndASecondIsRefusedMeanwhile) {
  const std::string script = folder_ / "hangs";
  {
    FILE* file = ::fopen(script.c_str(), "w");
    ASSERT_NE(file, nullptr);
    ::fputs("#!/bin/sh\nkill -STOP $$\n", file);
    ::fclose(file);
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  }
  ToyProcess hangs(With({{"handoff", folder_ / "other"},
                         {"exe", script},
                         {"staging", "5s"}}));
  ASSERT_TRUE(hangs.WaitReady());
  hangs.Signal(SIGUSR2);
  ASSERT_NE(hangs.WaitFor("event note started"), "") << hangs.Said();
  hangs.Signal(SIGUSR2);
  EXPECT_NE(hangs.WaitFor("refused FAILED_PRECONDITION"), "") << hangs.Said();
  EXPECT_TRUE(absl::StrContains(hangs.WaitFor("event child-ended"),
                                "killed by signal 9"))
      << hangs.Said();
}

TEST_F(FailureTest, AChildThatIsTooLateIsAbortedBeforeItIsKilled) {
  // The handoff hangs in this process, so the child is still in the middle of it
  // when its time is over.
  ToyProcess first(With({{"exe", std::filesystem::read_symlink(
                                     "/proc/self/exe").string()},
                         {"hang", "quiesce"}, {"groups", "1"},
                         {"quiesce", "60s"}, {"staging", "8s"}}));
  ASSERT_TRUE(first.WaitReady());
  first.Signal(SIGUSR2);
  // The child writes to the same pipe, so there are two of "event aborted".
  EXPECT_NE(first.WaitFor("event child-ended"), "") << first.Said();
  const std::string said = first.Said();
  const size_t aborted =
      said.find("event aborted the child did not take over in time");
  ASSERT_NE(aborted, std::string::npos) << said;
  EXPECT_LT(aborted, said.find("event note killed")) << said;
  first.Signal(SIGTERM);
  EXPECT_EQ(first.WaitExit(), 3) << first.Said();
}

}  // namespace
}  // namespace handoff::toy
