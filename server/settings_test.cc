#include "server/settings.h"

#include <string>
#include <vector>

#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace handoff::server {
namespace {

absl::StatusOr<Settings> Read(std::vector<std::string> arguments) {
  const absl::FlagSaver saver;
  arguments.insert(arguments.begin(), "handoff_server");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(&argument[0]);
  argv.push_back(nullptr);
  return ReadFlags(static_cast<int>(arguments.size()), argv.data());
}

TEST(SettingsTest, ReadsWhatIsGiven) {
  const absl::StatusOr<Settings> s = Read(
      {"--handoff=/run/x/h.sock", "--http", "unix:/run/x/http", "-workers=3",
       "--sharded=true", "--watch=1500ms", "--max_body_bytes=0"});
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->handoff, "/run/x/h.sock");
  EXPECT_EQ(s->http, "unix:/run/x/http");
  EXPECT_EQ(s->workers, 3);
  EXPECT_TRUE(s->sharded);
  EXPECT_EQ(s->watch, absl::Milliseconds(1500));
  EXPECT_EQ(s->limits.max_body_bytes, 0u);
  EXPECT_EQ(s->http_version, 3u);
  EXPECT_EQ(s->rooms_version, 2u);
}

TEST(SettingsTest, AnOlderReleaseHasOlderVersionsOfEach) {
  const struct {
    const char* argument;
    uint32_t http, rooms;
  } cases[] = {
      {"--max_state_version=1", 1, 1},
      {"--max_state_version=2", 2, 1},
      {"--max_state_version=3", 3, 1},
      {"--max_state_version=4", 3, 2},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Settings> s =
        Read({"--handoff=/run/x/h.sock", c.argument});
    ASSERT_TRUE(s.ok()) << s.status();
    EXPECT_EQ(s->http_version, c.http) << c.argument;
    EXPECT_EQ(s->rooms_version, c.rooms) << c.argument;
  }
}

TEST(SettingsTest, EveryBadFlagIsOneLineThatNamesIt) {
  const struct {
    const char* argument;
    const char* mentions;
  } cases[] = {
      {"--workers=many", "--workers=many"},
      {"--workers=0", "from 1 to 256"},
      {"--workers=-1", "--workers"},
      {"--workers", "--workers=VALUE"},
      {"--http=127.0.0.1:80", "tcp:HOST:PORT"},
      {"--http=tcp:127.0.0.1", "tcp:HOST:PORT"},
      {"--http=tcp:127.0.0.1:65536", "tcp:HOST:PORT"},
      {"--http=tcp::80", "tcp:HOST:PORT"},
      {"--http=unix:here", "unix:/PATH"},
      {"--grpc=50051", "tcp:HOST:PORT"},
      {"--log_format=xml", "text or json"},
      {"--label=\xff", "UTF-8"},
      {"--handoff=", "--handoff"},
      {"--admin=127.0.0.1:80", "tcp:HOST:PORT"},
      {"--admin_readers=root", "uid:N"},
      {"--watch=10", "--watch=10"},
      {"--watch=-1s", "--watch=-1s"},
      {"--drain_deadline=inf", "to a year"},
      {"--request_timeout=0", "--request_timeout"},
      {"--max_header_bytes=10", "from 256"},
      {"--max_header_bytes=100000", "to 65536"},
      {"--max_connections=0", "--max_connections"},
      {"--max_state_version=5", "from 1 to 4"},
      {"--max_state_version=0", "from 1 to 4"},
      {"--ws_ping=0", "--ws_ping"},
      {"--ws_max_message_bytes=100", "from 1024"},
      {"--ws_max_queue_bytes=100000", "from 3145728"},
      {"--ws_max_rooms=0", "--ws_max_rooms"},
      {"--wrokers=2", "there is no flag --wrokers"},
      {"serve", "'serve' is no flag"},
      {"--", "'--' is no flag"},
  };
  for (const auto& c : cases) {
    const absl::StatusOr<Settings> s =
        Read({"--handoff=/run/x/h.sock", c.argument});
    EXPECT_TRUE(absl::IsInvalidArgument(s.status()))
        << c.argument << ": " << s.status();
    const std::string message(s.status().message());
    EXPECT_TRUE(absl::StrContains(message, c.mentions)) << message;
    EXPECT_FALSE(absl::StrContains(message, "\n")) << message;
  }
}

TEST(SettingsTest, HandoffIsRequired) {
  const absl::StatusOr<Settings> s = Read({});
  EXPECT_TRUE(absl::IsInvalidArgument(s.status())) << s.status();
}

TEST(SettingsTest, HelpIsNoFailure) {
  EXPECT_EXIT(Read({"--help"}).IgnoreError(), testing::ExitedWithCode(0), "");
  const std::string usage = Usage();
  for (const char* mentions :
       {"--handoff  ", "--drain_deadline  ", "(default 30s)\n"}) {
    EXPECT_TRUE(absl::StrContains(usage, mentions)) << usage;
  }
  EXPECT_FALSE(absl::StrContains(usage, "--flagfile")) << usage;
}

}  // namespace
}  // namespace handoff::server
