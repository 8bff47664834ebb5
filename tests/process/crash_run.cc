#include "tests/process/crash_run.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/query.h"

namespace handoff::toy {
namespace {

using Table = std::map<std::string, int>;

// Fresh connections, each of which must reach the process that serves.
constexpr int kProbes = 6;
// Successors that may be started until one takes over. One is enough where no
// deadline is meant to expire.
constexpr int kMostAttempts = 10;
// For a loop to take a step that was posted to it. Too little costs a run.
constexpr absl::Duration kLoopsSettle = absl::Seconds(5);

// The blob goes in the first round, in a live one, and when all is frozen.
constexpr char kWhenFrozen[] = "3";

bool Decided(const ToyProcess* p) {
  return p != nullptr && (p->Has("ready ") || p->Ended());
}

}  // namespace

Settings CellRun::With(bool faulty, Settings more) const {
  // No deadline expires but those that are meant to.
  Settings settings = {{"handoff", folder_ / "h"},
                       {"send_buffer", "16384"},
                       {"record", "1"},
                       {"drain", "10s"}};
  const bool expire = Disturbs("close") || (Disturbs("stop") && !faulty);
  for (const char* name :
       {"hello", "frame", "staging", "quiesce", "frozen", "released"}) {
    settings[name] = absl::FormatDuration(expire ? short_deadline_ : kPatience);
  }
  for (auto& [key, value] : more) settings[key] = value;
  if (faulty && !cell_.fault.empty()) {
    settings["fault"] = absl::StrCat(cell_.step, ":", cell_.fault);
  }
  return settings;
}

std::unique_ptr<ToyProcess> CellRun::StartFirst() {
  Settings settings = {{"watch", "60s"}, {"take_back", "1"}};
  if (cell_.course == Course::kPredecessorAborts)
    settings["fail_save"] = kWhenFrozen;
  return std::make_unique<ToyProcess>(With(cell_.at_predecessor, settings));
}

std::unique_ptr<ToyProcess> CellRun::StartSecond() {
  Settings settings = {
      {"watch", "50ms"},
      {"listen", absl::StrCat("tcp:127.0.0.1:", first_->port())}};
  if (cell_.course == Course::kSuccessorAborts) {
    settings["fail_restore"] = kWhenFrozen;
  } else if (cell_.course == Course::kRollsBack) {
    settings["fault"] = "state released:kill";
  }
  return std::make_unique<ToyProcess>(With(!cell_.at_predecessor, settings));
}

std::string CellRun::Said() {
  std::string said = absl::StrCat(cell_.Name(), "\n");
  for (ToyProcess* p : {first_.get(), second_.get(), third_.get()}) {
    if (p != nullptr) absl::StrAppend(&said, p->Said(), "\n\n");
  }
  for (auto& p : failed_) absl::StrAppend(&said, "failed: ", p->Said(), "\n\n");
  if (traffic_ != nullptr)
    absl::StrAppend(&said, traffic_->GetReport().standing);
  return said;
}

// Whether the step was; then the fault is about to be.
bool CellRun::Reached() const {
  const auto& lines = faulty_->lines();
  return std::find(lines.begin(), lines.end(),
                   absl::StrCat("step ", cell_.step)) != lines.end();
}

// Reads what the processes say until `done`; continues a stopped one in time.
bool CellRun::Hear(const std::function<bool()>& done) {
  const absl::Time deadline = absl::Now() + 2 * kPatience;
  while (true) {
    std::vector<pollfd> polled;
    for (ToyProcess* p : {first_.get(), second_.get(), third_.get()}) {
      if (p == nullptr) continue;
      const bool ended = p->Ended();
      p->Take();
      if (!ended) polled.push_back({p->output(), POLLIN, 0});
    }
    ContinueIfDue();
    if (done()) return true;
    if (absl::Now() > deadline) return false;
    ::poll(polled.data(), polled.size(), 10);
  }
}

void CellRun::ContinueIfDue() {
  if (!Disturbs("stop") || continued_ || faulty_ == nullptr ||
      !faulty_->Has("fault ")) {
    return;
  }
  const bool due =
      cell_.in_next_handoff ? Decided(third_.get()) || !failed_.empty()
      : cell_.at_predecessor
          ? Decided(second_.get())
          : first_->Has("event aborted") || first_->Has("event refused") ||
                first_->Has("event released") || first_->Ended();
  if (!due || !faulty_->Stopped()) return;
  faulty_->Signal(SIGCONT);
  continued_ = true;
}

// What was limited may be used again.
void CellRun::Lift() {
  if (faulty_ == nullptr || faulty_->Ended()) return;
  for (const auto resource : {RLIMIT_NOFILE, RLIMIT_AS, RLIMIT_FSIZE}) {
    rlimit limit = {};
    ::getrlimit(resource, &limit);
    ::prlimit(faulty_->pid(), resource, &limit, nullptr);
  }
}

// Who has to serve now, by what has become of the processes.
ToyProcess* CellRun::Serving() const {
  if (third_ != nullptr && third_->Has("ready ")) return third_.get();
  if (second_ != nullptr && second_->Has("ready ") && !second_->Ended()) {
    return second_.get();
  }
  if (!first_->Ended() && !first_->Has("event watch-ended")) {
    return first_.get();
  }
  return nullptr;
}

void CellRun::FirstHandoff() {
  second_ = StartSecond();
  faulty_ = cell_.at_predecessor ? first_.get() : second_.get();
  ASSERT_TRUE(Hear([&] { return Decided(second_.get()); })) << Said();
  if (second_->Has("ready ") && !second_->Ended()) {
    ASSERT_TRUE(Hear([&] {
      return first_->Ended() || first_->Has("event released") ||
             first_->Has("event rolled-back") || second_->Ended();
    })) << Said();
  }
  if (!cell_.fault.empty() && !cell_.in_next_handoff) {
    // Where the successor was faster than the fault, it is still to come. So
    // it is for a while where the library's thread is done and loops are not.
    absl::Time over = absl::InfiniteFuture();
    const bool struck = Hear([&] {
      if (second_->Ended() && first_->Has("step state ended")) {
        over = std::min(over, absl::Now() + kLoopsSettle);
      }
      return faulty_->Has("fault ") || faulty_->Ended() ||
             (absl::Now() > over && !Reached());
    });
    ASSERT_TRUE(struck) << Said();
    missed_ = !faulty_->Has("fault ");
    if (missed_) return;
    if (Disturbs("kill")) {
      ASSERT_TRUE(Hear([&] { return faulty_->Ended(); })) << Said();
    }
    if (Disturbs("stop")) {
      ASSERT_TRUE(Hear([&] { return continued_; })) << Said();
    }
    Lift();
  }
  if (second_->Ended() && second_->Has("ready ") && !first_->Ended()) {
    ASSERT_TRUE(Hear([&] { return first_->Has("event rolled-back"); }))
        << Said();
  }
}

// All of `kProbes` fresh connections reach the one process that serves.
bool CellRun::CheckServed(ToyProcess* by) {
  for (int i = 0; i < kProbes; ++i) {
    ToyClient probe(by->port() != 0 ? by->port() : first_->port());
    const std::string pid = Who(probe)[0];
    if (pid == absl::StrCat(by->pid())) continue;
    ADD_FAILURE() << "pid " << by->pid() << " serves; a fresh connection "
                  << (probe.connected() ? "reaches " : "is refused ") << pid
                  << "\n"
                  << Said();
    return false;
  }
  return true;
}

// Of the process that serves. It closes what a client has closed a moment
// later.
void CellRun::CheckTable(ToyProcess& process, const Table& usual) {
  Table expected;
  Table table;
  const absl::Time deadline = absl::Now() + kPatience;
  do {
    const auto reply = Ask(folder_ / "h", v1::Query::LIST, kPatience);
    ASSERT_TRUE(reply.ok()) << reply.status() << "\n" << Said();
    const auto sessions = std::count_if(
        reply->items().begin(), reply->items().end(),
        [](const v1::InventoryItem& item) { return item.session() != 0; });
    expected = usual;
    expected["socket"] +=
        static_cast<int>(sessions) - static_cast<int>(Traffic::kTracked);
    table = DescriptorTable(process.pid());
  } while (table != expected && absl::Now() < deadline);
  const auto text = [](const Table& t) {
    return absl::StrJoin(t, ", ", absl::PairFormatter(" "));
  };
  EXPECT_EQ(table, expected)
      << "pid " << process.pid() << " has open " << text(table) << "; expected "
      << text(expected) << "\n"
      << Said();
}

void CellRun::NextHandoff() {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    Settings settings = With(false, {{"watch", "60s"}});
    settings["listen"] = absl::StrCat("tcp:127.0.0.1:", first_->port());
    third_ = std::make_unique<ToyProcess>(settings);
    ASSERT_TRUE(Hear([&] { return Decided(third_.get()); })) << Said();
    if (third_->Has("ready ")) break;
    // The aborted one may not have gone yet; the fault may be in this handoff;
    // a deadline that is meant to expire does so for this one too.
    const bool expected = third_->Has("failed UNAVAILABLE") ||
                          cell_.in_next_handoff || Disturbs("stop") ||
                          Disturbs("close");
    ASSERT_TRUE(expected) << Said();
    failed_.push_back(std::move(third_));
    Hear([] { return true; });
    // It has failed for want of something, as it may; the next one has to go.
    if (cell_.in_next_handoff && faulty_->Has("fault ")) Lift();
    if (Disturbs("kill") && faulty_->Has("fault ")) {
      ASSERT_TRUE(Hear([&] { return faulty_->Ended(); })) << Said();
    }
    if (Serving() == nullptr) down_ = true;
  }
  if (third_ == nullptr && (Disturbs("stop") || Disturbs("close"))) {
    missed_ = true;  // with longer deadlines
    return;
  }
  ASSERT_TRUE(third_ != nullptr && third_->Has("ready ")) << Said();
  if (third_->Has("event started")) down_ = true;
  if (cell_.in_next_handoff) {
    missed_ = !Hear([&] { return faulty_->Has("fault ") || faulty_->Ended(); });
    if (Disturbs("stop")) {
      ASSERT_TRUE(Hear([&] { return continued_; })) << Said();
    }
    Lift();
  }
}

void CellRun::CheckClients() {
  const Traffic::Report report = traffic_->GetReport();
  EXPECT_TRUE(report.wrong.empty()) << absl::StrJoin(report.wrong, "\n") << "\n"
                                    << Said();
  EXPECT_EQ(report.sessions.size(), Traffic::kTracked) << Said();
  EXPECT_GT(report.short_done, 0) << Said();
  if (!down_) {
    EXPECT_EQ(report.refused, 0)
        << "a connection was refused, though somebody served\n"
        << Said();
  }

  // What a dead process alone owned is lost, and named; nothing else is.
  const bool may_lose = down_ || second_->Has("event adopted") ||
                        third_->Has("event adopted") ||
                        first_->Has("event rolled-back");
  if (!may_lose) {
    EXPECT_TRUE(report.lost.empty()) << Said();
    EXPECT_EQ(report.short_lost, 0) << Said();
    return;
  }
  if (down_)
    return;  // and what waited to be accepted is lost with the listener
  EXPECT_LE(report.short_lost, static_cast<int>(Traffic::kShort)) << Said();
  const auto reply = Ask(folder_ / "h", v1::Query::LEDGER, kPatience);
  ASSERT_TRUE(reply.ok()) << reply.status() << "\n" << Said();
  std::set<uint64_t> named;
  for (const v1::LedgerHandoff& handoff : reply->handoffs()) {
    for (const v1::LedgerEntry& entry : handoff.entries()) {
      if (entry.outcome() == v1::LedgerEntry::LOST &&
          report.sessions.count(entry.session()) != 0) {
        named.insert(entry.session());
      }
    }
  }
  const ToyProcess* dead =
      third_->Has("event adopted") ? second_.get() : first_.get();
  if (!dead->Has("step sent pre-copied")) {
    // The successor names those that it has heard of.
    EXPECT_TRUE(std::includes(report.lost.begin(), report.lost.end(),
                              named.begin(), named.end()))
        << Said();
    return;
  }
  EXPECT_EQ(named, report.lost) << "the ledger names others than the clients "
                                   "have lost\n"
                                << Said();
}

bool CellRun::Run(const Recorded& recorded) {
  recorded_ = &recorded;
  first_ = StartFirst();
  EXPECT_TRUE(first_->WaitReady()) << Said();
  traffic_ = std::make_unique<Traffic>(first_->port());
  EXPECT_TRUE(traffic_->WaitUnderWay()) << Said();
  if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) {
    return true;
  }

  FirstHandoff();
  if (testing::Test::HasFatalFailure()) return true;
  if (missed_) return false;
  ToyProcess* serving = Serving();
  down_ = serving == nullptr || second_->Has("event started");
  if (serving != nullptr) {
    // One that lacks memory may end only now, when it makes a thread.
    if (Disturbs("memory") && serving == second_.get()) {
      ToyClient probe(first_->port());
      if (Who(probe)[0] != absl::StrCat(second_->pid())) {
        EXPECT_TRUE(Hear([&] { return second_->Ended(); })) << Said();
        EXPECT_TRUE(Hear([&] { return first_->Has("event rolled-back"); }))
            << Said();
        serving = Serving();
      }
    }
    if (!CheckServed(serving)) return true;
    EXPECT_TRUE(traffic_->WaitProgress()) << Said();
    EXPECT_TRUE(traffic_->PauseShort()) << Said();
    if (Disturbs("close") && !cell_.in_next_handoff &&
        serving == second_.get()) {
      EXPECT_TRUE(Hear([&] { return second_->Has("step state ended"); }))
          << Said();
    }
    const bool is_watched = serving == second_.get() && !first_->Ended() &&
                            !second_->Has("step state ended");
    if (!second_->Has("event started")) {
      CheckTable(*serving, is_watched ? recorded.watched : recorded.alone);
    }
    traffic_->ResumeShort();
  } else {
    const bool expected = (cell_.at_predecessor && Disturbs("kill")) &&
                          (!first_->Has("step sent descriptors") ||
                           cell_.course != Course::kCommits);
    EXPECT_TRUE(expected) << "nobody serves\n" << Said();
  }

  NextHandoff();
  if (testing::Test::HasFatalFailure()) return true;
  if (missed_) return false;
  if (serving == second_.get()) {
    EXPECT_TRUE(Hear([&] { return second_->Ended(); })) << Said();
    if (!Disturbs("close")) {
      EXPECT_TRUE(Hear([&] { return first_->Ended(); })) << Said();
    }
  }
  if (!CheckServed(third_.get())) return true;
  EXPECT_TRUE(traffic_->WaitProgress()) << Said();
  EXPECT_TRUE(traffic_->Finish()) << Said();
  EXPECT_TRUE(traffic_->PauseShort()) << Said();
  if (!down_) {
    CheckTable(*third_,
               serving == first_.get() ? recorded.watched : recorded.alone);
  }
  CheckClients();
  return true;
}

}  // namespace handoff::toy
