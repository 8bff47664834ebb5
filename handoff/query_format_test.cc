#include "handoff/query_format.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <typename Message>
Message Parse(const char* text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message))
      << text;
  return message;
}

TEST(FormatStatusTest, BeforeAnyHandoff) {
  const auto status = Parse<v1::Status>(R"pb(
    pid: 1234
    label: "v2.1"
    generation: 1
    uptime_seconds: 7384.9
    state: "serving"
    listeners: 2
    descriptors: 1
    blobs: 3
    sessions: 8000
    open_descriptors: 8010
    descriptor_limit: 20000
  )pb");
  EXPECT_EQ(FormatStatus(status),
            "pid:          1234\n"
            "label:        v2.1\n"
            "generation:   1\n"
            "state:        serving\n"
            "uptime:       2h3m4s\n"
            "listeners:    2\n"
            "descriptors:  1\n"
            "blobs:        3\n"
            "sessions:     8000\n"
            "open:         8010 descriptors of 20000\n"
            "last handoff: none\n");
}

TEST(FormatStatusTest, WhileAHandoffIsUnderWay) {
  const auto status = Parse<v1::Status>(R"pb(
    state: "handing off"
    handoff {
      handoff_id: 77
      phase: "pre-copy"
      successor_pid: 300
      successor_label: "v 3"
      started_at: 1700000000000000000
      phase_started_at: 1700000001000000000
      sessions_sent: 12
      sessions_total: 8000
    }
  )pb");
  EXPECT_THAT(FormatStatus(status),
              HasSubstr("handoff:      77, pre-copy since "
                        "2023-11-14T22:13:21Z, 12 of 8000 sessions, to pid "
                        "300, label \"v 3\"\nlast handoff: none\n"));
  v1::Status rehearsal = status;
  rehearsal.mutable_handoff()->set_rehearsal(true);
  EXPECT_THAT(FormatStatus(rehearsal),
              HasSubstr("handoff:      77, a rehearsal, pre-copy since"));
}

TEST(FormatStatusTest, OfAProcessThatIsToldNotToAccept) {
  auto status = Parse<v1::Status>("accepting: false");
  EXPECT_THAT(FormatStatus(status), HasSubstr("accepting:    no\nlast"));
  EXPECT_THAT(*FormatJson(status), HasSubstr("\"accepting\":false"));
  status.clear_accepting();  // an older one says nothing of it
  EXPECT_THAT(FormatStatus(status), Not(HasSubstr("accepting")));
  EXPECT_THAT(*FormatJson(status), Not(HasSubstr("accepting")));
}

TEST(FormatStatusTest, WhileHandoffsAreLockedOut) {
  const auto status = Parse<v1::Status>(R"pb(
    lock { reason: "the disk\nis full" expires_at: 1700000000000000000 }
  )pb");
  EXPECT_THAT(FormatStatus(status),
              HasSubstr("locked until: 2023-11-14T22:13:20Z: the "
                        "disk\\x0ais full\nlast handoff: none\n"));
}

TEST(FormatStatusTest, AfterAHandoff) {
  const auto status = Parse<v1::Status>(R"pb(
    pid: 200
    generation: 2
    uptime_seconds: 270061
    state: "handing off"
    last_handoff {
      handoff_id: 77
      result: "committed"
      predecessor_pid: 100
      successor_pid: 200
      generation: 2
      started_at: 1700000000000000000
      seconds: 0.1234
      blackouts { sessions: 8000 milliseconds: 1.25 }
      moved: 8002
      drained: 1
    }
  )pb");
  EXPECT_EQ(FormatStatus(status),
            "pid:          200\n"
            "label:        -\n"
            "generation:   2\n"
            "state:        handing off\n"
            "uptime:       3d3h\n"
            "listeners:    0\n"
            "descriptors:  0\n"
            "blobs:        0\n"
            "sessions:     0\n"
            "open:         0 descriptors of 0\n"
            "last handoff: 77 committed 2023-11-14T22:13:20Z, 0.123 s, "
            "pid 100 -> pid 200, generation 2\n"
            "  blackout: p50 1.250 ms, p99 1.250 ms, max 1.250 ms "
            "(8000 sessions)\n"
            "  moved 8002, drained 1\n");
}

TEST(FormatStatusTest, ALabelCannotForgeALine) {
  v1::Status status;
  status.set_label("v2\nstate:        serving");
  status.set_state("over\rwritten");
  status.mutable_last_handoff()->set_result("com\nmitted");
  status.mutable_last_handoff()->set_reason("none\nlast handoff: none");
  const std::string text = FormatStatus(status);
  EXPECT_THAT(text, HasSubstr("\nlabel:        \"v2\\x0astate:        "
                              "serving\"\n"));
  EXPECT_THAT(text, HasSubstr("\nstate:        over\\x0dwritten\n"));
  EXPECT_THAT(text, HasSubstr(" \"com\\x0amitted\" "));
  EXPECT_THAT(text, HasSubstr("\n  reason: none\\x0alast handoff: none\n"));
}

TEST(FormatInventoryTest, Nothing) {
  EXPECT_EQ(FormatInventory({}), "nothing to hand over\n");
}

TEST(FormatInventoryTest, ALineForEachItem) {
  const auto reply = Parse<v1::QueryReply>(R"pb(
    items {
      category: "handoff-listener"
      descriptors {
        kind: UNIX_LISTENER
        local_address: "unix:/run/chat/handoff"
      }
    }
    items {
      category: "listener"
      name: "http"
      descriptors { kind: TCP_LISTENER local_address: "0.0.0.0:80" }
      descriptor_names: "http"
    }
    items { category: "blob" name: "rooms" age_seconds: 86400 handoffs: 3 }
    items {
      category: "session"
      name: "proxy"
      session: 12345678901234567890
      descriptors {
        kind: TCP
        local_address: "10.0.0.1:80"
        peer_address: "10.0.0.9:5555"
      }
      descriptors {
        kind: UNIX_STREAM
        local_address: "unix:"
        peer_address: "unix:@up stream"
      }
      descriptor_names: "client"
      descriptor_names: "upstream"
      age_seconds: 65.9
      handoffs: 2
    }
    items { category: "session" name: "chat" session: 5 age_seconds: 0 }
  )pb");
  EXPECT_EQ(
      FormatInventory(reply),
      "CATEGORY          NAME   SESSION               AGE   HANDOFFS  "
      "DESCRIPTORS\n"
      "handoff-listener  -      -                     -     -         "
      "unix-listener unix:/run/chat/handoff\n"
      "listener          http   -                     -     -         "
      "tcp-listener 0.0.0.0:80\n"
      "blob              rooms  -                     1d0h  3         -\n"
      "session           proxy  12345678901234567890  1m5s  2         "
      "client=tcp 10.0.0.1:80 <- 10.0.0.9:5555, "
      "upstream=unix-stream unix: <- \"unix:@up stream\"\n"
      "session           chat   5                     0s    0         -\n");
}

TEST(FormatInventoryTest, ANameCannotForgeALineOrAColumn) {
  v1::QueryReply reply;
  v1::InventoryItem& item = *reply.add_items();
  item.set_category("listener\n");
  item.set_name("http -  9\nlistener \"x\"");
  item.set_session(1);
  item.add_descriptor_names("a, b=tcp");
  item.add_descriptors()->set_peer_address("unix:@\n\x1b]0;title\a");
  reply.add_items()->set_name("-");
  EXPECT_EQ(FormatInventory(reply),
            "CATEGORY        NAME                           SESSION  "
            "AGE  HANDOFFS  DESCRIPTORS\n"
            "\"listener\\x0a\"  \"http -  9\\x0alistener \\\"x\\\"\"  "
            "1        0s   0         "
            "\"a, b=tcp\"=unspecified <- \"unix:@\\x0a\\x1b]0;title\\x07\"\n"
            "-               \"-\"                            "
            "-        -    -         -\n");
}

TEST(FormatLedgerTest, NoHandoff) {
  EXPECT_EQ(FormatLedger({}), "no handoff yet\n");
}

TEST(FormatLedgerTest, EntriesByOutcome) {
  const auto reply = Parse<v1::QueryReply>(R"pb(
    handoffs {
      handoff_id: 77
      result: "committed"
      predecessor_pid: 100
      successor_pid: 200
      generation: 2
      started_at: 1700000000000000000
      seconds: 0.5
      moved: 3
      kept: 5
      drained: 1
      entries { outcome: MOVED category: "listener" name: "http" }
      entries {
        outcome: DRAINED
        category: "session"
        name: "chat"
        session: 18
        reason: "TLS without kernel TLS"
      }
      entries { outcome: MOVED category: "session" name: "chat" session: 17 }
      entries { outcome: LOST category: "session" session: 19 }
    }
  )pb");
  EXPECT_EQ(FormatLedger(reply),
            "handoff 77 committed 2023-11-14T22:13:20Z, 0.500 s, "
            "pid 100 -> pid 200, generation 2\n"
            "  moved 3\n"
            "    listener http\n"
            "    session 17 chat\n"
            "    and 1 more\n"
            "  kept 5\n"
            "  drained 1\n"
            "    session 18 chat: TLS without kernel TLS\n"
            "  lost 1\n"
            "    session 19\n");
}

TEST(FormatLedgerTest, AnAbortedHandoffSaysWhy) {
  const auto reply = Parse<v1::QueryReply>(R"pb(
    handoffs {
      handoff_id: 1
      result: "aborted"
      reason: "the successor does not answer"
      predecessor_pid: 100
      successor_pid: 200
      generation: 2
      started_at: 1700000000000000000
      seconds: 60
    }
    handoffs {
      handoff_id: 2
      result: "committed"
      started_at: 1700000060000000000
      moved: 1
    }
  )pb");
  EXPECT_EQ(FormatLedger(reply),
            "handoff 1 aborted 2023-11-14T22:13:20Z, 60.000 s, "
            "pid 100 -> pid 200, generation 2\n"
            "  reason: the successor does not answer\n"
            "handoff 2 committed 2023-11-14T22:14:20Z, 0.000 s, "
            "pid 0 -> pid 0, generation 0\n"
            "  moved 1\n");
}

TEST(FormatLedgerTest, AnEntryCannotForgeALine) {
  v1::QueryReply reply;
  v1::LedgerEntry& entry = *reply.add_handoffs()->add_entries();
  entry.set_outcome(v1::LedgerEntry::LOST);
  entry.set_category("session\n");
  entry.set_name("x\n  moved 1");
  entry.set_reason("y\n    session 5");
  EXPECT_THAT(FormatLedger(reply),
              HasSubstr("  lost 1\n    \"session\\x0a\" "
                        "\"x\\x0a  moved 1\": y\\x0a    session 5\n"));
}

TEST(FormatLedgerTest, AnOutcomeOfALaterVersionIsListedToo) {
  v1::QueryReply reply;
  v1::LedgerEntry& entry = *reply.add_handoffs()->add_entries();
  entry.set_outcome(static_cast<v1::LedgerEntry::Outcome>(99));
  entry.set_category("session");
  EXPECT_THAT(FormatLedger(reply),
              HasSubstr("  unknown outcome 1\n    session\n"));
}

std::string Blackout(const char* groups) {
  v1::QueryReply reply;
  *reply.add_handoffs() = Parse<v1::LedgerHandoff>(groups);
  const std::string text = FormatLedger(reply);
  const size_t begin = text.find("blackout: ");
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find('\n', begin) - begin);
}

TEST(BlackoutTest, CountsAGroupAsOftenAsItHasSessions) {
  EXPECT_EQ(Blackout(R"pb(
              blackouts { sessions: 1 milliseconds: 90 }
              blackouts { sessions: 10 milliseconds: 2 }
              blackouts { sessions: 189 milliseconds: 1 }
            )pb"),
            "blackout: p50 1.000 ms, p99 2.000 ms, max 90.000 ms "
            "(200 sessions)");
  EXPECT_EQ(Blackout(R"pb(
              blackouts { sessions: 1 milliseconds: 1 }
              blackouts { sessions: 99 milliseconds: 5 }
            )pb"),
            "blackout: p50 5.000 ms, p99 5.000 ms, max 5.000 ms "
            "(100 sessions)");
}

TEST(BlackoutTest, IsLeftOutWhereNobodyWasFrozen) {
  EXPECT_EQ(Blackout(""), "");
  EXPECT_EQ(Blackout("blackouts { sessions: 0 milliseconds: 3 }"), "");
}

TEST(BlackoutTest, NumbersThatAreNoneDoNotMatter) {
  EXPECT_EQ(Blackout(R"pb(
              blackouts { sessions: 5 milliseconds: nan }
              blackouts { sessions: 5 milliseconds: -1 }
              blackouts { sessions: 18446744073709551615 milliseconds: inf }
              blackouts { sessions: 18446744073709551615 milliseconds: 1 }
            )pb"),
            "blackout: p50 1.000 ms, p99 inf ms, max inf ms "
            "(36893488147419103232 sessions)");
  v1::Status status;
  for (const double seconds :
       {std::nan(""), -1e300, 1e300, std::numeric_limits<double>::infinity()}) {
    status.set_uptime_seconds(seconds);
    EXPECT_THAT(FormatStatus(status), HasSubstr("inf\n")) << seconds;
  }
}

TEST(FormatJsonTest, HasEveryFieldOnOneLine) {
  auto reply = Parse<v1::QueryReply>(R"pb(
    items { category: "session" name: "a\nb\"" session: 17 }
    last: true
  )pb");
  const auto text = FormatJson(reply);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(*text,
            "{\"items\":[{\"category\":\"session\",\"name\":\"a\\nb\\\"\","
            "\"session\":\"17\",\"descriptors\":[],\"descriptorNames\":[],"
            "\"ageSeconds\":0,\"handoffs\":0,\"details\":[],\"group\":0,"
            "\"keepReason\":\"\"}],\"handoffs\":[],\"last\":true}\n");
}

// U+009B starts a terminal's control sequence, U+202E reverses what follows.
TEST(FormatJsonTest, EscapesWhatATerminalWouldObey) {
  v1::QueryReply reply;
  reply.mutable_status()->set_label("\x1b \xc2\x9b \xe2\x80\xae");
  const auto text = FormatJson(reply);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("\\u001b \\u009b \\u202e"));
}

TEST(FormatRehearsalTest, ListsWhatWouldNotMoveAndCountsWhatWould) {
  const auto report = Parse<v1::LedgerHandoff>(R"pb(
    handoff_id: 77
    result: "failed"
    predecessor_pid: 4700
    successor_pid: 4821
    generation: 3
    started_at: 1700000000000000000
    seconds: 0.5
    moved: 8003
    refused: 2
    entries { outcome: REFUSED category: "listener" name: "admin" reason: "a\nb" }
  )pb");
  EXPECT_EQ(FormatRehearsal(report),
            "rehearsal 77 failed 2023-11-14T22:13:20Z, 0.500 s, "
            "pid 4700 -> pid 4821, generation 3\n"
            "  moved 8003\n"
            "  refused 2\n"
            "    listener admin: a\\x0ab\n"
            "    and 1 more\n");
}

}  // namespace
}  // namespace handoff
