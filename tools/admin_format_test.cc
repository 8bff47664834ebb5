#include "tools/admin_format.h"

#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;

template <typename Message>
Message Parse(const char* text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message))
      << text;
  return message;
}

constexpr char kHandoff[] = R"pb(
  id: 77
  result: "committed"
  predecessor_pid: 4700
  successor_pid: 4821
  generation: 3
  started_at { seconds: 1700000000 }
  took { nanos: 123000000 }
  phases {
    name: "pre-copy"
    took { nanos: 20000000 }
  }
  phases {
    name: "frozen"
    took { nanos: 1250000 }
  }
  blackout {
    p50 { nanos: 1120000 }
    p99 { nanos: 1250000 }
    max { nanos: 1250000 }
  }
  moved: 8004
  kept: 1
)pb";

TEST(FormatStatusTest, SaysEverythingOfTheProcess) {
  auto status = Parse<admin::v1::GetStatusResponse>(R"pb(
    role: SERVING
    pid: 4821
    generation: 3
    label: "v2.1"
    build: "0a1b"
    executable: "/opt/chat"
    uptime { seconds: 7384 }
    accepting: true
    listeners: 2
    other_descriptors: 1
    blobs: 1
    sessions: 8000
    open_descriptors: 8010
    descriptor_limit: 20000
    descriptor_headroom: 11990
    resident_bytes: 104857600
  )pb");
  EXPECT_EQ(FormatStatus(status),
            "pid:          4821\n"
            "label:        v2.1\n"
            "build:        0a1b\n"
            "executable:   /opt/chat\n"
            "generation:   3\n"
            "state:        serving\n"
            "uptime:       2h3m4s\n"
            "accepting:    yes\n"
            "listeners:    2\n"
            "descriptors:  1\n"
            "blobs:        1\n"
            "sessions:     8000\n"
            "open:         8010 descriptors of 20000, 11990 more\n"
            "memory:       100.0 MiB, no limit\n"
            "last handoff: none\n");
  *status.mutable_last_handoff() = Parse<admin::v1::Handoff>(kHandoff);
  *status.mutable_lock() =
      Parse<admin::v1::LockState>(R"pb(reason: "a\nb"
                                       expires_at { seconds: 1700000000 })pb");
  *status.mutable_handoff() = Parse<admin::v1::HandoffProgress>(R"pb(
    handoff_id: 78
    phase: "frozen"
    successor_pid: 5000
    phase_started_at { seconds: 1700000000 }
    sessions_sent: 5
    sessions_total: 6
  )pb");
  EXPECT_THAT(
      FormatStatus(status),
      HasSubstr(
          "locked until: 2023-11-14T22:13:20Z: a\\x0ab\n"
          "handoff:      78, frozen since 2023-11-14T22:13:20Z, 5 of 6 "
          "sessions, "
          "to pid 5000, label -\n"
          "last handoff: 77 committed 2023-11-14T22:13:20Z, 0.123 s, pid 4700 "
          "-> pid 4821, generation 3\n"
          "  blackout: p50 1.120 ms, p99 1.250 ms, max 1.250 ms\n"
          "  phases: pre-copy 0.020 s, frozen 0.001 s\n"
          "  moved 8004, kept 1\n"));
}

TEST(FormatResultTest, OfARehearsalListsWhatWouldNotMove) {
  admin::v1::StartHandoffResponse response;
  *response.mutable_result() = Parse<admin::v1::Handoff>(kHandoff);
  EXPECT_THAT(FormatResult(response), HasSubstr("handoff 77 committed"));
  EXPECT_THAT(FormatResult(response), HasSubstr("\n  moved 8004, kept 1\n"));
  response.mutable_result()->set_result("failed");
  response.mutable_result()->set_refused(2);
  *response.add_refused() = Parse<admin::v1::LedgerEntry>(R"pb(
    outcome: "refused"
    category: "session"
    name: "proxy"
    session: 17
    reason: "no such state"
  )pb");
  EXPECT_THAT(FormatResult(response), HasSubstr("rehearsal 77 failed"));
  EXPECT_THAT(FormatResult(response),
              HasSubstr("\n  moved 8004\n  kept 1\n  refused 2\n"
                        "    session 17 proxy: no such state\n"
                        "    and 1 more\n"));
}

TEST(LedgerTextTest, PutsTogetherWhatCameInParts) {
  LedgerText text;
  admin::v1::GetLedgerResponse part;
  *part.mutable_handoff() = Parse<admin::v1::Handoff>(kHandoff);
  *part.add_entries() = Parse<admin::v1::LedgerEntry>(
      R"pb(outcome: "kept" category: "session" session: 18 name: "chat")pb");
  EXPECT_EQ(text.Add(part), "") << "more of it may come";
  part.clear_handoff();
  part.clear_entries();
  *part.add_entries() = Parse<admin::v1::LedgerEntry>(R"pb(outcome: "moved"
                                                           category: "listener"
                                                           name: "http")pb");
  *part.add_entries() = Parse<admin::v1::LedgerEntry>(
      R"pb(outcome: "melted" category: "blob")pb");
  EXPECT_EQ(text.Add(part), "");
  EXPECT_THAT(text.End(), HasSubstr("  moved 8004\n"
                                    "    listener http\n"
                                    "    and 8003 more\n"
                                    "  kept 1\n"
                                    "    session 18 chat\n"
                                    "  melted 1\n"
                                    "    blob\n"));
  EXPECT_EQ(LedgerText().End(), "no handoff yet\n");
}

constexpr char kDescriptors[] = R"pb(
  descriptors {
    category: "listener"
    name: "http"
    kind: "tcp-listener"
    local_address: "0.0.0.0:80"
    socket_cookie: 9
    receive_queue: 1
    send_queue: 128
    options { key: "TCP_NODELAY" value: 1 }
    options { key: "SO_KEEPALIVE" value: 0 }
  }
)pb";
constexpr char kSessions[] = R"pb(
  sessions {
    id: 17
    type: "proxy with a long name"
    age { seconds: 65 }
    handoffs: 2
    keep_reason: "TLS"
    descriptors {
      name: "client"
      kind: "tcp"
      local_address: "10.0.0.1:80"
      peer_address: "10.0.0.9:5555"
      bytes_consumed: 100
      bytes_written: 2000
    }
    descriptors { name: "up" kind: "memfd" device: 1 inode: 2 }
  }
)pb";

TEST(InventoryTextTest, IsATableOverAllPages) {
  const auto sessions = Parse<admin::v1::ListSessionsResponse>(kSessions);
  InventoryText text(false);
  EXPECT_EQ(text.Add(Parse<admin::v1::ListDescriptorsResponse>(kDescriptors)),
            "");
  const std::string row =
      "session   \"proxy with a long name\"  17       1m5s  2         "
      "client=tcp 10.0.0.1:80 <- 10.0.0.9:5555, up=memfd\n"
      "    cannot move: TLS\n";
  EXPECT_EQ(text.Add(sessions),
            "CATEGORY  NAME                      SESSION  AGE   HANDOFFS  "
            "DESCRIPTORS\n"
            "listener  http                      -        -     -         "
            "tcp-listener 0.0.0.0:80\n" +
                row);
  EXPECT_EQ(text.Add(sessions), row);
  EXPECT_EQ(text.End(), "");
}

TEST(InventoryTextTest, ThereMayBeNoSessionsOrNothingAtAll) {
  InventoryText text(false);
  text.Add(Parse<admin::v1::ListDescriptorsResponse>(kDescriptors));
  EXPECT_EQ(
      text.End(),
      "CATEGORY  NAME  SESSION  AGE  HANDOFFS  DESCRIPTORS\n"
      "listener  http  -        -    -         tcp-listener 0.0.0.0:80\n");
  EXPECT_EQ(InventoryText(false).End(), "nothing to hand over\n");
}

TEST(InventoryTextTest, ShowsWhatTheKernelSaysOfEachDescriptor) {
  InventoryText text(true);
  text.Add(Parse<admin::v1::ListDescriptorsResponse>(kDescriptors));
  const std::string all =
      text.Add(Parse<admin::v1::ListSessionsResponse>(kSessions));
  EXPECT_THAT(all,
              HasSubstr("\n    http: queues 1 in, 128 out; consumed 0, written "
                        "0; cookie 9; SO_KEEPALIVE=0 TCP_NODELAY=1\n"));
  EXPECT_THAT(all,
              HasSubstr("\n    client: queues 0 in, 0 out; consumed 100, "
                        "written 2000; device 0, inode 0\n"
                        "    up: queues 0 in, 0 out; consumed 0, written 0; "
                        "device 1, inode 2\n"));
}

TEST(FormatEventTest, IsOneLine) {
  EXPECT_EQ(FormatEvent(Parse<admin::v1::Event>(R"pb(
              sequence: 9
              at { seconds: 1700000000 }
              kind: "committed"
              handoff_id: 77
              text: "a\nb"
              pid: 5
              generation: 2
            )pb")),
            "9 2023-11-14T22:13:20Z committed pid 5 generation 2 handoff 77: "
            "a\\x0ab\n");
  EXPECT_EQ(FormatEvent(admin::v1::Event()),
            "0 1970-01-01T00:00:00Z - pid 0 generation 0\n");
  EXPECT_EQ(FormatMissed(Parse<admin::v1::Missed>("up_to: 9")),
            "missed: some events up to 9 are gone\n");
}

TEST(FormatDrainedTest, SaysHowTheyEnded) {
  EXPECT_EQ(FormatDrained(Parse<admin::v1::DrainResponse>(
                "asked: 3 ended: 2 cut_off: 1")),
            "asked 3, ended 2, cut off 1\n");
}

}  // namespace
}  // namespace handoff
