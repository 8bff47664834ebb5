// The server with a listener for each worker, and how it comes to have one.

#include <arpa/inet.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

// So many that each of four listeners gets some.
constexpr int kMany = 200;

class ShardedTest : public Served {
 protected:
  void StartWith(int workers, bool sharded) {
    Start({absl::StrCat("--workers=", workers),
           absl::StrCat("--sharded=", sharded ? "true" : "false")});
  }
  // How many sockets listen at the port.
  int Listeners() const {
    const std::string end =
        absl::StrFormat(":%04X", ntohs(line().http.sin_port));
    std::ifstream table("/proc/net/tcp");
    int listeners = 0;
    for (std::string line; std::getline(table, line);) {
      std::istringstream words(line);
      std::string slot, local, remote, state;
      words >> slot >> local >> remote >> state;
      listeners += state == "0A" && absl::EndsWith(local, end) ? 1 : 0;
    }
    return listeners;
  }
  // Where a listener had no worker, some would not be.
  void NewClientsAreAnswered() {
    for (int i = 0; i < kMany; ++i) {
      Client client(line());
      client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
      ASSERT_EQ(client.ReadResponse().body, "ok") << "connection " << i;
    }
  }
};

TEST_F(ShardedTest, ItsListenersAreHandedOverToAsManyWorkersAsThereAre) {
  StartWith(2, true);
  Client stays(line());
  EXPECT_EQ(Listeners(), 2);
  int expected = 2;
  for (const int workers : {4, 1, 3, 4}) {
    StartWith(workers, true);
    expected = std::max(expected, workers);
    EXPECT_EQ(Listeners(), expected);
    ASSERT_NO_FATAL_FAILURE(NewClientsAreAnswered());
    stays.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_EQ(stays.ReadResponse().body, "ok");
  }
}

TEST_F(ShardedTest, TheFlagComesAndGoesWithAHandoff) {
  StartWith(3, false);
  EXPECT_EQ(Listeners(), 1);
  ASSERT_NO_FATAL_FAILURE(NewClientsAreAnswered());
  StartWith(3, true);
  EXPECT_EQ(Listeners(), 3);
  ASSERT_NO_FATAL_FAILURE(NewClientsAreAnswered());
  StartWith(2, false);
  EXPECT_EQ(Listeners(), 3) << "all workers share them";
  ASSERT_NO_FATAL_FAILURE(NewClientsAreAnswered());
}

}  // namespace
}  // namespace handoff::server
