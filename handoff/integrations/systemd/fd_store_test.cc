#include "handoff/integrations/systemd/fd_store.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/integrations/systemd/fake_manager.h"
#include "handoff/integrations/systemd/notify_socket.h"

namespace handoff {
namespace {

class FdStoreTest : public testing::Test {
 protected:
  FdStoreTest()
      : address_(absl::StrCat("@fd-store-test-", ::getpid())),
        manager_(address_),
        store_(*NotifySocket::Open(address_), "test"),
        fd_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

  absl::Status Keep(bool connection = true) {
    return store_.Keep("~1", {fd_.get()}, connection);
  }
  // Takes the probe and the barrier, and keeps the first or does not.
  void TakeProbe(bool keep) {
    ReceivedMessage probe = manager_.Next();
    EXPECT_EQ(probe.bytes, "FDSTORE=1\nFDNAME=~-\nFDPOLL=0");
    ASSERT_EQ(probe.descriptors.size(), 1u);
    if (keep) kept_ = std::move(probe.descriptors[0]);
    EXPECT_FALSE(Keep().ok()) << "it cannot know yet";
    const ReceivedMessage barrier = manager_.Next();
    EXPECT_EQ(barrier.bytes, "BARRIER=1");
  }

  const std::string address_;
  FakeManager manager_;
  FdStore store_;
  const UniqueFd fd_;
  UniqueFd kept_;
};

TEST_F(FdStoreTest, WhatIsKeptAndForgottenIsSaidAsSystemdHasIt) {
  EXPECT_TRUE(absl::IsUnavailable(Keep()));
  TakeProbe(/*keep=*/true);
  EXPECT_TRUE(Keep().ok());
  EXPECT_EQ(manager_.Next().bytes, "FDSTOREREMOVE=1\nFDNAME=~-");
  const ReceivedMessage first = manager_.Next();
  EXPECT_EQ(first.bytes, "FDSTORE=1\nFDNAME=~1");
  EXPECT_EQ(first.descriptors.size(), 1u);
  EXPECT_TRUE(Keep(/*connection=*/false).ok());
  EXPECT_EQ(manager_.Next().bytes, "FDSTORE=1\nFDNAME=~1\nFDPOLL=0");
  EXPECT_TRUE(store_.Forget("~1").ok());
  EXPECT_EQ(manager_.Next().bytes, "FDSTOREREMOVE=1\nFDNAME=~1");
  EXPECT_TRUE(manager_.HasNone());
}

// As to a successor that is not the main process yet.
TEST_F(FdStoreTest, NothingIsSentToAManagerThatDropsIt) {
  for (int i = 0; i < 3; ++i) {
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (manager_.HasNone() && absl::Now() < deadline) {
      EXPECT_TRUE(
          absl::IsUnavailable(i % 2 == 0 ? Keep() : store_.Forget("~1")));
    }
    TakeProbe(/*keep=*/i == 2);
    if (i == 2) break;
    const absl::Status dropped = Keep();
    EXPECT_TRUE(absl::IsUnavailable(dropped));
    EXPECT_TRUE(absl::StrContains(dropped.message(), "NotifyAccess="))
        << dropped;
  }
  EXPECT_TRUE(Keep().ok());
  EXPECT_EQ(manager_.Next().bytes, "FDSTOREREMOVE=1\nFDNAME=~-");
  EXPECT_EQ(manager_.Next().bytes, "FDSTORE=1\nFDNAME=~1");
}

TEST_F(FdStoreTest, AManagerThatDoesNotReadIsAskedLater) {
  EXPECT_TRUE(absl::IsUnavailable(Keep()));
  TakeProbe(/*keep=*/true);
  absl::Status status;
  int sent = 0;
  while (status.ok() && sent < 100'000) {
    status = Keep();
    sent += status.ok();
  }
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(manager_.Next().bytes, "FDSTOREREMOVE=1\nFDNAME=~-");
  for (int i = 0; i < sent; ++i) manager_.Next();
  EXPECT_TRUE(Keep().ok());
}

TEST_F(FdStoreTest, WithoutAManagerThereIsNoStore) {
  ::unsetenv("NOTIFY_SOCKET");
  auto none = FdStore::FromEnvironment();
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
  ::setenv("NOTIFY_SOCKET", address_.c_str(), 1);
  auto store = FdStore::FromEnvironment();
  ASSERT_TRUE(store.ok());
  EXPECT_TRUE(absl::StrContains((*store)->Name(), address_));
  ::setenv("NOTIFY_SOCKET", "nonsense", 1);
  EXPECT_FALSE(FdStore::FromEnvironment().ok());
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace handoff
