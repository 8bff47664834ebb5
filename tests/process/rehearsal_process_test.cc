// Rehearsals between real processes: a new binary takes everything, says
// whether it could serve it, and nothing has moved.

#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/query.h"
#include "handoff/rehearsal.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

// Not expected to pass.
constexpr absl::Duration kReportTime = absl::Seconds(60);

class RehearsalTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"watch", "60s"},
                         {"hello", "30s"},           {"frame", "30s"},
                         {"staging", "30s"},         {"quiesce", "30s"},
                         {"frozen", "30s"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  // A toy service that rehearses with `first`.
  absl::StatusOr<Rehearsal> RehearseWith(const ToyProcess& first,
                                         Settings more = {},
                                         int give_up = -1) const {
    std::vector<std::string> command = {"/proc/self/exe", "--toy"};
    for (const auto& [key, value] : With(std::move(more))) {
      command.push_back(absl::StrCat(key, "=", value));
    }
    return Rehearse(command, first.pid(), absl::Now() + kReportTime, give_up);
  }

  ShortFolder folder_;
};

// The report's entries, as "listener extra: not claimed", of one outcome.
std::vector<std::string> Entries(const Rehearsal& rehearsal,
                                 v1::LedgerEntry::Outcome outcome) {
  std::vector<std::string> entries;
  for (const v1::LedgerEntry& entry : rehearsal.report.entries()) {
    if (entry.outcome() != outcome) continue;
    entries.push_back(absl::StrCat(entry.category(), " ", entry.name(), ": ",
                                   entry.reason()));
  }
  return entries;
}

std::vector<std::string> Refused(const Rehearsal& rehearsal) {
  return Entries(rehearsal, v1::LedgerEntry::REFUSED);
}

// Waits until the process has stopped, which it says that it will just before:
// a SIGCONT that comes in between is lost.
void WaitStopped(const ToyProcess& process) {
  siginfo_t info = {};
  ::waitid(P_PID, static_cast<id_t>(process.pid()), &info,
           WSTOPPED | WEXITED | WNOWAIT);
}

// Whether the process has said any of it.
bool HasSaid(const ToyProcess& process, const std::string& text) {
  return absl::StrContains(absl::StrJoin(process.lines(), "\n"), text);
}

TEST_F(RehearsalTest, ClientsSeeNothingOfTwentyAndTheHandoffAfterThemSucceeds) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_EQ(clients.back()->Ask("echo a"), "echo a");
    clients.back()->Send("echo ha");
  }
  const auto before = DescriptorTable(first.pid());
  for (int i = 0; i < 20; ++i) {
    const auto rehearsal = RehearseWith(first);
    ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
    EXPECT_EQ(rehearsal->report.result(), "passed")
        << rehearsal->report.ShortDebugString();
    EXPECT_EQ(rehearsal->report.predecessor_pid(), first.pid());
    EXPECT_EQ(rehearsal->report.generation(), 2u);
    // The sessions, the handoff listener, the listener and the blob.
    EXPECT_EQ(rehearsal->report.moved(), 203u);
    EXPECT_TRUE(Refused(*rehearsal).empty());
    EXPECT_EQ(rehearsal->end, "exited with code 1") << "a toy that served";
    EXPECT_FALSE(rehearsal->killed);
    ASSERT_NE(first.WaitFor("event aborted a rehearsal: the successor aborted: "
                            "everything would move (REHEARSAL)"),
              "")
        << first.Said();
    ASSERT_EQ(clients[i]->Ask(""), "echo ha");
    clients[i]->Send("echo ha");
  }
  EXPECT_EQ(SettledTable(first.pid(), before), before);
  for (const char* step : {"event ready-received", "event quiescing",
                           "event cut", "event final-sent"}) {
    EXPECT_FALSE(HasSaid(first, step)) << first.Said();
  }

  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said() << first.Said();
  EXPECT_EQ(second.generation(), 2u) << "a rehearsal uses up no generation";
  const auto ledger = Ask(folder_ / "h", v1::Query::LEDGER, kPatience);
  ASSERT_TRUE(ledger.ok()) << ledger.status();
  ASSERT_GE(ledger->handoffs_size(), 20);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ledger->handoffs(i).result(), "rehearsed");
  }
  for (auto& client : clients) {
    client->Send("lf\n");
    ASSERT_EQ(client->Line(), "echo half");
    ASSERT_EQ(Who(*client)[0], absl::StrCat(second.pid()));
  }
}

TEST_F(RehearsalTest, EverySessionThatWouldStayBehindIsNamedWithItsReason) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<ToyClient>(first.port()));
    ASSERT_EQ(clients.back()->Ask("echo a"), "echo a");
  }
  auto rehearsal = RehearseWith(first, {{"refuse", "all"}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "failed");
  EXPECT_EQ(Refused(*rehearsal),
            std::vector<std::string>(3, "session toy: told to refuse"));
  EXPECT_NE(rehearsal->report.entries(0).session(),
            rehearsal->report.entries(1).session());

  rehearsal = RehearseWith(first, {{"drop_type", "1"}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "failed");
  EXPECT_EQ(Refused(*rehearsal),
            std::vector<std::string>(
                3, "session toy: nobody takes sessions of this type"));

  // What cannot move anyway is no fault of the new binary.
  ASSERT_EQ(clients[0]->Ask("keep"), "ok");
  rehearsal = RehearseWith(first);
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "passed");
  EXPECT_EQ(Entries(*rehearsal, v1::LedgerEntry::KEPT),
            std::vector<std::string>({"session toy: asked to stay"}));

  for (auto& client : clients) {
    EXPECT_EQ(Who(*client)[0], absl::StrCat(first.pid()));
  }
}

TEST_F(RehearsalTest, AListenerThatTheNewBinaryLacksIsNamed) {
  ToyProcess first(With({{"extra", "admin"}}));
  ASSERT_TRUE(first.WaitReady());
  const auto rehearsal = RehearseWith(first);
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "failed");
  EXPECT_EQ(Refused(*rehearsal),
            std::vector<std::string>(
                {"listener admin: not claimed by the successor"}));
  ASSERT_NE(first.WaitFor("event aborted"), "");
  EXPECT_TRUE(HasSaid(first,
                      "a rehearsal: the successor aborted: 1 of 4 would "
                      "not move: listener \"admin\""))
      << first.Said();
}

TEST_F(RehearsalTest, AServiceThatGivesUpSaysOverWhat) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  auto rehearsal = RehearseWith(first, {{"fail_restore", "1"}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "failed");
  EXPECT_EQ(rehearsal->report.reason(), "the service gave up before Ready()");
  EXPECT_EQ(Refused(*rehearsal),
            std::vector<std::string>({"blob counters: blob \"counters\" cannot "
                                      "be restored: no counters"}));

  rehearsal = RehearseWith(
      first, {{"extra", "admin"},
              {"extra_at", absl::StrCat("tcp:127.0.0.1:", first.port())}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  ASSERT_EQ(Refused(*rehearsal).size(), 1u);
  EXPECT_TRUE(
      absl::StrContains(Refused(*rehearsal)[0], "the address is in use"))
      << Refused(*rehearsal)[0];
}

TEST_F(RehearsalTest, ANewListenerLeavesNothingBehind) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  const std::string path = folder_ / "new";
  const auto rehearsal = RehearseWith(
      first, {{"extra", "admin"}, {"extra_at", absl::StrCat("unix:", path)}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "passed");
  struct stat status;
  EXPECT_NE(::lstat(path.c_str(), &status), 0) << path << " is still there";
}

TEST_F(RehearsalTest, AVersionThatDoesNotFitIsReportedAsRefused) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  const auto rehearsal =
      RehearseWith(first, {{"lowest", "8"}, {"highest", "8"}});
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "failed");
  EXPECT_TRUE(absl::StrContains(rehearsal->report.reason(),
                                "refused: no common version of state type"))
      << rehearsal->report.reason();
  EXPECT_EQ(rehearsal->report.predecessor_pid(), first.pid());
}

TEST_F(RehearsalTest, WhereNobodyServesItFailsAndMakesNothing) {
  ToyProcess lonely(With({{"rehearse", "1"}}));
  EXPECT_EQ(lonely.WaitExit(), 1);
  EXPECT_NE(
      lonely.WaitFor(absl::StrCat(
          "failed NOT_FOUND: a rehearsal: nobody serves at ", folder_ / "h")),
      "")
      << lonely.Said();
  struct stat status;
  EXPECT_NE(::lstat((folder_ / "h").c_str(), &status), 0);
  EXPECT_NE(::lstat((folder_ / "h.lock").c_str(), &status), 0);
}

TEST_F(RehearsalTest, APredecessorThatDiesIsNotReplaced) {
  auto first = std::make_unique<ToyProcess>(With());
  ASSERT_TRUE(first->WaitReady());
  const int port = first->port();
  ToyClient client(port);
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"rehearse", "1"},
                          {"stop_at", "pre-copied"},
                          {"signal", absl::StrCat(SIGSTOP)}}));
  ASSERT_NE(second.WaitFor("event pre-copied"), "") << second.Said();
  WaitStopped(second);
  first->Signal(SIGKILL);
  EXPECT_EQ(first->WaitExit(), -SIGKILL);
  second.Signal(SIGCONT);
  EXPECT_EQ(second.WaitExit(), 1);
  EXPECT_NE(second.WaitFor("failed ABORTED: a rehearsal: the predecessor died "
                           "in the rehearsal"),
            "")
      << second.Said();
  EXPECT_FALSE(HasSaid(second, "event adopted")) << second.Said();
  EXPECT_FALSE(ToyClient(port).connected()) << "somebody listens";
}

TEST_F(RehearsalTest, TheWatchOfAnEarlierHandoffGoesOn) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  const auto rehearsal = RehearseWith(second);
  ASSERT_TRUE(rehearsal.ok()) << rehearsal.status();
  EXPECT_EQ(rehearsal->report.result(), "passed");
  EXPECT_EQ(rehearsal->report.generation(), 3u);
  second.Signal(SIGKILL);
  ASSERT_NE(first.WaitFor("event rolled-back"), "")
      << "the rehearsal has ended the watch: " << first.Said();
  ToyClient fresh(first.port());
  EXPECT_EQ(Who(fresh)[0], absl::StrCat(first.pid()));
}

TEST_F(RehearsalTest, WhileOneIsUnderWayAHandoffIsRefusedAndThenSucceeds) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyProcess rehearsing(With({{"rehearse", "1"},
                              {"stop_at", "pre-copied"},
                              {"signal", absl::StrCat(SIGSTOP)}}));
  ASSERT_NE(rehearsing.WaitFor("event pre-copied"), "");
  WaitStopped(rehearsing);
  ToyProcess refused(With());
  EXPECT_NE(refused.WaitFor("failed UNAVAILABLE: refused: "), "")
      << refused.Said();
  rehearsing.Signal(SIGCONT);
  EXPECT_EQ(rehearsing.WaitExit(), 1);
  EXPECT_NE(rehearsing.WaitFor(
                "failed CANCELLED: a rehearsal: everything would move"),
            "")
      << rehearsing.Said();
  ASSERT_NE(first.WaitFor("event aborted a rehearsal: "), "") << first.Said();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
}

TEST_F(RehearsalTest, OneThatHangsIsGivenUpAndAHandoffSucceeds) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  const UniqueFd give_up(::eventfd(0, EFD_CLOEXEC));
  auto rehearsal = std::async(std::launch::async, [&] {
    return RehearseWith(first, {{"fault", "hook restore:stop"}}, give_up.get());
  });
  EXPECT_NE(first.WaitFor("event handoff-begun"), "") << first.Said();
  ASSERT_EQ(::eventfd_write(give_up.get(), 1), 0);
  const absl::Status status = rehearsal.get().status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "killed by signal 9"))
      << status;
  EXPECT_NE(first.WaitFor("event aborted a rehearsal: "), "") << first.Said();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  EXPECT_EQ(Who(client)[0], absl::StrCat(second.pid()));
}

TEST_F(RehearsalTest, OneThatMeetsAnotherProcessIsNoAnswer) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ToyProcess other(With({{"handoff", folder_ / "other"}}));
  ASSERT_TRUE(other.WaitReady());
  const auto rehearsal = RehearseWith(first, {{"handoff", folder_ / "other"}});
  EXPECT_TRUE(absl::IsFailedPrecondition(rehearsal.status()))
      << rehearsal.status();
  EXPECT_TRUE(absl::StrContains(rehearsal.status().message(),
                                absl::StrCat("rehearsed with pid ", other.pid(),
                                             ", but pid ", first.pid())))
      << rehearsal.status();
}

TEST_F(RehearsalTest,
       AVariableThatNamesNothingOfOursEndsItBeforeItCanTakeOver) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady());
  ASSERT_EQ(::setenv("HANDOFF_REHEARSAL_FD", "1", 1), 0);
  ToyProcess second(With());
  ASSERT_EQ(::unsetenv("HANDOFF_REHEARSAL_FD"), 0);
  EXPECT_EQ(second.WaitExit(), 1);
  EXPECT_NE(second.WaitFor("failed INVALID_ARGUMENT: HANDOFF_REHEARSAL_FD=1"),
            "")
      << second.Said();
  ToyClient client(first.port());
  EXPECT_EQ(Who(client)[0], absl::StrCat(first.pid()));
}

}  // namespace
}  // namespace handoff::toy
