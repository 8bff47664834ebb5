// The server under somebody who keeps its fd store, and starts it again.

#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/process/store_manager.h"
#include "tests/process/toy_process.h"

namespace handoff::server {
namespace {

using toy::ShortFolder;
using toy::StoreManager;
using toy::ToyClient;
using toy::ToyProcess;

// Of "ready pid=P generation=G http=127.0.0.1:PORT".
struct Ready {
  std::string generation;
  int port = 0;
};

Ready WaitReady(ToyProcess& server) {
  const std::string line = server.WaitFor("ready ");
  Ready ready;
  const size_t generation = line.find("generation=");
  const size_t port = line.rfind(':');
  if (generation == std::string::npos || port == std::string::npos) {
    ADD_FAILURE() << server.Said();
    return ready;
  }
  ready.generation = line.substr(generation + 11, 1);
  EXPECT_TRUE(absl::SimpleAtoi(line.substr(port + 1), &ready.port)) << line;
  return ready;
}

// The body's one line, of an answer with such a body.
std::string Answer(ToyClient& client) {
  std::string status = client.Line();
  if (!absl::StartsWith(status, "HTTP/1.1 200")) return status;
  for (std::string line = client.Line(); line != "\r"; line = client.Line()) {
    if (absl::StartsWith(line, "<")) return line;
  }
  return client.Line();
}

std::string WhoAmI(ToyClient& client) {
  client.Send("GET /whoami HTTP/1.1\r\nHost: x\r\n\r\n");
  return Answer(client);
}

TEST(FdStoreTest, ConnectionsAndAnUploadInTheMiddleLiveThroughAKill) {
  ShortFolder folder;
  StoreManager manager;
  const std::vector<std::string> words = {
      "server/handoff_server", "--http=tcp:127.0.0.1:0",
      "--handoff=" + (folder / "h"), "--fd_store=100", "--idle_timeout=10m"};
  auto first = manager.StartProgram(words);
  const Ready before = WaitReady(*first);
  ASSERT_NE(before.port, 0);
  std::vector<std::unique_ptr<ToyClient>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<ToyClient>(before.port));
    EXPECT_TRUE(absl::StrContains(WhoAmI(*clients.back()), "\"requests\":1"));
  }
  // More than a connection holds in memory, so some of it is in a file; and the
  // last half is never sent before the kill.
  std::string body;
  while (body.size() < 200'000) absl::StrAppend(&body, body.size(), "-");
  body += "\n";
  ToyClient upload(before.port);
  upload.Send(absl::StrCat(
      "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ", body.size(),
      "\r\n\r\n", body.substr(0, body.size() / 2)));
  ASSERT_TRUE(manager.WaitCurrent(11));
  first->Signal(SIGKILL);
  ASSERT_EQ(first->WaitExit(), -SIGKILL);

  auto second = manager.StartProgram(words);
  const Ready after = WaitReady(*second);
  EXPECT_EQ(after.port, before.port);
  EXPECT_EQ(after.generation, "2");
  for (auto& client : clients) {
    const std::string who = WhoAmI(*client);
    EXPECT_TRUE(absl::StrContains(who, "\"requests\":2") &&
                absl::StrContains(who, absl::StrCat("\"pid\":", second->pid())))
        << who;
  }
  upload.Send(body.substr(body.size() / 2));
  EXPECT_TRUE(Answer(upload) + "\n" == body) << "other bytes came back";
  ASSERT_TRUE(manager.WaitCurrent(11));

  second->Signal(SIGTERM);
  EXPECT_EQ(second->WaitExit(), 0);
  EXPECT_TRUE(manager.WaitEmpty());
}

}  // namespace
}  // namespace handoff::server
