#include "server/connection.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/connection_harness.h"
#include "server/stream.h"

namespace handoff::server {
namespace {

std::string Text(absl::string_view status, absl::string_view headers,
                 absl::string_view body) {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Length: ", body.size(),
                      "\r\nContent-Type: text/plain\r\n", headers, "\r\n",
                      body);
}

std::string Bytes(uint64_t length, absl::string_view body) {
  return absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", length,
                      "\r\nContent-Type: application/octet-stream\r\n\r\n",
                      body);
}

std::string Get(absl::string_view target, absl::string_view headers = "") {
  return absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", headers,
                      "\r\n");
}

std::string Post(absl::string_view body, absl::string_view headers = "") {
  return absl::StrCat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ",
                      body.size(), "\r\n", headers, "\r\n", body);
}

std::string StreamOf(uint64_t bytes) {
  std::string stream(bytes, '\0');
  FillStream(0, absl::MakeSpan(&stream[0], stream.size()));
  return stream;
}

std::string Exchange(ConnectionHarness& h, absl::string_view request) {
  h.Send(request);
  h.Run();
  return h.Receive();
}

// Expects that an answer was the last: our FIN is sent, and the connection ends
// when the client has closed as well.
void ExpectPoliteEnd(ConnectionHarness& h) {
  EXPECT_TRUE(h.ended()) << "no FIN";
  ASSERT_TRUE(h.open()) << "closed while the client may still be sending";
  h.Send("what was already on its way");
  h.Run();
  ASSERT_TRUE(h.open());
  h.EndSending();
  h.Run();
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kClose);
}

TEST(ConnectionTest, AnswersHealthzAndKeepsTheConnection) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, Get("/healthz")), Text("200 OK", "", "ok"));
  EXPECT_EQ(Exchange(h, Get("/healthz?x=y#z")), Text("200 OK", "", "ok"));
  EXPECT_EQ(Exchange(h, Get("http://a/healthz")), Text("200 OK", "", "ok"));
  EXPECT_FALSE(h.ended());
}

TEST(ConnectionTest, HeadHasTheHeaderOfGetAndNoBody) {
  ConnectionHarness h;
  const std::string whole = Text("200 OK", "", "ok");
  EXPECT_EQ(Exchange(h, "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n"),
            whole.substr(0, whole.size() - 2));
  EXPECT_EQ(Exchange(h, "HEAD /stream?bytes=12 HTTP/1.1\r\nHost: a\r\n\r\n"),
            Bytes(12, ""));
  EXPECT_EQ(Exchange(h, Get("/healthz")), whole);
}

TEST(ConnectionTest, WhoamiSpeaksOfTheProcessAndTheConnection) {
  ConnectionHarness h;
  Exchange(h, Get("/healthz"));
  const std::string answer = Exchange(h, Get("/whoami"));
  EXPECT_TRUE(absl::StrContains(answer, "Content-Type: application/json\r\n"));
  EXPECT_TRUE(absl::EndsWith(
      answer,
      "\r\n\r\n{\"pid\":1234,\"label\":\"v1 \\\"quoted\\\"\","
      "\"generation\":5,\"id\":7,\"requests\":2,\"handoffs\":3}\n"))
      << answer;
}

TEST(ConnectionTest, UnknownPathsAndMethodsAreAnsweredAndKept) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, Get("/nothing")),
            Text("404 Not Found", "", "nothing is here\n"));
  EXPECT_EQ(Exchange(h, Get("/echo")),
            Text("405 Method Not Allowed", "Allow: POST\r\n",
                 "not with this method\n"));
  EXPECT_EQ(Exchange(h, "DELETE /whoami HTTP/1.1\r\nHost: a\r\n\r\n"),
            Text("405 Method Not Allowed", "Allow: GET, HEAD\r\n",
                 "not with this method\n"));
  // A body that nobody wants is read over.
  EXPECT_EQ(Exchange(h,
                     "POST /nothing HTTP/1.1\r\nHost: a\r\n"
                     "Content-Length: 3\r\n\r\nabc"),
            Text("404 Not Found", "", "nothing is here\n"));
  EXPECT_EQ(Exchange(h, Get("/healthz")), Text("200 OK", "", "ok"));
}

TEST(ConnectionTest, EchoGivesTheBodyBack) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, Post("hello")), Bytes(5, "hello"));
  EXPECT_EQ(Exchange(h, Post("")), Bytes(0, ""));
  EXPECT_EQ(Exchange(h,
                     "POST /echo HTTP/1.1\r\nHost: a\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"
                     "3\r\nabc\r\n4;x\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n"),
            Bytes(7, "abcdefg"));
}

TEST(ConnectionTest, LargeBodyGoesToAFileThatIsClosedAfterTheAnswer) {
  ConnectionHarness h;
  const std::string body = StreamOf(1'000'000);
  h.Send(Post(body));
  h.Run();
  EXPECT_TRUE(h.body_in_file());
  std::string answer;
  while (answer.size() < body.size()) {
    const std::string piece = h.Receive();
    ASSERT_FALSE(piece.empty()) << "the echo stops at " << answer.size();
    answer += piece;
    h.Run();
  }
  answer += h.Receive();
  EXPECT_TRUE(answer == Bytes(body.size(), body)) << Brief(answer);
  EXPECT_FALSE(h.body_in_file());
  EXPECT_EQ(Exchange(h, Post("small")), Bytes(5, "small"));
}

TEST(ConnectionTest, ExpectationIsMetBeforeTheBodyIsSent) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h,
                     "POST /echo HTTP/1.1\r\nHost: a\r\n"
                     "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(Exchange(h, "ab"), Bytes(2, "ab"));
}

TEST(ConnectionTest, ExpectationOfARefusedRequestIsRefusedAtOnce) {
  ConnectionHarness h;
  EXPECT_EQ(
      Exchange(h,
               "POST /nothing HTTP/1.1\r\nHost: a\r\n"
               "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
      Text("404 Not Found", "Connection: close\r\n", "nothing is here\n"));
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, StreamIsTheSequence) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, Get("/stream?bytes=10000")),
            Bytes(10000, StreamOf(10000)));
  EXPECT_EQ(Exchange(h, Get("/stream?bytes=0")), Bytes(0, ""));
}

TEST(ConnectionTest, StreamFollowsItsRate) {
  ConnectionHarness h;
  std::string got = Exchange(h, Get("/stream?bytes=1000&rate=100"));
  const size_t head = Bytes(1000, "").size();
  EXPECT_EQ(got.size(), head) << "bytes before their time";
  for (int second = 1; second <= 10; ++second) {
    h.Sleep(absl::Seconds(1));
    got += h.Receive();
    ASSERT_EQ(got.size(), head + 100u * second) << "after " << second << " s";
  }
  EXPECT_EQ(got, Bytes(1000, StreamOf(1000)));
  EXPECT_EQ(Exchange(h, Get("/healthz")), Text("200 OK", "", "ok"));
}

TEST(ConnectionTest, SlowStreamIsNoStalledClient) {
  ConnectionHarness h;
  h.info().limits.write_timeout = absl::Seconds(2);
  h.Send(Get("/stream?bytes=4&rate=1"));
  h.Run();
  h.Sleep(absl::Seconds(4));
  EXPECT_EQ(h.Receive(), Bytes(4, StreamOf(4)));
}

TEST(ConnectionTest, BadStreamParametersAre400AndKeepTheConnection) {
  for (absl::string_view query :
       {"", "?", "?bytes", "?bytes=", "?bytes=-1", "?bytes=+1", "?bytes=1x",
        "?bytes=99999999999999999999", "?bytes=9223372036854775808", "?rate=5",
        "?bytes=1&rate=", "?bytes=1&rate=x", "?bytes=1&size=2", "?bytes=1&"}) {
    ConnectionHarness h;
    const std::string answer = Exchange(h, Get(absl::StrCat("/stream", query)));
    EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 400 Bad Request\r\n"))
        << query << ": " << answer;
    EXPECT_FALSE(h.ended()) << query;
  }
}

TEST(ConnectionTest, PipelinedRequestsAreAnsweredInOrder) {
  ConnectionHarness h;
  EXPECT_EQ(
      Exchange(h, absl::StrCat(Get("/stream?bytes=5"), Post("one"),
                               Get("/healthz"), Post("two"), Get("/nothing"))),
      absl::StrCat(Bytes(5, StreamOf(5)), Bytes(3, "one"),
                   Text("200 OK", "", "ok"), Bytes(3, "two"),
                   Text("404 Not Found", "", "nothing is here\n")));
}

TEST(ConnectionTest, ClientThatOnlySendsIsNotReadWithoutBound) {
  ConnectionHarness h;
  h.ShrinkSocketBuffers();
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += Get("/healthz");
  h.Send(requests);
  h.Run();
  EXPECT_FALSE(h.connection().wants_read());
  EXPECT_LE(h.connection().input().size(), sizeof(Scratch));
  EXPECT_LE(h.connection().output().size(), Connection::kOutputBytes + 1000);
  // And yet every request is answered.
  std::string answers;
  for (std::string more = h.Receive(); !more.empty(); more = h.Receive()) {
    answers += more;
    h.Run();
  }
  EXPECT_EQ(answers.size(), 1000 * Text("200 OK", "", "ok").size());
}

TEST(ConnectionTest, HalfClosedClientGetsItsWholeAnswer) {
  ConnectionHarness h;
  h.ShrinkSocketBuffers();
  h.Send(Get("/stream?bytes=50000"));
  h.EndSending();
  std::string answer;
  while (!h.ended()) {
    h.Run();
    answer += h.Receive();
  }
  EXPECT_TRUE(answer == Bytes(50000, StreamOf(50000))) << Brief(answer);
  EXPECT_EQ(h.outcome(), Connection::Next::kClose);
}

TEST(ConnectionTest, EndInTheMiddleOfARequestIs400) {
  ConnectionHarness h;
  h.Send("GET /heal");
  h.EndSending();
  h.Run();
  EXPECT_EQ(h.Receive(), Text("400 Bad Request", "Connection: close\r\n",
                              "the request ends in its middle\n"));
  h.Receive();
  EXPECT_TRUE(h.ended());
  EXPECT_FALSE(h.open());
}

TEST(ConnectionTest, ConnectionCloseIsHonoured) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, Get("/healthz", "Connection: close\r\n")),
            Text("200 OK", "Connection: close\r\n", "ok"));
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, Http10ClosesUnlessAskedToKeep) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h,
                     "GET /healthz HTTP/1.0\r\n"
                     "Connection: keep-alive\r\n\r\n"),
            Text("200 OK", "Connection: keep-alive\r\n", "ok"));
  EXPECT_EQ(Exchange(h, "GET /healthz HTTP/1.0\r\n\r\n"),
            Text("200 OK", "Connection: close\r\n", "ok"));
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, MalformedRequestIsToldSoBeforeTheEnd) {
  ConnectionHarness h;
  EXPECT_EQ(Exchange(h, "\x16\x03\x01\x02hello"),
            Text("400 Bad Request", "Connection: close\r\n",
                 "this is no HTTP/1.1 request\n"));
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, LingeringEndsWithoutTheClientsHelp) {
  ConnectionHarness h;
  Exchange(h, "garbage\r\n\r\n");
  ASSERT_TRUE(h.open());
  h.Sleep(kLingerTimeout);
  EXPECT_FALSE(h.open());
}

TEST(ConnectionTest, BodyOverTheLimitIs413) {
  ConnectionHarness h;
  h.info().limits.max_body_bytes = 10;
  const std::string answer =
      Text("413 Payload Too Large", "Connection: close\r\n",
           "the body is too large\n");
  EXPECT_EQ(Exchange(h, Post("0123456789a")), answer);
  ExpectPoliteEnd(h);

  ConnectionHarness chunked;
  chunked.info().limits.max_body_bytes = 10;
  EXPECT_EQ(Exchange(chunked,
                     "POST /echo HTTP/1.1\r\nHost: a\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"
                     "8\r\n12345678\r\n3\r\nabc\r\n"),
            answer);
  ExpectPoliteEnd(chunked);
}

TEST(ConnectionTest, HeaderOverTheLimitIs431) {
  ConnectionHarness h;
  h.info().limits.max_header_bytes = 100;
  EXPECT_EQ(
      Exchange(h, Get("/healthz",
                      absl::StrCat("A: ", std::string(200, 'x'), "\r\n"))),
      Text("431 Request Header Fields Too Large", "Connection: close\r\n",
           "the header is too large\n"));
  ExpectPoliteEnd(h);
}

const std::string& TimedOut() {
  static const auto* answer =
      new std::string(Text("408 Request Timeout", "Connection: close\r\n",
                           "the request did not come in time\n"));
  return *answer;
}

TEST(ConnectionTest, HeaderThatTricklesIs408) {
  ConnectionHarness h;
  h.info().limits.request_timeout = absl::Seconds(3);
  h.Sleep(absl::Seconds(10));  // idle: not yet part of the request
  for (absl::string_view piece : {"GET ", "/healthz ", "HTTP/1.1\r\n"}) {
    h.Send(piece);
    h.Run();
    h.Sleep(absl::Milliseconds(900));
    EXPECT_EQ(h.Receive(), "");
  }
  h.Sleep(absl::Milliseconds(300));
  EXPECT_EQ(h.Receive(), TimedOut());
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, BodyMayBeSlowButNotStall) {
  ConnectionHarness h;
  h.info().limits.request_timeout = absl::Seconds(3);
  h.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    h.Send("x");
    h.Run();
    h.Sleep(absl::Seconds(2));
    EXPECT_EQ(h.Receive(), "");
  }
  h.Sleep(absl::Seconds(1));
  EXPECT_EQ(h.Receive(), TimedOut());
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, RequestThatWaitsForASlowReaderIsNotLate) {
  ConnectionHarness h;
  h.ShrinkSocketBuffers();
  h.info().limits.request_timeout = absl::Seconds(3);
  const std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
  // The socket is full...
  while (h.connection().output().empty()) {
    h.Send(Get("/healthz"));
    h.Run();
  }
  // ...and so is the output, up to just where the answer to "Expect" is too
  // much: so that a request has begun while nothing is read.
  std::string requests;
  size_t pending = h.connection().output().size();
  const size_t least = Connection::kOutputBytes - go_on.size();
  // Answers of 66 and 88 bytes: all multiples of 22 beyond the first few.
  const size_t ok = Text("200 OK", "", "ok").size();
  const size_t none = Text("404 Not Found", "", "nothing is here\n").size();
  ASSERT_EQ(ok * 4, none * 3);
  for (size_t left = (least - pending + 21) / 22 * 22; left > 0;) {
    const bool even = left % ok == 0;
    requests += Get(even ? "/healthz" : "/nothing");
    left -= even ? ok : none;
  }
  requests +=
      "POST /echo HTTP/1.1\r\nHost: a\r\n"
      "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  h.Send(requests);
  h.Run();
  ASSERT_FALSE(h.connection().wants_read());
  h.Sleep(absl::Seconds(100));
  ASSERT_TRUE(h.open());
  std::string got;
  for (std::string more = h.Receive(); !more.empty(); more = h.Receive()) {
    got += more;
    h.Run();
  }
  EXPECT_TRUE(absl::EndsWith(got, go_on)) << Brief(got);
  // The body has its time from here.
  h.Sleep(absl::Seconds(2));
  EXPECT_EQ(h.Receive(), "");
  EXPECT_EQ(Exchange(h, "ab"), Bytes(2, "ab"));
}

TEST(ConnectionTest, IdleConnectionIsClosedInSilence) {
  ConnectionHarness h;
  h.Sleep(absl::Seconds(59));
  Exchange(h, Get("/healthz"));
  h.Sleep(absl::Seconds(59));
  EXPECT_TRUE(h.open());
  h.Sleep(absl::Seconds(1));
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kClose);
  EXPECT_EQ(h.Receive(), "");
}

TEST(ConnectionTest, AnswerThatNobodyReadsIsResetInTheEnd) {
  ConnectionHarness h;
  h.Send(Get("/stream?bytes=100000000"));
  h.Run();
  h.Sleep(absl::Seconds(119));
  ASSERT_TRUE(h.open());
  h.Receive(500'000);  // it reads: its time begins anew
  h.Run();
  h.Sleep(absl::Seconds(119));
  ASSERT_TRUE(h.open());
  h.Sleep(absl::Seconds(1));
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kReset);
}

TEST(ConnectionTest, DrainingClosesIdleConnectionsAndEndsTheOthersPolitely) {
  ConnectionHarness idle;
  Exchange(idle, Get("/healthz"));
  idle.Drain();
  EXPECT_EQ(idle.Receive(), "");
  ExpectPoliteEnd(idle);

  ConnectionHarness reading;
  reading.Send("GET /healthz HTTP/1.1\r\n");
  reading.Run();
  reading.Drain();
  EXPECT_EQ(
      Exchange(reading, "Host: a\r\n\r\n"),
      Text("503 Service Unavailable", "Connection: close\r\n", "draining"));
  ExpectPoliteEnd(reading);

  ConnectionHarness answering;
  answering.Send(Get("/stream?bytes=10&rate=10"));
  answering.Run();
  answering.Drain();
  answering.Sleep(absl::Seconds(1));
  EXPECT_EQ(answering.Receive(), Bytes(10, StreamOf(10)));
  answering.Receive();
  ExpectPoliteEnd(answering);
}

TEST(ConnectionTest, DrainingAnswersARequestThatHasArrivedUnread) {
  ConnectionHarness h;
  h.Send(Get("/healthz"));
  h.Drain();
  EXPECT_EQ(h.Receive(), Text("503 Service Unavailable",
                              "Connection: close\r\n", "draining"));
  h.Receive();
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, DrainingAnswersARequestThatCameBehindTheOneInFlight) {
  ConnectionHarness h;
  h.Send(Get("/stream?bytes=10&rate=10"));
  h.Run();
  h.Send(Get("/healthz"));
  h.Run();
  h.Drain();
  h.Sleep(absl::Seconds(1));
  EXPECT_EQ(h.Receive(),
            absl::StrCat(Bytes(10, StreamOf(10)),
                         Text("503 Service Unavailable",
                              "Connection: close\r\n", "draining")));
  h.Receive();
  ExpectPoliteEnd(h);
}

TEST(ConnectionTest, DrainingClosesAnIdleConnectionOfAClientThatHasEnded) {
  ConnectionHarness h;
  h.EndSending();
  h.Drain();
  EXPECT_FALSE(h.open());
  EXPECT_EQ(h.outcome(), Connection::Next::kClose);
}

TEST(ConnectionTest, ConnectionThatComesWhileDrainingMustAskSoon) {
  ConnectionHarness silent;
  silent.info().mode = Mode::kDraining;
  silent.Sleep(kDrainIdleTimeout - absl::Milliseconds(1));
  silent.Receive();
  EXPECT_FALSE(silent.ended());
  silent.Sleep(absl::Milliseconds(1));
  silent.Receive();
  EXPECT_TRUE(silent.ended()) << "no FIN";
  silent.Sleep(kDrainIdleTimeout);
  EXPECT_FALSE(silent.open()) << "it has got no answer to read";

  ConnectionHarness asking;
  asking.info().mode = Mode::kDraining;
  asking.Sleep(kDrainIdleTimeout / 2);
  EXPECT_EQ(
      Exchange(asking, Get("/healthz")),
      Text("503 Service Unavailable", "Connection: close\r\n", "draining"));
  asking.Sleep(kDrainIdleTimeout);
  asking.Receive();
  ExpectPoliteEnd(asking);
}

TEST(ConnectionTest, RetiringGivesOneMoreAnswer) {
  ConnectionHarness h;
  h.info().mode = Mode::kRetiring;
  EXPECT_EQ(Exchange(h, Get("/healthz")),
            Text("200 OK", "Connection: close\r\n", "ok"));
  ExpectPoliteEnd(h);
}

}  // namespace
}  // namespace handoff::server
