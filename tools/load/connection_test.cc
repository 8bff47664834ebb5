#include "tools/load/connection.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "tools/load/descriptor.h"
#include "tools/load/event_loop.h"
#include "tools/load/kept_connection.h"
#include "tools/load/pattern.h"
#include "tools/load/tally.h"
#include "tools/load/whoami.h"

namespace handoff::load {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);

class Client : public Connection::Owner {
 public:
  void OnChecked(uint64_t bytes) override { checked += bytes; }
  void OnAnswer(const std::string& text) override { answers.push_back(text); }
  void OnFailure(const std::string& why) override { failure = why; }

  uint64_t checked = 0;
  std::vector<std::string> answers;
  std::string failure;
};

// The test is the server, and writes its side of the conversation out.
class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() {
    listener_ = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    EXPECT_EQ(bind(listener_.get(), address, size), 0);
    EXPECT_EQ(listen(listener_.get(), 10), 0);
    EXPECT_EQ(getsockname(listener_.get(), address, &size), 0);
  }

  void Connect(const Exchange& exchange, size_t hold = 0) {
    ASSERT_TRUE(connection_.Open(address_, false).ok());
    connection_.Start(exchange, absl::ZeroDuration(), hold);
    Accept();
  }
  void Accept() {
    peer_ =
        Descriptor(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    ASSERT_TRUE(peer_.valid());
  }

  void Until(const char* what, const std::function<bool()>& done) {
    const absl::Time deadline = MonotonicNow() + kTimeout;
    while (!done()) {
      ASSERT_LT(MonotonicNow(), deadline) << "waited in vain for " << what;
      loop_.Poll(absl::Milliseconds(10));
    }
  }
  // What the server has of the request, once it is `size` bytes.
  std::string Request(size_t size) {
    std::string text;
    Until("the request", [&] {
      std::array<char, 4096> buffer;
      const ssize_t count = recv(peer_.get(), buffer.data(), buffer.size(), 0);
      if (count > 0) text.append(buffer.data(), count);
      return text.size() >= size;
    });
    return text;
  }
  void Answer(absl::string_view text) {
    ASSERT_EQ(send(peer_.get(), text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
  }
  void AnswerBody(absl::string_view body) {
    Answer(absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(),
                        "\r\n\r\n", body));
  }

  sockaddr_in address_ = {};
  Descriptor listener_;
  Descriptor peer_;
  EventLoop loop_;
  Client client_;
  Connection connection_{&loop_, &client_};
};

TEST_F(ConnectionTest, MakesOneExchangeAfterTheOther) {
  Connect(Whoami());
  EXPECT_EQ(Request(Whoami().request.size()), Whoami().request);
  EXPECT_FALSE(connection_.mid_answer());
  Answer("HTTP/1.1 200 OK\r\nConte");
  Until("the answer's start", [&] { return connection_.mid_answer(); });
  Answer("nt-Length: 2\r\n\r\nhi");
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_FALSE(connection_.mid_answer());
  EXPECT_TRUE(connection_.idle());

  const Exchange echo = Echo(5, 3000, true);
  connection_.Start(echo, absl::Milliseconds(1));
  EXPECT_EQ(Request(echo.request.size()), echo.request);
  AnswerBody(Pattern(5, 3000));
  Until("the answer", [&] { return client_.answers.size() == 2; });
  EXPECT_EQ(client_.answers, (std::vector<std::string>{"hi", ""}));
  EXPECT_EQ(client_.checked, 3002U);
  EXPECT_EQ(connection_.begun(), 2U);
  EXPECT_EQ(client_.failure, "");
}

TEST_F(ConnectionTest, HoldsARequestUntilItIsReleased) {
  Connect(Whoami(), 9);
  Until("the hold", [&] { return connection_.held(); });
  EXPECT_TRUE(connection_.mid_request());
  EXPECT_EQ(Request(9), Whoami().request.substr(0, 9));
  connection_.Release();
  EXPECT_FALSE(connection_.mid_request());
  EXPECT_EQ(Request(Whoami().request.size() - 9), Whoami().request.substr(9));
}

TEST_F(ConnectionTest, SendsInPieces) {
  Exchange exchange = Echo(0, 500, false);
  exchange.send_piece = 100;
  exchange.send_interval = absl::Milliseconds(1);
  Connect(exchange);
  Until("the first piece", [&] { return connection_.mid_request(); });
  EXPECT_EQ(Request(exchange.request.size()), exchange.request);
  EXPECT_FALSE(connection_.mid_request());
}

TEST_F(ConnectionTest, ReadsInPieces) {
  Exchange exchange = Echo(0, 500, false);
  exchange.read_piece = 50;
  exchange.read_interval = absl::Milliseconds(1);
  Connect(exchange);
  Request(exchange.request.size());
  AnswerBody(Pattern(0, 500));
  Until("the first piece", [&] { return connection_.mid_answer(); });
  EXPECT_LE(client_.checked, 50U);
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_EQ(client_.checked, 500U);
}

TEST_F(ConnectionTest, MeasuresTheWaitForAnAnswer) {
  Connect(Whoami());
  Request(Whoami().request.size());
  poll(nullptr, 0, 30);
  AnswerBody("hi");
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_GE(connection_.waits().answer, absl::Milliseconds(30));
}

TEST_F(ConnectionTest, MeasuresAStallWithinAnAnswer) {
  Connect(Whoami());
  Request(Whoami().request.size());
  Answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh");
  Until("the answer's start", [&] { return connection_.mid_answer(); });
  poll(nullptr, 0, 30);
  Answer("i");
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_GE(connection_.waits().answer, absl::Milliseconds(30));
}

TEST_F(ConnectionTest, ASlowReadersOwnPausesAreNoStall) {
  Exchange exchange = Echo(0, 100, false);
  exchange.read_piece = 90;
  exchange.read_interval = absl::Seconds(1);
  Connect(exchange);
  Request(exchange.request.size());
  AnswerBody(Pattern(0, 100));
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_LT(connection_.waits().answer, exchange.read_interval);
}

TEST_F(ConnectionTest, MeasuresFromTheAttemptToConnect) {
  ASSERT_TRUE(connection_.Open(address_, false).ok());
  poll(nullptr, 0, 30);
  connection_.Start(Whoami(), absl::ZeroDuration());
  Accept();
  Request(Whoami().request.size());
  AnswerBody("hi");
  Until("the answer", [&] { return !client_.answers.empty(); });
  EXPECT_GE(connection_.waits().since_open, absl::Milliseconds(30));
}

TEST_F(ConnectionTest, AwaitsTheCloseThatWasAskedFor) {
  Connect(HealthOnce());
  Request(HealthOnce().request.size());
  Answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  Until("the body", [&] { return client_.checked == 2; });
  EXPECT_TRUE(client_.answers.empty());
  peer_.Reset();
  Until("the end", [&] { return !client_.answers.empty(); });
  EXPECT_EQ(client_.failure, "");
}

TEST_F(ConnectionTest, AnyOtherCloseIsAFailure) {
  Connect(Whoami());
  Request(Whoami().request.size());
  peer_.Reset();
  Until("the failure", [&] { return !client_.failure.empty(); });
  EXPECT_TRUE(absl::StartsWith(client_.failure, "the server closed"))
      << client_.failure;
  EXPECT_FALSE(connection_.is_open());
}

TEST_F(ConnectionTest, ACloseBetweenTwoExchangesIsAFailure) {
  Connect(Whoami());
  Request(Whoami().request.size());
  AnswerBody("hi");
  peer_.Reset();
  Until("the failure", [&] { return !client_.failure.empty(); });
  EXPECT_EQ(client_.answers.size(), 1U);
}

TEST_F(ConnectionTest, BytesThatNothingAskedForAreAFailure) {
  Connect(Whoami(), 9);
  Until("the hold", [&] { return connection_.held(); });
  AnswerBody("hi");
  Until("the failure", [&] { return !client_.failure.empty(); });
  EXPECT_TRUE(absl::StrContains(client_.failure, "nothing asked for"))
      << client_.failure;
}

TEST_F(ConnectionTest, AWrongByteIsAFailure) {
  const Exchange echo = Echo(0, 10, false);
  Connect(echo);
  Request(echo.request.size());
  AnswerBody(Pattern(1, 10));
  Until("the failure", [&] { return !client_.failure.empty(); });
  EXPECT_TRUE(absl::StrContains(client_.failure, "byte 0 of the body"))
      << client_.failure;
}

class KeptConnectionTest : public ConnectionTest {
 protected:
  KeptConnectionTest() {
    generations_.Expect(10);
    EXPECT_TRUE(generations_.Confirm(10).ok());
  }

  void Open() {
    ASSERT_TRUE(kept_.Open(address_).ok());
    Accept();
  }
  // The server's answer to the next request, which has to be /whoami.
  void Say(int pid, int id, int requests, int handoffs) {
    EXPECT_EQ(Request(Whoami().request.size()), Whoami().request);
    const uint64_t before = tally_.requests_ok + tally_.requests_failed;
    AnswerBody(absl::StrCat("{\"pid\": ", pid, ", \"id\": ", id,
                            ", \"requests\": ", requests,
                            ", \"handoffs\": ", handoffs, "}"));
    Until("the answer",
          [&] { return tally_.requests_ok + tally_.requests_failed > before; });
  }
  void HandOver(int pid) {
    generations_.Expect(pid);
    ASSERT_TRUE(generations_.Confirm(pid).ok());
    kept_.OnServes();
  }

  Generations generations_;
  Tally tally_;
  KeptConnection kept_{Kind::kIdle, 1, &loop_, &generations_, &tally_};
};

TEST_F(KeptConnectionTest, IsKeptIfEachProcessHasAnsweredAsItHasTo) {
  Open();
  EXPECT_FALSE(kept_.proven());
  Say(10, 7, 1, 0);
  EXPECT_TRUE(kept_.proven());
  HandOver(20);
  EXPECT_FALSE(kept_.proven());
  Say(20, 7, 2, 1);
  EXPECT_TRUE(kept_.proven());
  kept_.WindDown();
  Say(20, 7, 3, 1);
  EXPECT_TRUE(kept_.kept());
  EXPECT_EQ(tally_.requests_ok, 3U);
  EXPECT_TRUE(tally_.problems.empty()) << tally_.problems[0].text;
}

TEST_F(KeptConnectionTest, IsLostIfAProcessHasNotAnswered) {
  Open();
  Say(10, 7, 1, 0);
  generations_.Expect(20);
  ASSERT_TRUE(generations_.Confirm(20).ok());
  HandOver(30);
  kept_.WindDown();
  Say(30, 7, 2, 2);
  Say(30, 7, 3, 2);
  EXPECT_FALSE(kept_.kept());
  EXPECT_TRUE(kept_.lost());
}

TEST_F(KeptConnectionTest, IsLostIfTheServerMixesItUp) {
  // pid, id, requests, handoffs; right would be 20, 7, 2, 1.
  for (const auto& [pid, id, requests, handoffs] :
       std::vector<std::array<int, 4>>{{30, 7, 2, 1},
                                       {20, 8, 2, 1},
                                       {20, 7, 1, 1},
                                       {20, 7, 3, 1},
                                       {20, 7, 2, 0},
                                       {20, 7, 2, 2}}) {
    Generations generations;
    generations.Expect(10);
    ASSERT_TRUE(generations.Confirm(10).ok());
    KeptConnection kept(Kind::kIdle, 1, &loop_, &generations, &tally_);
    ASSERT_TRUE(kept.Open(address_).ok());
    Accept();
    Say(10, 7, 1, 0);
    generations.Expect(20);
    ASSERT_TRUE(generations.Confirm(20).ok());
    kept.OnServes();
    Say(pid, id, requests, handoffs);
    EXPECT_TRUE(kept.lost())
        << pid << " " << id << " " << requests << " " << handoffs;
  }
}

TEST_F(KeptConnectionTest, IsCutIfBothTimesItIsWithinTheSameMessage) {
  Open();
  Request(Whoami().request.size());
  kept_.BeforeHandoff();
  EXPECT_FALSE(kept_.WasCut()) << "between the request and the answer";
  Answer("HTTP/1.1 200 OK\r\n");
  Until("the answer's start", [&] {
    kept_.BeforeHandoff();
    return kept_.WasCut();
  });
  Answer(
      "Content-Length: 53\r\n\r\n"
      "{\"pid\": 10, \"id\": 7, \"requests\": 1, \"handoffs\": 0   }");
  Until("the answer", [&] { return tally_.requests_ok == 1; });
  EXPECT_FALSE(kept_.WasCut()) << "the message is complete";
}

}  // namespace
}  // namespace handoff::load
