// Who follows a handoff, and what it is told, by a process that has only a log
// and a status.

#include "handoff/integrations/admin/start_handoff.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "handoff/control.h"

namespace handoff {
namespace {

constexpr uint64_t kHandoff = 7;

// Hands over at once when it is told to start a successor, unless it is one
// that never comes.
class Log final : public Control {
 public:
  explicit Log(bool hands_over) : hands_over_(hands_over) {
    events_.SetEpoch(EpochOf(1), 1);
  }

  absl::Status StartSuccessor(const std::string& /*executable*/) override {
    if (!hands_over_) return absl::OkStatus();
    for (const Event::Kind kind :
         {Event::Kind::kHandoffBegun, Event::Kind::kQuiescing,
          Event::Kind::kReleased, Event::Kind::kWatchEnded}) {
      events_.Add({kind, kHandoff, ""});
    }
    status_.set_state("watching");
    status_.mutable_last_handoff()->set_handoff_id(kHandoff);
    status_.mutable_last_handoff()->set_result("committed");
    return absl::OkStatus();
  }
  v1::Status GetStatus() const override { return status_; }
  const EventLog& events() const override { return events_; }
  void Audit(absl::string_view /*text*/) override {}

  v1::Ledger GetLedger() const override { return {}; }
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
  absl::StatusOr<Drained> Drain(absl::Span<const uint64_t> /*sessions*/,
                                bool /*all*/,
                                absl::Time /*deadline*/) override {
    return absl::UnimplementedError("");
  }

 private:
  const bool hands_over_;
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
    Log log(/*hands_over=*/true);
    const Followed followed = Follow(log, leave);
    EXPECT_TRUE(followed.status.ok()) << followed.status;
    ASSERT_EQ(followed.messages.size(), 1u);
    EXPECT_EQ(followed.messages[0].result().result(), "committed");
    EXPECT_EQ(followed.messages[0].result().id(), kHandoff);
  }
}

TEST(StartHandoffTest, WhoeverIsToldNoResultIsToldWhy) {
  Log log(/*hands_over=*/false);
  EXPECT_TRUE(absl::IsUnavailable(Follow(log, EndpointDrains()).status));
  EXPECT_TRUE(absl::IsCancelled(Follow(log, CallerHasLeft()).status));
}

}  // namespace
}  // namespace handoff
