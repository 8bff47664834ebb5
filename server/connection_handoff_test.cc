// A connection goes on in another Connection from wherever it stands.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/connection.h"
#include "server/connection_harness.h"
#include "server/stream.h"

namespace handoff::server {
namespace {

std::string Body(size_t bytes) {
  std::string body(bytes, '\0');
  FillStream(99, absl::MakeSpan(&body[0], body.size()));
  return body;
}

struct Case {
  std::string name;
  std::string bytes;
  bool ends_sending = false;
};

std::vector<Case> Cases() {
  const std::string host = " HTTP/1.1\r\nHost: a\r\n";
  return {
      {"Pipeline",
       absl::StrCat("\r\nGET /healthz", host, "\r\nPOST /echo", host,
                    "Content-Length: 5\r\n\r\nhello", "GET /whoami", host,
                    "X-Long: ", std::string(100, 'x'),
                    "\r\n\r\nHEAD /stream?bytes=3", host,
                    "\r\nGET /stream?bytes=300", host, "\r\nGET /nothing", host,
                    "\r\nGET /whoami", host, "\r\n")},
      {"Chunked",
       absl::StrCat("POST /echo", host, "Transfer-Encoding: chunked\r\n\r\n",
                    "00a;ext=1\r\n0123456789\r\n1\r\nx\r\n0\r\n",
                    "Trailer: y\r\n\r\nGET /whoami", host, "\r\n")},
      {"Expect",
       absl::StrCat("POST /echo", host, "Expect: 100-continue\r\n",
                    "Content-Length: 4\r\n\r\nabcdGET /whoami", host, "\r\n")},
      {"HalfClosed",
       absl::StrCat("GET /stream?bytes=100", host, "\r\nGET /whoami", host,
                    "\r\n"),
       true},
      {"LastAnswer",
       absl::StrCat("GET /healthz", host, "Connection: close\r\n\r\nignored"),
       true},
      {"Http10",
       "GET /whoami HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
       "GET /whoami HTTP/1.0\r\n\r\n"},
      {"Malformed",
       absl::StrCat("GET /healthz", host, "\r\nPOST /echo", host,
                    "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX")},
      {"CutShort",
       absl::StrCat("POST /echo", host, "Content-Length: 9\r\n\r\n", "half"),
       true},
  };
}

// Everything that the service sends, with nothing moved.
std::string Reference(const Case& c) {
  ConnectionHarness h;
  h.Send(c.bytes);
  if (c.ends_sending) h.EndSending();
  h.Run();
  return h.Receive();
}

class ConnectionHandoffTest : public testing::TestWithParam<Case> {};

TEST_P(ConnectionHandoffTest, FromEveryByteOfTheInput) {
  const Case& c = GetParam();
  const std::string expected = Reference(c);
  for (uint32_t version : {1u, 2u}) {
    for (size_t cut = 0; cut <= c.bytes.size(); ++cut) {
      ConnectionHarness h;
      h.Send(c.bytes.substr(0, cut));
      h.Run();
      h.Move(version);
      h.Send(c.bytes.substr(cut));
      if (c.ends_sending) h.EndSending();
      h.Run();
      h.Move(version);
      h.Run();
      const std::string got = h.Receive();
      ASSERT_EQ(got, expected)
          << "cut after " << cut << " bytes, version " << version;
    }
  }
}

TEST_P(ConnectionHandoffTest, AfterEveryByteOfTheInput) {
  const Case& c = GetParam();
  ConnectionHarness h;
  for (const char& byte : c.bytes) {
    h.Move();
    h.Send(absl::string_view(&byte, 1));
    h.Run();
  }
  if (c.ends_sending) h.EndSending();
  h.Move();
  h.Run();
  EXPECT_EQ(h.Receive(), Reference(c));
}

INSTANTIATE_TEST_SUITE_P(Requests, ConnectionHandoffTest,
                         testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& info) {
                           return info.param.name;
                         });

// The client reads `step` bytes at a time, and the connection moves after every
// single thing that it does.
std::string ReadSlowly(ConnectionHarness& h, size_t size, size_t step) {
  std::string got;
  while (got.size() < size) {
    while (h.RunOnce()) h.Move();
    h.Move();
    const std::string piece = h.Receive(step);
    if (piece.empty()) break;
    got += piece;
  }
  return got;
}

TEST(ConnectionMoveTest, WhileASlowReaderIsAnswered) {
  const std::string head =
      "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n"
      "Content-Type: application/octet-stream\r\n\r\n";
  std::string stream(30000, '\0');
  FillStream(0, absl::MakeSpan(&stream[0], stream.size()));
  const std::string body = Body(30000);
  for (size_t step : {1u, 13u, 997u, 5000u}) {
    ConnectionHarness h;
    h.ShrinkSocketBuffers();
    h.Send("GET /stream?bytes=30000 HTTP/1.1\r\nHost: a\r\n\r\n");
    const std::string streamed =
        ReadSlowly(h, head.size() + stream.size(), step);
    ASSERT_TRUE(streamed == head + stream) << step << ", " << Brief(streamed);

    h.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n");
    h.Send(body);
    const std::string echoed = ReadSlowly(h, head.size() + body.size(), step);
    ASSERT_TRUE(echoed == head + body) << step << ", " << Brief(echoed);
  }
}

TEST(ConnectionMoveTest, LargeBodyIsNeverInTheState) {
  const std::string body = Body(700'000);
  const std::string head =
      absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(),
                   "\r\nContent-Type: application/octet-stream\r\n\r\n");
  ConnectionHarness h;
  h.Send(absl::StrCat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ",
                      body.size(), "\r\n\r\n"));
  for (size_t at = 0; at < body.size(); at += 10'007) {
    h.Send(body.substr(at, 10'007));
    h.Run();
    if (at > BodyStore::kMemoryBytes) {
      ASSERT_TRUE(!h.open() || h.body_in_file() || at + 10'007 >= body.size());
      ASSERT_LT(h.Saved(kHighestStateVersion).ByteSizeLong(), 300u);
    }
    h.Move();
  }
  const std::string got = ReadSlowly(h, head.size() + body.size(), 50'000);
  EXPECT_TRUE(got == head + body) << Brief(got);
  while (h.RunOnce()) {
  }
  EXPECT_FALSE(h.body_in_file());
}

TEST(ConnectionMoveTest, PacedStreamKeepsItsPace) {
  ConnectionHarness h;
  h.Send("GET /stream?bytes=1000&rate=100 HTTP/1.1\r\nHost: a\r\n\r\n");
  h.Run();
  const size_t head = h.Receive().size();
  ASSERT_GT(head, 0u);
  size_t got = 0;
  for (int i = 1; i <= 100; ++i) {
    h.Move(1 + i % 2);
    h.Run();
    h.Sleep(absl::Milliseconds(100));
    got += h.Receive().size();
    ASSERT_EQ(got, 10u * i);
  }
}

TEST(ConnectionMoveTest, LingeringGoesOn) {
  ConnectionHarness h;
  h.Send("garbage\r\n\r\n");
  h.Run();
  h.Receive();
  h.Receive();
  ASSERT_TRUE(h.ended());
  h.Sleep(kLingerTimeout / 2);
  h.Move();
  h.Send("more of it");
  h.Run();
  ASSERT_TRUE(h.open());
  h.Sleep(kLingerTimeout / 2);
  EXPECT_FALSE(h.open());
}

// Waits 20 s, moves, waits 9 s and one more, in the middle of a header.
void WaitAcrossAMove(ConnectionHarness& h, uint32_t version) {
  h.Send("GET /");
  h.Run();
  h.Sleep(absl::Seconds(20));
  h.Move(version);
  h.Sleep(absl::Seconds(9));
  EXPECT_EQ(h.Receive(), "");
  h.Sleep(absl::Seconds(1));
}

TEST(ConnectionMoveTest, Version2CarriesTimeouts) {
  ConnectionHarness h;
  WaitAcrossAMove(h, 2);
  EXPECT_TRUE(absl::StartsWith(h.Receive(), "HTTP/1.1 408 "));
}

TEST(ConnectionMoveTest, Version1BeginsThemAnew) {
  ConnectionHarness h;
  WaitAcrossAMove(h, 1);
  EXPECT_EQ(h.Receive(), "");
  h.Sleep(absl::Seconds(20));
  EXPECT_TRUE(absl::StartsWith(h.Receive(), "HTTP/1.1 408 "));
}

TEST(ConnectionMoveTest, Version2CarriesTheWaitForAReader) {
  ConnectionHarness h;
  h.Send("GET /stream?bytes=100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
  h.Run();
  h.Sleep(absl::Seconds(100));
  h.Move();
  h.Run();
  h.Sleep(absl::Seconds(20));
  EXPECT_EQ(h.outcome(), Connection::Next::kReset);
}

TEST(ConnectionMoveTest, StateThatDoesNotFitTogetherIsRefused) {
  ConnectionHarness h;
  h.Send("GET /heal");
  h.Run();
  const v1::HttpConnection good = h.Saved(2);

  v1::HttpConnection state = good;
  state.mutable_parser()->set_library_version(1);
  EXPECT_TRUE(absl::IsFailedPrecondition(h.RestoreFrom(2, state, "", "")));

  state = good;
  state.mutable_stream()->set_total(5);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(2, state, "", "")))
      << "a request is read and another answered";

  state.clear_parser();
  state.mutable_stream()->set_offset(5);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(2, state, "", "")))
      << "a stream beyond its end";

  state.mutable_echo()->set_offset(0);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(2, state, "", "")))
      << "an echo of nothing";

  state.mutable_body()->set_file_bytes(100);
  EXPECT_TRUE(absl::IsInvalidArgument(h.RestoreFrom(2, state, "", "")))
      << "a file that was not sent";

  EXPECT_TRUE(h.RestoreFrom(2, good, "", "").ok());
}

}  // namespace
}  // namespace handoff::server
