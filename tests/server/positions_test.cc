// A connection is handed over wherever it stands: each position, with the real
// server, and every byte of the answers.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

class PositionsTest : public Served {};

// Requests whose answers do not depend on who gives them, and those answers'
// bodies in order.
struct Exchange {
  std::string request;
  std::vector<std::string> bodies;
};

std::vector<Exchange> Exchanges() {
  return {
      {"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: 0123456789\r\n\r\n",
       {"ok"}},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello "
       "world",
       {"hello world"}},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
       "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n",
       {"hello world"}},
      {"GET /stream?bytes=100 HTTP/1.1\r\nHost: a\r\n\r\n"
       "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
       "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
       {StreamBytes(100), "abc", "ok"}},
  };
}

TEST_F(PositionsTest, EveryByteOfARequestIsAPlaceToCut) {
  Start({"--workers=2"});
  std::vector<std::pair<Client, std::pair<Exchange, size_t>>> cut;
  for (const Exchange& exchange : Exchanges()) {
    for (size_t at = 1; at < exchange.request.size(); ++at) {
      cut.emplace_back(Client(line()), std::make_pair(exchange, at));
      cut.back().first.Send(exchange.request.substr(0, at));
    }
  }
  for (auto& [client, what] : cut) client.AwaitSent();
  // Each loop has looked at what came before these, once it has answered them.
  for (int i = 0; i < 8; ++i) {
    Client probe(line());
    probe.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_EQ(probe.ReadResponse().status, 200);
  }
  // Two handoffs between the halves, to more workers and to fewer.
  Start({"--workers=3"});
  Start({"--workers=1"});
  for (auto& [client, what] : cut) {
    const auto& [exchange, at] = what;
    client.Send(exchange.request.substr(at));
    for (const std::string& body : exchange.bodies) {
      const Client::Response response = client.ReadResponse();
      ASSERT_EQ(response.status, 200)
          << "cut at " << at << " of " << exchange.request;
      ASSERT_EQ(response.body, body)
          << "cut at " << at << " of " << exchange.request;
    }
  }
  // And each is a connection like any other.
  for (auto& [client, what] : cut) {
    client.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
    const Client::Response who = client.ReadResponse();
    ASSERT_TRUE(absl::StrContains(who.body, "\"handoffs\":2") ||
                absl::StrContains(who.body, "\"handoffs\": 2"))
        << who.body;
  }
}

TEST_F(PositionsTest, AnAnswerHalfWrittenToASlowReader) {
  constexpr size_t kSize = 40'000'000;  // more than both sockets hold
  Start();
  Client slow(line());
  slow.Send(absl::StrCat("GET /stream?bytes=", kSize,
                         " HTTP/1.1\r\nHost: a\r\n\r\n"));
  std::string got = slow.Read(100'000);
  Start();
  got += slow.Read(1'000'000);
  Start();
  const size_t head = got.find("\r\n\r\n") + 4;
  got += slow.Read(head + kSize - got.size());
  ASSERT_EQ(got.size(), head + kSize);
  EXPECT_EQ(got.substr(head), StreamBytes(kSize));
}

TEST_F(PositionsTest, AStreamInFlightAndAClientThatHasSaidEverything) {
  Start();
  Client paced(line());
  paced.Send("GET /stream?bytes=30000&rate=3000 HTTP/1.1\r\nHost: a\r\n\r\n");
  Client half_closed(line());
  half_closed.Send(
      "GET /stream?bytes=30000&rate=3000 HTTP/1.1\r\nHost: a\r\n\r\n");
  half_closed.HalfClose();
  EXPECT_EQ(paced.Read(15), "HTTP/1.1 200 OK");
  const absl::Time begun = absl::Now();
  Start();
  Start();
  // Ten seconds at this rate: both were cut in their middle.
  ASSERT_LT(absl::Now() - begun, absl::Seconds(9)) << "too slow to tell";
  for (Client* client : {&paced, &half_closed}) {
    const Client::Response response = client->ReadResponse();
    EXPECT_EQ(response.body, StreamBytes(30000));
  }
  EXPECT_EQ(half_closed.Read(1), "") << "the server ends it after the answer";
}

TEST_F(PositionsTest, HalfALargeBodyAndItsEcho) {
  constexpr size_t kSize = 8'000'000;
  const std::string body = StreamBytes(kSize);
  Start();
  Client client(line());
  client.Send(absl::StrCat("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: ",
                           kSize, "\r\n\r\n"));
  client.Send(body.substr(0, 3'000'000));
  Start();
  client.Send(body.substr(3'000'000, 2'000'000));
  Start({"--max_state_version=1"});  // an older release
  client.Send(body.substr(5'000'000));
  std::string got = client.Read(200'000);  // half of the answer
  Start();
  const size_t head = got.find("\r\n\r\n") + 4;
  got += client.Read(head + kSize - got.size());
  EXPECT_EQ(got.substr(head), body);
}

TEST_F(PositionsTest, ContinueIsSaidOnceOverAHandoff) {
  Start();
  Client client(line());
  client.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
      "Expect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().status, 100);
  Start();
  client.Send("hello");
  const Client::Response response = client.ReadResponse();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
}

TEST_F(PositionsTest, TenGenerationsStartedSeparatelyAndBySigusr2) {
  Start();
  Client client(line());
  std::string id;
  for (int generation = 1; generation <= 10; ++generation) {
    const pid_t before = serving();
    if (generation > 1) {
      if (generation % 2 == 0) {
        ReplaceBinary();
        Upgrade();
      } else {
        Start();
      }
      EXPECT_EQ(ExitCode(before), 0);
    }
    EXPECT_EQ(line().generation, static_cast<uint64_t>(generation));
    client.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
    const std::string who = client.ReadResponse().body;
    EXPECT_TRUE(absl::StrContains(who, absl::StrCat("\"pid\":", serving(), ",")))
        << who;
    const size_t at = who.find("\"id\"");
    ASSERT_NE(at, std::string::npos) << who;
    const std::string now = who.substr(at, who.find(',', at) - at);
    if (id.empty()) id = now;
    EXPECT_EQ(now, id) << "a connection keeps its id";
  }
}

}  // namespace
}  // namespace handoff::server
