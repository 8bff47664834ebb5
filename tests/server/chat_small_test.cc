// The chat on its way to an older release, and back; and after a crash.

#include <signal.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/chatting.h"

namespace handoff::server {
namespace {

using ChatSmallTest = Chatting;

// From the newest state to one without topics, and back; with other numbers of
// workers.
TEST_F(ChatSmallTest, AnOlderReleaseGoesOnWithTheRooms) {
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

// A text frame's.
std::string ReadText(Client& client) {
  const std::string head = client.Read(2);
  if (head.size() < 2 || head[0] != '\x81') return "no text frame: " + head;
  return client.Read(static_cast<unsigned char>(head[1]));
}

// Members come back one after the other, and those that are there talk.
TEST_F(ChatSmallTest, WhoComesBackFromASuccessorThatCrashedMissesNothing) {
  constexpr int kClients = 600;
  constexpr int kSay = 20;
  Start({"--watch=60s"});
  const pid_t first = serving();
  {
    std::vector<Client> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back(line());
      clients[i].Send(kHandshake);
      ASSERT_EQ(clients[i].ReadResponse().status, 101);
      clients[i].Send(Masked("{\"join\":\"r\",\"name\":\"x\"}"));
      ASSERT_EQ(clients[i].Read(sizeof(kJoined) - 1), kJoined);
    }
    Start({"--watch=60s"});
    ASSERT_EQ(kill(serving(), SIGSTOP), 0);
    for (int i = 0; i < kSay; ++i) {
      Client& client = clients[i * (kClients / kSay)];
      client.Send(Masked("{\"say\":\"x\"}"));
      client.AwaitSent();
    }
    ASSERT_EQ(kill(serving(), SIGKILL), 0);
    for (int i = 0; i < kClients; ++i) {
      for (int seq = 1; seq <= kSay; ++seq) {
        const std::string text = ReadText(clients[i]);
        ASSERT_TRUE(absl::StrContains(text, absl::StrCat("\"seq\":", seq, ",")))
            << "client " << i << " was told " << text << " in place of " << seq;
      }
    }
  }
  kill(first, SIGTERM);
}

TEST_F(ChatSmallTest, WhoCannotMoveIsToldToComeToTheNewProcess) {
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

// More than a successor can refuse one by one.
constexpr int kMany = 600;

TEST_F(ChatSmallTest, HoweverManyCannotMoveTheOthersDo) {
  Start({"--workers=2"});
  Client plain(line());
  plain.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(plain.ReadResponse().status, 200);
  std::vector<Client> websockets;
  for (int i = 0; i < kMany; ++i) {
    websockets.emplace_back(line());
    websockets.back().Send(kHandshake);
    ASSERT_EQ(websockets.back().ReadResponse().status, 101);
  }
  Start({"--max_state_version=2"});
  for (Client& client : websockets) {
    ASSERT_EQ(client.Read(4).substr(2), "\x03\xf4") << "not 1012";
  }
  plain.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  const Client::Response next = plain.ReadResponse();
  EXPECT_TRUE(absl::StrContains(next.body, absl::StrCat("\"pid\":", serving())))
      << "it did not move: " << next.header << next.body;
  EXPECT_FALSE(absl::StrContains(next.header, "Connection: close"));
}

}  // namespace
}  // namespace handoff::server
