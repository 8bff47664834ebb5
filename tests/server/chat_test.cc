// The chat, while the server is replaced.

#include <arpa/inet.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

constexpr int kHandoffs = 10;
constexpr int kMembers = 2000;
constexpr int kRooms = 50;

class ChatTest : public Served {
 protected:
  std::string Port() const { return absl::StrCat(ntohs(line().http.sin_port)); }
  void StartPython(const std::string& address, int members, int rooms) {
    // Debian's, whose package has websockets.
    python_ =
        Launch({"/usr/bin/python3", "tests/server/chat_client.py", address,
                absl::StrCat(members), absl::StrCat(rooms), File("python")});
  }
  std::string Python() const {
    std::ifstream file(File("python"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // `line`, or a failure.
  bool PythonSays(const std::string& line) {
    return Eventually([&] {
      const std::string text = Python();
      return absl::StrContains(text, line + "\n") ||
             absl::StrContains(text, "failed");
    });
  }
  bool EveryRoomHasHeard(pid_t pid) {
    return PythonSays(absl::StrCat("pid ", pid));
  }
  void StopPython() {
    kill(python_, SIGTERM);
    EXPECT_EQ(ExitCode(python_), 0);
    const std::string text = Python();
    EXPECT_FALSE(absl::StrContains(text, "failed")) << text;
    EXPECT_TRUE(absl::StrContains(text, "ended ")) << text;
    printf("%s", text.substr(text.rfind("ended")).c_str());
  }

  pid_t python_ = 0;
};

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

// From the newest state to one without topics, and back; with other numbers of
// workers.
TEST_F(ChatTest, AnOlderReleaseGoesOnWithTheRooms) {
  Start({"--workers=2"});
  StartPython(Port(), 40, 4);
  ASSERT_TRUE(PythonSays("all there")) << Python();
  ASSERT_TRUE(EveryRoomHasHeard(serving())) << Python();
  for (const char* version : {"3", "4"}) {
    Start({absl::StrCat("--max_state_version=", version),
           absl::StrCat("--workers=", version)});
    ASSERT_TRUE(EveryRoomHasHeard(serving())) << Python();
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

std::string Masked(const std::string& payload) {
  std::string frame = {'\x81', static_cast<char>(0x80 | payload.size())};
  frame.append(4, '\0');
  return frame + payload;
}

constexpr char kHandshake[] =
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr char kJoined[] = "\x81\x16{\"joined\":\"r\",\"seq\":0}";

TEST_F(ChatTest, WhoCannotMoveIsToldToComeToTheNewProcess) {
  Start({"--watch=60s"});
  Client client(line());
  client.Send(kHandshake);
  EXPECT_EQ(client.ReadResponse().status, 101);
  client.Send(Masked("{\"join\":\"r\",\"name\":\"x\"}"));
  EXPECT_EQ(client.Read(sizeof(kJoined) - 1), kJoined);
  // Has no WebSockets.
  Start({"--max_state_version=2"});
  // At once: long before the watch is over.
  EXPECT_EQ(client.Read(4).substr(2), "\x03\xf4") << "not 1012";
  client.HalfClose();
  // The new one serves both, and ends with them.
  Client next(line());
  next.Send(kHandshake);
  EXPECT_EQ(next.ReadResponse().status, 101);
  next.Send(Masked("{\"join\":\"r\",\"name\":\"x\"}"));
  EXPECT_EQ(next.Read(sizeof(kJoined) - 1), kJoined);
  kill(serving(), SIGTERM);
  EXPECT_EQ(next.Read(4).substr(2), "\x03\xe9") << "not 1001";
  next.HalfClose();
  EXPECT_EQ(ExitCode(serving()), 0);
}

}  // namespace
}  // namespace handoff::server
