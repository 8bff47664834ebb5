// The chat, while the server is replaced.

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/chatting.h"

namespace handoff::server {
namespace {

constexpr int kHandoffs = 10;
constexpr int kMembers = 2000;
constexpr int kRooms = 50;

using ChatTest = Chatting;

TEST_F(ChatTest, TenHandoffsLoseNoMemberAndNoMessage) {
  Start({"--workers=2"});
  StartPython(Port(), kMembers, kRooms);
  ASSERT_TRUE(PythonSays("all there")) << Python();
  ASSERT_TRUE(EveryRoomHasHeard(serving())) << Python();
  for (int i = 0; i < kHandoffs; ++i) {
    Upgrade();
    ASSERT_TRUE(EveryRoomHasHeard(serving()))
        << "not every room has heard of process " << serving() << ": "
        << Python();
    if (absl::StrContains(Python(), "failed")) break;
  }
  StopPython();
}

// A reverse proxy in front of the server, as README.md has it. It is one
// process, which ends with the test.
std::string NginxConfiguration(const std::string& folder,
                               const std::string& port) {
  std::string temporary;
  for (const char* what :
       {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    absl::StrAppend(&temporary, what, "_temp_path ", folder, "/", what, ";\n");
  }
  return absl::StrCat(
      "user root root;\ndaemon off;\nmaster_process off;\npid ", folder,
      "/nginx.pid;\n", "error_log ", folder, "/nginx.log;\n",
      "events { worker_connections 4096; }\nhttp {\naccess_log off;\n",
      temporary,
      "map $http_upgrade $connection_upgrade { default upgrade; \"\" \"\"; }\n"
      "upstream chat { server 127.0.0.1:",
      port, "; keepalive 8; }\nserver {\nlisten unix:", folder,
      "/proxy.sock;\n",
      "location / {\nproxy_pass http://chat;\nproxy_http_version 1.1;\n"
      "proxy_set_header Host $http_host;\n"
      "proxy_set_header Upgrade $http_upgrade;\n"
      "proxy_set_header Connection $connection_upgrade;\n}\n}\n}\n");
}

TEST_F(ChatTest, ThroughAReverseProxyNothingIsLostEither) {
  Start();
  std::ofstream(File("nginx.conf")) << NginxConfiguration(File("."), Port());
  const std::string proxy = File("proxy.sock");
  const pid_t nginx = Launch(
      {"/usr/sbin/nginx", "-c", File("nginx.conf"), "-e", File("nginx.log")});
  // Requests one after the other, by as few connections as nginx needs. A line
  // for each: what is buffered when curl is told to stop is lost.
  const std::string get = absl::StrCat(
      "stdbuf -oL curl -s -o /dev/null -w '%{http_code}\\n' --unix-socket ",
      proxy);
  const pid_t curl = Launch(
      {"/bin/sh", "-c",
       absl::StrCat("until ", get, " http://a/healthz; do :; done > ",
                    File("ready"), "; exec ", get,
                    " 'http://a/whoami?[1-1000000]' > ", File("codes"))});
  ASSERT_TRUE(Eventually([&] {
    return std::filesystem::exists(File("codes"));
  })) << "nginx does not serve";
  StartPython(proxy, 200, 10);
  ASSERT_TRUE(PythonSays("all there")) << Python();
  ASSERT_TRUE(EveryRoomHasHeard(serving())) << Python();
  for (int i = 0; i < 5; ++i) {
    Upgrade();
    ASSERT_TRUE(EveryRoomHasHeard(serving())) << Python();
  }
  StopPython();
  kill(curl, SIGTERM);
  ExitCode(curl);
  std::ifstream codes(File("codes"));
  int answered = 0;
  for (std::string code; std::getline(codes, code); ++answered) {
    ASSERT_EQ(code, "200") << "of request " << answered;
  }
  EXPECT_GT(answered, 5) << "of curl's requests";
  kill(nginx, SIGQUIT);
  EXPECT_EQ(ExitCode(nginx), 0);
}

}  // namespace
}  // namespace handoff::server
