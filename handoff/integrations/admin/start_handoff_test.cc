// Who follows a handoff, and what it is told, by a process that has only a log
// and a status.

#include "handoff/integrations/admin/start_handoff.h"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "handoff/control.h"

namespace handoff {
namespace {

constexpr uint64_t kHandoff = 7;
constexpr uint64_t kEarlier = 6;
constexpr pid_t kChild = 42;
constexpr pid_t kStranger = 43;

v1::LedgerHandoff Given(uint64_t id, const std::string& result, pid_t to) {
  v1::LedgerHandoff handoff;
  handoff.set_handoff_id(id);
  handoff.set_result(result);
  handoff.set_successor_pid(to);
  return handoff;
}

// When it is told to start a successor, all of this happens before anybody
// looks.
class Log final : public Control {
 public:
  explicit Log(const std::vector<v1::LedgerHandoff>& handoffs, pid_t ended = 0)
      : ended_(ended) {
    events_.SetEpoch(EpochOf(1), 1);
    for (const v1::LedgerHandoff& handoff : handoffs) {
      *ledger_.add_handoffs() = handoff;
    }
  }

  absl::StatusOr<pid_t> StartSuccessor(
      const std::string& /*executable*/) override {
    for (const v1::LedgerHandoff& handoff : ledger_.handoffs()) {
      const uint64_t id = handoff.handoff_id();
      events_.Add(
          {Event::Kind::kHandoffBegun, id,
           absl::StrCat("to pid ", handoff.successor_pid(), ", label ")});
      for (const Event::Kind kind :
           {Event::Kind::kQuiescing, Event::Kind::kReleased,
            Event::Kind::kWatchEnded}) {
        events_.Add({kind, id, ""});
      }
      *status_.mutable_last_handoff() = handoff;
    }
    if (ended_ != 0) {
      events_.Add({Event::Kind::kChildEnded, 0,
                   absl::StrCat("pid ", ended_, " exited with code 1")});
    }
    return kChild;
  }
  v1::Status GetStatus() const override { return status_; }
  const EventLog& events() const override { return events_; }
  void Audit(absl::string_view /*text*/) override {}

  v1::Ledger GetLedger() const override { return ledger_; }
  v1::Ledger GetLedgerSummaries() const override { return ledger_; }
  std::vector<v1::InventoryItem> GetInventory() const override { return {}; }
  absl::StatusOr<std::vector<SessionState>> ReadState(
      absl::Span<const uint64_t> /*sessions*/,
      absl::Time /*deadline*/) override {
    return absl::UnimplementedError("");
  }
  absl::Status Abort(absl::string_view /*reason*/,
                     absl::Time /*deadline*/) override {
    return absl::UnimplementedError("");
  }
  absl::Status Lock(absl::string_view /*reason*/,
                    absl::Time /*expiry*/) override {
    return absl::UnimplementedError("");
  }
  absl::Status Unlock() override { return absl::UnimplementedError(""); }
  absl::Status SetAccepting(bool /*accepting*/) override {
    return absl::UnimplementedError("");
  }
  void Probe(std::function<void()> /*done*/) override {}
  absl::StatusOr<Drained> Drain(absl::Span<const uint64_t> /*sessions*/,
                                bool /*all*/,
                                absl::Time /*deadline*/) override {
    return absl::UnimplementedError("");
  }

 private:
  const pid_t ended_;
  v1::Ledger ledger_;
  EventLog events_;
  v1::Status status_;
};

struct Followed {
  absl::Status status;
  std::vector<admin::v1::StartHandoffResponse> messages;
};

// `leave`: what is so from the beginning.
Followed Follow(Log& log, const absl::Status& leave) {
  Followed followed;
  const HandoffListener listener = {
      [&](const admin::v1::StartHandoffResponse& response) {
        followed.messages.push_back(response);
        return true;
      },
      [&] { return leave; }};
  followed.status = StartHandoff(log, {AdminRole::kOperator, "somebody"},
                                 {"/bin/server", {}, {}}, {},
                                 absl::InfiniteFuture(), listener);
  return followed;
}

TEST(StartHandoffTest, AResultThatIsThereIsToldWhateverHasEndedSince) {
  for (const absl::Status& leave :
       {absl::OkStatus(), EndpointDrains(), CallerHasLeft()}) {
    Log log({Given(kHandoff, "committed", kChild)});
    const Followed followed = Follow(log, leave);
    EXPECT_TRUE(followed.status.ok()) << followed.status;
    ASSERT_EQ(followed.messages.size(), 1u);
    EXPECT_EQ(followed.messages[0].result().result(), "committed");
    EXPECT_EQ(followed.messages[0].result().id(), kHandoff);
    EXPECT_EQ(followed.messages[0].result().reason(), "");
  }
}

TEST(StartHandoffTest, WhoeverIsToldNoResultIsToldWhy) {
  Log log({});
  EXPECT_TRUE(absl::IsUnavailable(Follow(log, EndpointDrains()).status));
  EXPECT_TRUE(absl::IsCancelled(Follow(log, CallerHasLeft()).status));
}

TEST(StartHandoffTest, WhatOthersDidMeanwhileIsNotTheResult) {
  for (const char* const earlier : {"rehearsed", "aborted"}) {
    Log log({Given(kEarlier, earlier, kStranger),
             Given(kHandoff, "committed", kChild)},
            /*ended=*/kStranger);
    const Followed followed = Follow(log, absl::OkStatus());
    ASSERT_EQ(followed.messages.size(), 1u) << followed.status;
    EXPECT_EQ(followed.messages[0].result().id(), kHandoff) << earlier;
    EXPECT_EQ(followed.messages[0].result().reason(), "");
  }
}

TEST(StartHandoffTest, AResultThatMayBeAnothersSaysSo) {
  // The first is somebody's rehearsal, and the last comes too late.
  Log log({Given(5, "rehearsed", kStranger),
           Given(kEarlier, "aborted", kStranger),
           Given(kHandoff, "committed", kStranger)});
  const Followed followed = Follow(log, absl::OkStatus());
  ASSERT_EQ(followed.messages.size(), 1u) << followed.status;
  EXPECT_EQ(followed.messages[0].result().id(), kEarlier);
  EXPECT_EQ(followed.messages[0].result().reason(),
            "not to pid 42, which was started for it");
}

TEST(StartHandoffTest, OnlyTheEndOfWhatWasStartedEndsTheWaiting) {
  Log of_another({}, /*ended=*/kStranger);
  EXPECT_TRUE(absl::IsUnavailable(Follow(of_another, EndpointDrains()).status));
  // It was refused, because of the rehearsal.
  Log refused({Given(kEarlier, "rehearsed", kStranger)}, /*ended=*/kChild);
  EXPECT_TRUE(absl::IsAborted(Follow(refused, absl::OkStatus()).status));
}

}  // namespace
}  // namespace handoff
