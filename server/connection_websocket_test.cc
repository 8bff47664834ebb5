// A Connection that speaks WebSocket, over bytes; and from every byte in
// another Connection.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/connection.h"
#include "server/connection_harness.h"
#include "server/websocket_client_frames.h"

namespace handoff::server {
namespace {

constexpr char kRequest[] =
    "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
constexpr char kAnswer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
constexpr char kJoin[] = "{\"join\":\"r\",\"name\":\"ann\"}";

// A client that has changed to WebSocket.
class WebSocketHarness : public ConnectionHarness {
 public:
  WebSocketHarness() {
    Send(kRequest);
    Run();
    EXPECT_EQ(Receive(), kAnswer);
  }
  // What the service says to `bytes`, as ServerFrames() has it.
  std::string Exchange(absl::string_view bytes) {
    Send(bytes);
    return Frames();
  }
  std::string Frames() {
    Run();
    Deliver();
    Run();
    return absl::StrJoin(ServerFrames(Receive()), ", ");
  }
  std::string Say(absl::string_view text) {
    return Exchange(Frame(kText, text));
  }
};

std::string Said(int seq, absl::string_view text) {
  return absl::StrCat("text {\"room\":\"r\",\"seq\":", seq,
                      ",\"name\":\"ann\",\"text\":\"", text,
                      "\",\"pid\":1234,\"label\":\"v1 \\\"quoted\\\"\"}");
}

TEST(ConnectionWebSocketTest, OtherHandshakesAreAnsweredAndKept) {
  ConnectionHarness h;
  h.Send("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
  h.Run();
  const std::string plain = h.Receive();
  EXPECT_TRUE(absl::StartsWith(plain, "HTTP/1.1 426 Upgrade Required\r\n"))
      << plain;
  EXPECT_TRUE(absl::StrContains(plain, "\r\nSec-WebSocket-Version: 13\r\n"));
  EXPECT_TRUE(absl::StrContains(plain, "\r\nUpgrade: websocket\r\n"));
  h.Send("POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  h.Run();
  const std::string post = h.Receive();
  EXPECT_TRUE(absl::StartsWith(post, "HTTP/1.1 405 ")) << post;
  EXPECT_TRUE(absl::StrContains(post, "\r\nAllow: GET\r\n")) << post;
  h.Send(
      "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Origin: https://b\r\n\r\n");
  h.Run();
  const std::string foreign = h.Receive();
  EXPECT_TRUE(absl::StartsWith(foreign, "HTTP/1.1 403 ")) << foreign;
  h.Send(kRequest);
  h.Run();
  EXPECT_EQ(h.Receive(), kAnswer);
}

TEST(ConnectionWebSocketTest, AProcessThatEndsTakesNoMore) {
  ConnectionHarness h;
  h.info().mode = Mode::kRetiring;
  h.Send(kRequest);
  h.Run();
  const std::string answer = h.Receive();
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(absl::StrContains(answer, "\r\nConnection: close\r\n"));
}

TEST(ConnectionWebSocketTest, FramesBehindTheRequestAreRead) {
  ConnectionHarness h;
  h.Send(absl::StrCat(kRequest, Frame(kPing, "early")));
  h.Run();
  EXPECT_EQ(h.Receive(), absl::StrCat(kAnswer, "\x8a\x05", "early"));
}

TEST(ConnectionWebSocketTest, ChatsWithItself) {
  WebSocketHarness h;
  EXPECT_EQ(h.Say(kJoin), "text {\"joined\":\"r\",\"seq\":0}");
  EXPECT_EQ(h.Say("{\"say\":\"hello\"}"), Said(1, "hello"));
  EXPECT_EQ(h.Say("{\"say\":\"\\\"\\u00e4\\n\",\"room\":\"r\"}"),
            Said(2, "\\\"\xc3\xa4\\u000a"));
  EXPECT_EQ(h.Say("{\"topic\":\"tea\"}"),
            "text {\"room\":\"r\",\"topic\":\"tea\",\"name\":\"ann\"}");
  EXPECT_EQ(h.Say("{\"whoami\":true}").rfind("text {\"pid\":", 0), 0u);
  EXPECT_EQ(h.Say("{\"leave\":\"r\"}"), "text {\"left\":\"r\"}");
  EXPECT_EQ(
      h.Say(kJoin),
      absl::StrCat("text {\"joined\":\"r\",\"seq\":2,\"topic\":\"tea\"}, ",
                   Said(1, "hello"), ", ", Said(2, "\\\"\xc3\xa4\\u000a")));
}

TEST(ConnectionWebSocketTest, WhatIsNotUnderstoodIsAnsweredAndKept) {
  WebSocketHarness h;
  const char* cases[] = {"",
                         "x",
                         "[]",
                         "5",
                         "null",
                         "\"x\"",
                         "{}",
                         "{\"say\":\"x\"",
                         "{\"say\":5}",
                         "{\"shout\":\"x\"}",
                         "{\"say\":\"x\"}",
                         "{\"leave\":\"r\"}",
                         "{\"join\":\"r\"}",
                         "{\"join\":\"\",\"name\":\"x\"}",
                         "{\"name\":\"x\"}",
                         "{\"join\":\"r\",\"name\":\"\"}",
                         "{\"join\":\"r\",\"name\":\"x\",\"say\":\"y\"}",
                         "{\"say\":\"x\",\"room\":\"r\"}",
                         "{\"say\":\"\\ud800\"}",
                         "{\"say\":\"\\udc00\"}",
                         "{\"leave\":\"r\",\"room\":\"r\"}",
                         "{\"leave\":\"r\",\"whoami\":true}"};
  for (const char* text : cases) {
    EXPECT_TRUE(absl::StartsWith(h.Say(text), "text {\"error\":\"")) << text;
  }
  const std::string deep(100'000, '[');
  EXPECT_TRUE(absl::StartsWith(h.Say(deep), "text {\"error\":\""));
  const std::string name(kMaxRoomNameBytes + 1, 'x');
  EXPECT_TRUE(absl::StartsWith(
      h.Say(absl::StrCat("{\"join\":\"", name, "\",\"name\":\"x\"}")),
      "text {\"error\":\""));
  h.Say(kJoin);
  EXPECT_TRUE(absl::StartsWith(h.Say(kJoin), "text {\"error\":\"you are in"));
  EXPECT_TRUE(
      absl::StartsWith(h.Say("{\"say\":\"\\udc00\"}"), "text {\"error\":\""))
      << "no character";
  for (size_t i = 1; i < 10; ++i) {
    h.Say(absl::StrCat("{\"join\":\"", i, "\",\"name\":\"x\"}"));
  }
  EXPECT_TRUE(absl::StrContains(h.Say("{\"join\":\"more\",\"name\":\"x\"}"),
                                "too many rooms"));
  EXPECT_EQ(h.Exchange(Frame(kPing, "")), "pong ");
}

TEST(ConnectionWebSocketTest, TheClientsCloseIsSaidBackAndEndsPolitely) {
  for (const std::string& close :
       {CloseFrame(1000, "bye"), CloseFrame(4321), Frame(kClose, "")}) {
    WebSocketHarness h;
    h.Say(kJoin);
    const std::string said = h.Exchange(close + Frame(kPing, "late"));
    EXPECT_TRUE(absl::StartsWith(said, "close")) << said;
    EXPECT_FALSE(absl::StrContains(said, "pong")) << said;
    h.Receive();
    EXPECT_TRUE(h.ended());
    EXPECT_TRUE(h.open()) << "its last bytes are waited for";
    h.EndSending();
    h.Run();
    EXPECT_FALSE(h.open());
  }
}

TEST(ConnectionWebSocketTest, AFaultIsToldAndEndsTheConnection) {
  WebSocketHarness h;
  h.info().limits.ws_max_message_bytes = 1000;
  EXPECT_EQ(h.Exchange(Frame(kText, "\xff")),
            "close 1007 the text is no UTF-8");
  h.Receive();
  EXPECT_TRUE(h.ended());
  h.Sleep(kLingerTimeout);
  EXPECT_FALSE(h.open());
}

TEST(ConnectionWebSocketTest, AMessageBeyondTheFlagIsTooBig) {
  ConnectionHarness h;
  h.info().limits.ws_max_message_bytes = 1000;
  h.Send(kRequest);
  h.Send(Frame(kText, std::string(1001, ' ')));
  h.Run();
  const std::string answer = h.Receive();
  EXPECT_EQ(ServerFrames(answer.substr(sizeof(kAnswer) - 1)).back(),
            "close 1009 the message is too long");
}

TEST(ConnectionWebSocketTest, ADrainSaysGoodbyeAndWaitsForTheAnswer) {
  WebSocketHarness h;
  h.Drain();
  EXPECT_EQ(h.Frames(), "close 1001 the service stops");
  // What was on its way is passed over.
  EXPECT_EQ(h.Exchange(Frame(kPing, "x") + Frame(kText, kJoin)), "");
  h.Move();
  EXPECT_EQ(h.Exchange(CloseFrame(1001)), "");
  h.Receive();
  EXPECT_TRUE(h.ended());
  h.EndSending();
  h.Run();
  EXPECT_FALSE(h.open());
}

TEST(ConnectionWebSocketTest, AGoodbyeThatIsNotAnsweredHasADeadline) {
  WebSocketHarness h;
  h.Drain();
  EXPECT_EQ(h.Frames(), "close 1001 the service stops");
  h.Sleep(kLingerTimeout / 2);
  h.Move();
  EXPECT_TRUE(h.open());
  h.Sleep(kLingerTimeout / 2);
  EXPECT_FALSE(h.open());
}

TEST(ConnectionWebSocketTest, WhoIsSilentIsPingedAndThenReset) {
  WebSocketHarness h;
  const absl::Duration ping = h.info().limits.ws_ping;
  for (int i = 0; i < 3; ++i) {
    h.Sleep(ping / 2);
    EXPECT_EQ(h.Frames(), "");
    h.Move();
    h.Sleep(ping / 2);
    EXPECT_EQ(h.Frames(), "ping ");
    h.Move();
    EXPECT_EQ(h.Exchange(Frame(kPong, "")), "");
  }
  h.Sleep(ping);
  EXPECT_EQ(h.Frames(), "ping ");
  h.Move();
  h.Sleep(ping);
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kReset);
}

TEST(ConnectionWebSocketTest, PingsThatNobodyReadsTheAnswersOfAreNotRead) {
  WebSocketHarness h;
  h.ShrinkSocketBuffers();
  const std::string ping = Frame(kPing, std::string(125, 'p'));
  std::string pings;
  for (int i = 0; i < 400; ++i) pings += ping;
  h.Send(pings);
  h.Run();
  EXPECT_LT(h.connection().output().size(), Connection::kOutputBytes + 200);
  EXPECT_FALSE(h.connection().wants_read());
  std::string got;
  for (;;) {
    h.Move();
    h.Run();
    const std::string piece = h.Receive(997);
    if (piece.empty()) break;
    got += piece;
  }
  EXPECT_EQ(ServerFrames(got),
            std::vector<std::string>(
                400, absl::StrCat("pong ", std::string(125, 'p'))));
}

TEST(ConnectionWebSocketTest, WhoHasCaughtUpIsNotCalledSilent) {
  WebSocketHarness h;
  h.ShrinkSocketBuffers();
  h.info().limits.ws_ping = absl::Seconds(1);
  std::string pings;
  for (int i = 0; i < 400; ++i) pings += Frame(kPing, std::string(125, 'p'));
  h.Send(pings);
  h.Run();
  ASSERT_FALSE(h.connection().wants_read());
  h.Sleep(absl::Seconds(3));
  std::string got;
  for (std::string piece; !(piece = h.Receive(997)).empty(); h.Run()) {
    got += piece;
  }
  EXPECT_EQ(ServerFrames(got).size(), 400u);
  h.Sleep(absl::Milliseconds(500));
  EXPECT_EQ(h.Exchange(Frame(kPing, "")), "pong ") << "it was sent a ping";
}

TEST(ConnectionWebSocketTest, WhoTalksOnGetsNoMoreTimeToAnswerAGoodbye) {
  WebSocketHarness h;
  h.Drain();
  EXPECT_EQ(h.Frames(), "close 1001 the service stops");
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(h.open());
    EXPECT_EQ(h.Exchange(Frame(kPong, "")), "");
    h.Sleep(kLingerTimeout / 3 + absl::Milliseconds(1));
  }
  EXPECT_FALSE(h.open());
}

TEST(ConnectionWebSocketTest, ASlowReadersQueueMovesAndIsBounded) {
  WebSocketHarness h;
  h.info().limits.ws_max_queue_bytes = 100'000;
  h.ShrinkSocketBuffers();
  h.Say(kJoin);
  // Others talk; nobody reads.
  std::vector<std::string> expected;
  while (!h.Saved(kHighestStateVersion).websocket().closing()) {
    const int seq = static_cast<int>(expected.size()) + 1;
    const std::string text = absl::StrCat(std::string(5000, 'x'), seq);
    ASSERT_TRUE(h.rooms().Say("r", "ann", text).ok());
    h.Deliver();
    h.Run();
    h.Move();
    expected.push_back(Said(seq, text));
    ASSERT_LT(seq, 1000) << "the queue has no end";
    ASSERT_LT(h.connection().output().size(), 100'100u);
  }
  expected.back() = "close 1013 you read too slowly";
  std::string got;
  for (;;) {
    h.Move();
    h.Run();
    const std::string piece = h.Receive(10'007);
    if (piece.empty()) break;
    got += piece;
  }
  EXPECT_EQ(ServerFrames(got), expected);
}

TEST(ConnectionWebSocketTest, WhoNeverReadsIsReset) {
  WebSocketHarness h;
  h.ShrinkSocketBuffers();
  h.Say(kJoin);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(h.rooms().Say("r", "ann", std::string(50'000, 'x')).ok());
    h.Deliver();
  }
  h.Run();
  h.Sleep(h.info().limits.write_timeout);
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kReset);
}

// A whole conversation, from the request to the end.
std::vector<std::string> Script() {
  return {
      kRequest,
      Frame(kText, kJoin),
      Frame(kText, "{\"say\":\"in one\"}"),
      Frame(kText, "{\"say\":", false),
      Frame(kPing, "in between"),
      Frame(kContinuation, "\"in ", false),
      Frame(kContinuation, "", false),
      Frame(kPong, "unasked"),
      Frame(kContinuation, "four\"}"),
      Frame(kText, absl::StrCat("{\"say\":\"", std::string(300, 'y'), "\"}")),
      Frame(kText, "nonsense"),
      Frame(kPing, ""),
      CloseFrame(1000, "bye"),
  };
}

std::string Converse(size_t cut, bool one_by_one) {
  const std::string bytes = absl::StrJoin(Script(), "");
  ConnectionHarness h;
  const auto send = [&](absl::string_view piece) {
    h.Send(piece);
    h.Run();
    h.Deliver();
    h.Run();
  };
  if (one_by_one) {
    for (const char& byte : bytes) {
      h.Move();
      send(absl::string_view(&byte, 1));
    }
  } else {
    // As far as the cut frame by frame, so that answers come in the same order.
    size_t at = 0;
    for (const std::string& frame : Script()) {
      if (at < cut && cut < at + frame.size()) {
        send(frame.substr(0, cut - at));
        h.Move();
        send(frame.substr(cut - at));
      } else {
        if (at == cut) h.Move();
        send(frame);
      }
      at += frame.size();
    }
  }
  h.Move();
  return h.Receive();
}

TEST(ConnectionWebSocketMoveTest, FromEveryByteOfAConversation) {
  const std::string reference = Converse(std::string::npos, false);
  ASSERT_TRUE(absl::StrContains(reference, "in four"));
  ASSERT_TRUE(absl::StrContains(reference, "bye"));
  const size_t size = absl::StrJoin(Script(), "").size();
  for (size_t cut = 0; cut <= size; ++cut) {
    ASSERT_EQ(Converse(cut, false), reference) << "cut after " << cut;
  }
}

TEST(ConnectionWebSocketMoveTest, AfterEveryByteOfAConversation) {
  EXPECT_EQ(Converse(0, true), Converse(std::string::npos, false));
}

TEST(ConnectionWebSocketMoveTest, FramesOfAMebibyteGoOnToo) {
  WebSocketHarness h;
  h.Say(kJoin);
  const std::string text(1'000'000, 'z');
  const std::string frame =
      Frame(kText, absl::StrCat("{\"say\":\"", text, "\"}"));
  for (size_t at = 0; at < frame.size(); at += 130'003) {
    h.Move();
    h.Send(frame.substr(at, 130'003));
    h.Run();
  }
  h.Deliver();
  std::string got;
  for (;;) {
    h.Move();
    h.Run();
    const std::string piece = h.Receive(200'003);
    if (piece.empty()) break;
    got += piece;
  }
  EXPECT_TRUE(ServerFrames(got) == std::vector<std::string>({Said(1, text)}))
      << Brief(got);
  // The longest that is read is too long to be passed on with all beside it.
  const std::string most(1024 * 1024 - 10, 'z');
  h.Send(Frame(kText, absl::StrCat("{\"say\":\"", most, "\"}")));
  EXPECT_EQ(h.Frames(), "text {\"error\":\"the text is too long\"}");
}

TEST(ConnectionWebSocketMoveTest, AnOlderVersionRefusesAWebSocket) {
  for (const uint32_t version : {1u, 2u}) {
    WebSocketHarness h;
    const v1::HttpConnection state = h.Saved(version);
    EXPECT_TRUE(
        absl::IsFailedPrecondition(h.RestoreFrom(version, state, "", "")));
  }
}

TEST(ConnectionWebSocketMoveTest, StateThatDoesNotFitTogetherIsRefused) {
  WebSocketHarness h;
  h.Say(kJoin);
  const v1::HttpConnection good = h.Saved(3);
  v1::HttpConnection state = good;
  state.mutable_stream()->set_total(5);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(3, state, "", "")));
  state = good;
  *state.mutable_websocket()->add_seats() = state.websocket().seats(0);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(3, state, "", "")));
  state = good;
  state.mutable_websocket()->set_fragments("x");
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(3, state, "", "")));
  EXPECT_TRUE(h.RestoreFrom(3, good, "", "").ok());
  EXPECT_EQ(h.Say("{\"say\":\"x\"}"), Said(1, "x"));
}

}  // namespace
}  // namespace handoff::server
