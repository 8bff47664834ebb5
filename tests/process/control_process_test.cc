// What an operator sees of real processes and does to them, before, during and
// after handoffs.

#include <signal.h>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <future>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"
#include "tests/process/toy_control.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

using Texts = std::vector<std::string>;

class ControlTest : public testing::Test {
 protected:
  Settings With(Settings more = {}) const {
    Settings settings = {{"handoff", folder_ / "h"}, {"control", folder_ / "c"},
                         {"watch", "60s"},           {"hello", "30s"},
                         {"frame", "30s"},           {"staging", "30s"},
                         {"quiesce", "30s"},         {"frozen", "30s"},
                         {"released", "30s"}};
    for (auto& [key, value] : more) settings[key] = value;
    return settings;
  }
  std::string Ask(const ToyProcess& process, const std::string& request) const {
    return AskControl(ControlPath(folder_ / "c", process.generation()),
                      request);
  }
  template <typename Message>
  Message AskFor(const ToyProcess& process, const std::string& request) const {
    return toy::AskFor<Message>(
        ControlPath(folder_ / "c", process.generation()), request);
  }
  v1::Status Status(const ToyProcess& process) const {
    return AskFor<v1::Status>(process, "status");
  }
  std::vector<v1::EventRecord> Events(const ToyProcess& process,
                                      uint64_t after) const {
    const auto history =
        AskFor<v1::EventHistory>(process, absl::StrCat("events ", after));
    return {history.events().begin(), history.events().end()};
  }
  // The phase of the handoff that is under way, once it is `phase`, or as it is
  // when patience ends: the library's thread tells it a moment later.
  v1::HandoffProgress AwaitPhase(const ToyProcess& process,
                                 const std::string& phase) const {
    const absl::Time deadline = absl::Now() + kPatience;
    v1::HandoffProgress progress = Status(process).handoff();
    while (progress.phase() != phase && absl::Now() < deadline) {
      progress = Status(process).handoff();
    }
    return progress;
  }

  ShortFolder folder_;
};

// As a toy prints them. Where `pid` is not 0, those of that process only.
Texts Lines(const std::vector<v1::EventRecord>& events, pid_t pid = 0) {
  Texts lines;
  for (const v1::EventRecord& event : events) {
    if (pid != 0 && event.pid() != pid) continue;
    lines.push_back(absl::StrCat("event ", event.kind(), " ", event.text()));
  }
  return lines;
}

// The lines of events that a toy has printed, up to one that begins with
// `last`.
Texts Printed(const ToyProcess& process, const std::string& last = "none") {
  Texts lines;
  for (const std::string& line : process.lines()) {
    if (!absl::StartsWith(line, "event ")) continue;
    lines.push_back(line);
    if (absl::StartsWith(line, last)) break;
  }
  return lines;
}

void ExpectRising(const std::vector<v1::EventRecord>& events) {
  uint64_t last = 0;
  for (const v1::EventRecord& event : events) {
    EXPECT_GT(event.sequence(), last) << event.ShortDebugString();
    last = event.sequence();
  }
}

Texts PhaseNames(const v1::LedgerHandoff& handoff) {
  Texts names;
  double seconds = 0;
  for (const v1::Phase& phase : handoff.phases()) {
    names.push_back(phase.name());
    EXPECT_GE(phase.seconds(), 0) << phase.name();
    seconds += phase.seconds();
  }
  EXPECT_LE(seconds, handoff.seconds() + 0.001) << handoff.ShortDebugString();
  return names;
}

TEST_F(ControlTest, EventsGoOnOverHandoffsWithoutGapOrDouble) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Ask(first, "audit somebody asked"), "OK");
  ASSERT_NE(first.WaitFor("event audit somebody asked"), "") << first.Said();

  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  const std::vector<v1::EventRecord> seen = Events(first, 0);
  EXPECT_EQ(Lines(seen), Printed(first));
  const std::vector<v1::EventRecord> all = Events(second, 0);
  ExpectRising(all);
  EXPECT_EQ(Lines(all, first.pid()), Printed(first, "event cut"));
  EXPECT_EQ(Lines(all, second.pid()), Printed(second));
  EXPECT_EQ(Lines(Events(second, seen.back().sequence())), Printed(second))
      << "whoever saw what the first said after the cut misses nothing";

  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  ASSERT_NE(second.WaitFor("event released"), "") << second.Said();
  const std::vector<v1::EventRecord> last = Events(third, 0);
  ExpectRising(last);
  EXPECT_EQ(Lines(last, first.pid()), Printed(first, "event cut"));
  EXPECT_EQ(Lines(last, second.pid()), Printed(second, "event cut"));
  EXPECT_EQ(Lines(last, third.pid()), Printed(third));
  EXPECT_EQ(last.back().generation(), 3u);
}

TEST_F(ControlTest, MoreAuditsThanCanWaitAreCounted) {
  constexpr int kAudits = 3'000;
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Ask(first, absl::StrCat("audits ", kAudits)), "OK");
  int told = 0;
  while (told < kAudits) {
    const std::string line = first.WaitFor("event audit ");
    ASSERT_NE(line, "") << told << " of " << kAudits;
    int more = 0;
    told += std::sscanf(line.c_str(), "event audit and %d more", &more) == 1
                ? more
                : 1;
  }
  EXPECT_EQ(told, kAudits);
}

TEST_F(ControlTest, EventsGoOnOverARollBack) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  const std::vector<v1::EventRecord> of_second = Events(second, 0);
  second.Signal(SIGKILL);
  const std::string rolled_back = first.WaitFor("event rolled-back");
  ASSERT_NE(rolled_back, "") << first.Said();

  // For whoever had followed to the second as for whoever had stayed.
  EXPECT_EQ(Lines(Events(first, of_second.back().sequence())),
            Texts({rolled_back}));
  const std::vector<v1::EventRecord> all = Events(first, 0);
  ExpectRising(all);
  EXPECT_EQ(Lines(all), Printed(first));

  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said();
  EXPECT_EQ(third.generation(), 3u);
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  ExpectRising(Events(third, 0));
  EXPECT_EQ(Lines(Events(third, Events(first, 0).back().sequence())),
            Printed(third));
}

TEST_F(ControlTest, ALockRefusesSuccessorsWithItsReasonUntilItExpires) {
  ToyProcess first(With({{"exe", "/proc/self/exe"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Ask(first, "lock 60000 the disk is full"), "OK");
  EXPECT_EQ(Status(first).lock().reason(), "the disk is full");
  EXPECT_GT(Status(first).lock().expires_at(),
            static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())));
  {
    ToyProcess second(With());
    const std::string failed = second.WaitFor("failed ");
    EXPECT_TRUE(
        absl::StartsWith(failed, "failed UNAVAILABLE: refused: locked until 2"))
        << failed;
    EXPECT_TRUE(absl::EndsWith(failed, "Z: the disk is full (BUSY)") ||
                absl::EndsWith(failed, "Z: the disk is full"))
        << failed;
  }
  EXPECT_TRUE(absl::StartsWith(Ask(first, "start /bin/true"),
                               "FAILED_PRECONDITION: locked until "));
  const auto query = handoff::Ask(folder_ / "h", v1::Query::STATUS, kPatience);
  ASSERT_TRUE(query.ok()) << query.status();
  EXPECT_EQ(query->status().lock().reason(), "the disk is full");

  EXPECT_EQ(Ask(first, "unlock"), "OK");
  EXPECT_EQ(Ask(first, "unlock"), "FAILED_PRECONDITION: there is no lock");
  EXPECT_FALSE(Status(first).has_lock());
  EXPECT_EQ(Ask(first, "lock -1 too late"),
            "INVALID_ARGUMENT: the lock's expiry has passed");

  EXPECT_EQ(Ask(first, "lock 10 soon over"), "OK");
  const absl::Time deadline = absl::Now() + kPatience;
  while (Status(first).has_lock() && absl::Now() < deadline) {
  }
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said() << first.Said();
  EXPECT_EQ(Ask(first, "lock 60000 x"),
            "FAILED_PRECONDITION: a handoff is under way or done");
}

TEST_F(ControlTest, AnAbortEndsAHandoffAndTheNextOneSucceeds) {
  // So that the one that is stopped is killed soon.
  ToyProcess first(With({{"released", "100ms"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Ask(first, "abort 30000 why not"),
            "FAILED_PRECONDITION: no handoff is under way");
  EXPECT_FALSE(Status(first).has_handoff());
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");

  ToyProcess second(With({{"fault", "hook restore:stop"}, {"label", "new"}}));
  ASSERT_NE(second.WaitFor("fault "), "") << second.Said();
  const v1::HandoffProgress progress = AwaitPhase(first, "staging");
  EXPECT_EQ(progress.phase(), "staging");
  EXPECT_EQ(progress.successor_pid(), second.pid());
  EXPECT_EQ(progress.successor_label(), "new");
  EXPECT_FALSE(progress.rehearsal());
  EXPECT_EQ(progress.sessions_sent(), 1u);
  EXPECT_EQ(progress.sessions_total(), 1u);
  EXPECT_NE(progress.handoff_id(), 0u);
  EXPECT_GT(progress.phase_started_at(), progress.started_at());
  EXPECT_LE(progress.phase_started_at(),
            static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())));
  EXPECT_EQ(Status(first).state(), "handing off");
  EXPECT_EQ(Ask(first, "lock 60000 x"),
            "FAILED_PRECONDITION: a handoff is under way or done");

  EXPECT_EQ(Ask(first, "abort 30000 not today"), "OK");
  ASSERT_NE(first.WaitFor("event aborted aborted by an operator: not today"),
            "")
      << first.Said();
  EXPECT_FALSE(Status(first).has_handoff());
  EXPECT_EQ(Status(first).state(), "serving");
  v1::LedgerHandoff last = Status(first).last_handoff();
  EXPECT_EQ(last.handoff_id(), progress.handoff_id());
  EXPECT_EQ(last.result(), "aborted");
  EXPECT_EQ(last.reason(), "aborted by an operator: not today");
  EXPECT_EQ(PhaseNames(last), Texts({"pre-copy", "staging"}));
  EXPECT_EQ(second.WaitExit(), -SIGKILL);

  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said() << first.Said();
  EXPECT_EQ(Who(client)[0], absl::StrCat(third.pid()));
  EXPECT_EQ(Ask(first, "abort 30000 too late"),
            "FAILED_PRECONDITION: the handoff is committed");
  EXPECT_EQ(Ask(third, "abort 30000 too late"),
            "FAILED_PRECONDITION: no handoff is under way");
}

TEST_F(ControlTest, AnAbortSaysWhereASuccessorHasNotGoneInTime) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"fault", "hook restore:stop"}}));
  ASSERT_NE(second.WaitFor("fault "), "") << second.Said();
  ASSERT_TRUE(second.WaitStopped()) << second.Said();
  EXPECT_EQ(Ask(first, "abort 10 hurry"),
            "DEADLINE_EXCEEDED: the handoff was told to abort and has not "
            "ended yet");
  second.Signal(SIGCONT);
  EXPECT_EQ(second.WaitExit(), 1) << second.Said();
  // It has ended, or is about to.
  const std::string again = Ask(first, "abort 30000 again");
  EXPECT_TRUE(again == "OK" ||
              again == "FAILED_PRECONDITION: no handoff is under way")
      << again;
  ToyProcess third(With());
  ASSERT_TRUE(third.WaitReady()) << third.Said() << first.Said();
}

TEST_F(ControlTest, ARehearsalIsAbortedToo) {
  ToyProcess first(With({{"released", "100ms"}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  ToyProcess second(With({{"fault", "hook restore:stop"}, {"rehearse", "1"}}));
  ASSERT_NE(second.WaitFor("fault "), "") << second.Said();
  EXPECT_TRUE(AwaitPhase(first, "staging").rehearsal());
  EXPECT_EQ(Ask(first, "abort 30000 enough"), "OK");
  EXPECT_NE(first.WaitFor(
                "event aborted a rehearsal: aborted by an operator: enough"),
            "")
      << first.Said();
  EXPECT_EQ(client.Ask("echo b"), "echo b");
}

TEST_F(ControlTest, AChildThatNeverSaysHelloIsEndedByAnAbort) {
  const std::string mute = folder_ / "mute";
  std::ofstream(mute) << "#!/bin/sh\nexec sleep 1000\n";
  ASSERT_EQ(::chmod(mute.c_str(), 0700), 0);
  ToyProcess first(With({{"exe", mute}}));
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  EXPECT_EQ(Ask(first, absl::StrCat("start ", folder_ / "none")).substr(0, 9),
            "NOT_FOUND");
  EXPECT_EQ(Ask(first, absl::StrCat("start ", mute)), "OK");
  EXPECT_NE(first.WaitFor(absl::StrCat("event note started ", mute)), "");
  EXPECT_EQ(Ask(first, absl::StrCat("start ", mute)),
            "FAILED_PRECONDITION: a successor was started and still runs");
  EXPECT_EQ(Ask(first, "abort 30000 it hangs"), "OK");
  EXPECT_NE(first.WaitFor("event child-ended"), "") << first.Said();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said() << first.Said();
}

TEST_F(ControlTest, BothSidesTellHowLongEachPhaseTook) {
  const Texts kPhases = {"pre-copy", "staging", "changes", "frozen"};
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyProcess second(With());
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  ASSERT_NE(first.WaitFor("event released"), "") << first.Said();
  EXPECT_EQ(AwaitPhase(first, "watch").successor_pid(), second.pid());
  EXPECT_EQ(PhaseNames(Status(first).last_handoff()), kPhases);
  // Written by the library's thread, which may have come to it only now.
  const absl::Time deadline = absl::Now() + kPatience;
  while (!Status(second).has_last_handoff() && absl::Now() < deadline) {
  }
  EXPECT_EQ(PhaseNames(Status(second).last_handoff()), kPhases);
  const auto ledger = AskFor<v1::Ledger>(second, "ledger");
  ASSERT_EQ(ledger.handoffs_size(), 1) << ledger.ShortDebugString();
  EXPECT_EQ(PhaseNames(ledger.handoffs(0)), kPhases);
  for (const v1::LedgerEntry& entry : ledger.handoffs(0).entries()) {
    EXPECT_FALSE(absl::StartsWith(entry.name(), "handoff.")) << entry.name();
  }
}

TEST_F(ControlTest, TheStatusAndTheInventoryAreWhatIsThere) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyClient client(first.port());
  ASSERT_EQ(client.Ask("echo a"), "echo a");
  const v1::Status status = Status(first);
  EXPECT_EQ(status.pid(), first.pid());
  EXPECT_EQ(status.generation(), 1u);
  EXPECT_EQ(status.state(), "serving");
  EXPECT_EQ(status.sessions(), 1u);
  EXPECT_GT(status.resident_bytes(), 100'000u);
  EXPECT_TRUE(status.accepting());
  Texts items;
  const auto inventory = AskFor<v1::QueryReply>(first, "inventory");
  for (const v1::InventoryItem& item : inventory.items()) {
    items.push_back(absl::StrCat(item.category(), " ", item.name()));
  }
  EXPECT_EQ(items, Texts({"handoff-listener handoff", "listener toy",
                          "blob counters", "session toy"}));
}

TEST_F(ControlTest, FromTheCommitOnToolsAreAnsweredByTheSuccessor) {
  ToyProcess first(With());
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  // Before it says so.
  ToyProcess second(With({{"fault", "state committed:stop"}}));
  ASSERT_NE(second.WaitFor("fault "), "") << second.Said();
  ASSERT_TRUE(second.WaitStopped()) << second.Said();
  auto answer = std::async(std::launch::async, [&] {
    return handoff::Ask(folder_ / "h", v1::Query::STATUS, kPatience);
  });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(200)),
            std::future_status::timeout)
      << "the predecessor tells what was";
  second.Signal(SIGCONT);
  const auto reply = answer.get();
  ASSERT_TRUE(reply.ok()) << reply.status() << second.Said();
  EXPECT_EQ(reply->status().pid(), second.pid());
}

TEST_F(ControlTest, AUnixListenerIsListedWithThePathThatClientsUse) {
  const Settings settings = With(
      {{"extra", "admin"}, {"extra_at", absl::StrCat("unix:", folder_ / "a")}});
  ToyProcess first(settings);
  ASSERT_TRUE(first.WaitReady()) << first.Said();
  ToyProcess second(settings);
  ASSERT_TRUE(second.WaitReady()) << second.Said();
  for (const ToyProcess* process : {&first, &second}) {
    std::map<std::string, std::string> addresses;
    const auto inventory = AskFor<v1::QueryReply>(*process, "inventory");
    for (const v1::InventoryItem& item : inventory.items()) {
      if (item.descriptors().empty()) continue;
      addresses[item.name()] = item.descriptors(0).local_address();
    }
    EXPECT_EQ(addresses["handoff"], absl::StrCat("unix:", folder_ / "h"));
    EXPECT_EQ(addresses["admin"], absl::StrCat("unix:", folder_ / "a"));
  }
}

}  // namespace
}  // namespace handoff::toy
