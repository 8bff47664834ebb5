// Handoffs under clients that we did not write: curl, wrk and hey.

#include <arpa/inet.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class ClientsTest : public Served {
 protected:
  // Runs a shell command line in the background, its output in File(name).
  pid_t Load(const std::string& name, const std::string& command) {
    return Launch({"/bin/sh", "-c",
                   absl::StrCat("exec ", command, " >", File(name), " 2>&1")});
  }
  // Ten handoffs, by turns started separately and by SIGUSR2, each after some
  // hundred requests of our own, so that the others have made as many.
  void HandOverTenTimes() {
    Client probe(line());
    for (int i = 0; i < 10; ++i) {
      for (int request = 0; request < 300; ++request) {
        probe.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        ASSERT_EQ(probe.ReadResponse().status, 200);
      }
      i % 2 == 0 ? Start() : Upgrade();
      if (HasFatalFailure()) return;
    }
  }
};

TEST_F(ClientsTest, CurlDownloadsAndUploadsAcrossFiveHandoffs) {
  constexpr uint64_t kStream = 2'000'000;  // 20 s
  constexpr uint64_t kUpload = 2'000'000;
  Start();
  std::ofstream(File("body")) << StreamBytes(kUpload);
  const pid_t download =
      Launch({"/usr/bin/curl", "-sSf", "-o", File("stream"),
              Url(absl::StrCat("/stream?bytes=", kStream, "&rate=100000"))});
  // 20 s as well; --expect100 is curl's own choice for a body of this size.
  const pid_t upload =
      Launch({"/usr/bin/curl", "-sSf", "--limit-rate", "100000", "-o",
              File("echo"), "--data-binary", absl::StrCat("@", File("body")),
              Url("/echo")});
  for (uint64_t i = 1; i <= 5; ++i) {
    // Spread over the download, by what has come.
    ASSERT_TRUE(Eventually([&] {
      std::error_code not_yet;
      const uint64_t size = std::filesystem::file_size(File("stream"), not_yet);
      return !not_yet && size >= i * kStream / 7;
    }));
    Start();
  }
  EXPECT_EQ(ExitCode(download), 0);
  EXPECT_EQ(ExitCode(upload), 0);
  EXPECT_EQ(ReadFile(File("stream")), StreamBytes(kStream));
  EXPECT_EQ(ReadFile(File("echo")), StreamBytes(kUpload));
}

TEST_F(ClientsTest, WrkSeesNoErrorAcrossTenHandoffs) {
  Start();
  const pid_t wrk = Load("wrk", absl::StrCat("wrk -t1 -c50 -d120s ",
                                             Url("/healthz")));
  HandOverTenTimes();
  ::kill(wrk, SIGINT);  // it sums up and ends
  ExitCode(wrk);
  const std::string report = ReadFile(File("wrk"));
  EXPECT_TRUE(absl::StrContains(report, "requests in")) << report;
  EXPECT_FALSE(absl::StrContains(report, "Socket errors")) << report;
  EXPECT_FALSE(absl::StrContains(report, "Non-2xx")) << report;
  EXPECT_FALSE(absl::StrContains(report, " 0 requests in")) << report;
}

void ExpectNoError(const std::string& report) {
  constexpr char kCodes[] = "Status code distribution:";
  ASSERT_TRUE(absl::StrContains(report, kCodes)) << report;
  const std::string codes = report.substr(report.find(kCodes));
  EXPECT_TRUE(absl::StrContains(codes, "[200]")) << report;
  EXPECT_EQ(codes.find('[', codes.find("[200]") + 1), std::string::npos)
      << report;
  EXPECT_FALSE(absl::StrContains(report, "Error distribution")) << report;
}

TEST_F(ClientsTest, HeySeesNoErrorAcrossTenHandoffs) {
  Start();
  const pid_t hey =
      Load("hey", absl::StrCat("hey -z 120s -c 50 ", Url("/healthz")));
  HandOverTenTimes();
  ::kill(hey, SIGINT);
  ExitCode(hey);
  ExpectNoError(ReadFile(File("hey")));
}

TEST_F(ClientsTest, HeyWithoutKeepaliveSeesNoErrorAcrossTenHandoffs) {
  Start();
  const pid_t hey = Load("hey", absl::StrCat("hey -disable-keepalive -z 120s "
                                             "-c 20 -q 20 ",
                                             Url("/healthz")));
  HandOverTenTimes();
  ::kill(hey, SIGINT);
  ExitCode(hey);
  ExpectNoError(ReadFile(File("hey")));
}

TEST_F(ClientsTest, TheCommandTellsWhoServesWhatThereIsAndWhatBecameOfIt) {
  const std::string tool = "tools/handoff";
  const std::string where = absl::StrCat("--handoff=", File("h"));
  Start({"--label=one"});
  Client client(line());
  client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().body, "ok");
  Start({"--label=two"});

  const std::string status = Run({tool, "status", where});
  EXPECT_TRUE(absl::StrContains(status, absl::StrCat(" ", serving(), "\n")))
      << status;
  EXPECT_TRUE(absl::StrContains(status, "two")) << status;
  const std::string list = Run({tool, "list", where});
  EXPECT_TRUE(absl::StrContains(list, "http")) << list;
  EXPECT_TRUE(absl::StrContains(
      list, absl::StrCat("127.0.0.1:", ntohs(line().http.sin_port))))
      << list;
  const std::string ledger = Run({tool, "ledger", where, "--format=json"});
  EXPECT_TRUE(absl::StrContains(ledger, "\"result\":\"committed\"")) << ledger;
  EXPECT_TRUE(absl::StrContains(ledger, "\"outcome\":\"MOVED\"")) << ledger;
  EXPECT_TRUE(absl::StrContains(ledger, "\"category\":\"session\"")) << ledger;
}

}  // namespace
}  // namespace handoff::server
