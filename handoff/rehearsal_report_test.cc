#include "handoff/rehearsal_report.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/ledger.h"
#include "handoff/moved_sessions.h"

namespace handoff {
namespace {

struct Ends {
  Ends() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ours.reset(pair[0]);
    theirs.reset(pair[1]);
  }
  absl::StatusOr<v1::LedgerHandoff> Receive(
      absl::Duration patience = absl::Seconds(30)) {
    return ReceiveReport(ours.get(), absl::Now() + patience);
  }
  UniqueFd ours;
  UniqueFd theirs;
};

TEST(RehearsalReportTest, ArrivesWithWhatWouldNotMoveAndCountsOfTheRest) {
  v1::LedgerHandoff report;
  report.set_result("failed");
  AddEntry(report, v1::LedgerEntry::MOVED, "listener", "http", 0, "");
  AddEntry(report, v1::LedgerEntry::KEPT, "session", "chat", 7, "TLS");
  AddEntry(report, v1::LedgerEntry::REFUSED, "blob", "rooms", 0, "too old");
  MovedIds moved;
  for (uint64_t id = 1; id < 100; ++id) moved.Add("chat", id);
  moved.MoveTo(report);
  CountEntries(report);
  Ends ends;
  ASSERT_TRUE(SendReport(ends.theirs.get(), report).ok());
  const auto received = ends.Receive();
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->result(), "failed");
  EXPECT_EQ(received->moved(), 100u);
  EXPECT_EQ(received->moved_sessions_size(), 0);
  ASSERT_EQ(received->entries_size(), 2) << received->ShortDebugString();
  EXPECT_EQ(received->entries(0).reason(), "too old");
  EXPECT_EQ(received->entries(1).reason(), "TLS");
}

TEST(RehearsalReportTest, OfMoreThanOneMessageHoldsItListsWhatThereIsRoomFor) {
  v1::LedgerHandoff report;
  report.set_result("failed");
  const std::string reason(1000, 'r');
  for (uint64_t id = 1; id <= 10'000; ++id) {
    AddEntry(report, v1::LedgerEntry::REFUSED, "session", "chat", id, reason);
  }
  CountEntries(report);
  Ends ends;
  const absl::Status sent = SendReport(ends.theirs.get(), report);
  ASSERT_TRUE(sent.ok()) << sent;
  const auto received = ends.Receive();
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->refused(), 10'000u);
  EXPECT_GT(received->entries_size(), 100);
  EXPECT_LT(received->entries_size(), 131);
}

TEST(RehearsalReportTest, AnEndThatIsClosedIsNoReport) {
  Ends ends;
  ends.theirs.reset();
  EXPECT_TRUE(absl::IsNotFound(ends.Receive().status()));
}

TEST(RehearsalReportTest, OneThatDoesNotComeIsNotWaitedForLongerThanAsked) {
  Ends ends;
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(ends.Receive(absl::Milliseconds(20)).status()));
}

TEST(RehearsalReportTest, OneThatDoesNotComeIsGivenUpOnRequest) {
  Ends ends;
  const UniqueFd give_up(::eventfd(1, EFD_CLOEXEC));
  EXPECT_TRUE(absl::IsCancelled(
      ReceiveReport(ends.ours.get(), absl::InfiniteFuture(), give_up.get())
          .status()));
}

TEST(RehearsalReportTest, WhatIsNoReportIsSaidToBeNone) {
  for (const std::string bytes : {"\xff\xff", "GET / HTTP/1.1", "\x08\x01"}) {
    Ends ends;
    ASSERT_TRUE(SendMessage(ends.theirs.get(), bytes, {}).ok());
    EXPECT_TRUE(absl::IsInvalidArgument(ends.Receive().status())) << bytes;
  }
}

}  // namespace
}  // namespace handoff
