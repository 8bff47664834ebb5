#include "handoff/store_shelf.h"

#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

// Remembers what it was asked, and takes no more than it is told to.
class FakeStore : public DescriptorStore {
 public:
  std::string Name() const override { return "fake"; }
  absl::Status Keep(absl::string_view name, absl::Span<const int> fds,
                    bool connection) override {
    if (patience-- <= 0) return absl::UnavailableError("full");
    if (name == refuses) return absl::InternalError("refused");
    said.push_back(absl::StrCat("keep ", name, " ", fds.size(),
                                connection ? " connection" : ""));
    held[std::string(name)] += fds.size();
    return absl::OkStatus();
  }
  absl::Status Forget(absl::string_view name) override {
    if (patience-- <= 0) return absl::UnavailableError("full");
    said.push_back(absl::StrCat("forget ", name));
    held.erase(std::string(name));
    return absl::OkStatus();
  }

  int patience = 1 << 20;
  std::string refuses;
  std::vector<std::string> said;
  std::map<std::string, size_t> held;
};

std::vector<SharedFd> Files(size_t count) {
  std::vector<SharedFd> fds;
  for (size_t i = 0; i < count; ++i) {
    fds.push_back(std::make_shared<UniqueFd>(::dup(0)));
  }
  return fds;
}

using Said = std::vector<std::string>;

TEST(StoreShelfTest, WhatIsWantedIsKeptOnceAndInOrder) {
  FakeStore store;
  StoreShelf shelf(&store, {});
  shelf.Want("b", Files(2), 1, true);
  shelf.Want("a", Files(1), 2, false);
  EXPECT_EQ(shelf.descriptors(), 3u);
  EXPECT_EQ(shelf.name_bytes(), 6u);
  EXPECT_TRUE(shelf.Contents().items().empty()) << "nothing is kept yet";
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_EQ(store.said, (Said{"keep b 2 connection", "keep a 1"}));
  EXPECT_EQ(shelf.Contents().items_size(), 2);
  shelf.Want("b", Files(2), 1, true);
  EXPECT_FALSE(shelf.busy());
  EXPECT_EQ(shelf.descriptors(), 3u);
}

TEST(StoreShelfTest, OtherDescriptorsOfANameReplaceTheOld) {
  FakeStore store;
  StoreShelf shelf(&store, {});
  shelf.Want("a", Files(2), 1, true);
  EXPECT_TRUE(shelf.Flush().ok());
  shelf.Want("a", Files(3), 2, true);
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_EQ(store.said,
            (Said{"keep a 2 connection", "forget a", "keep a 3 connection"}));
  EXPECT_EQ(shelf.descriptors(), 3u);
  shelf.Unwant("a");
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_TRUE(store.held.empty());
  EXPECT_TRUE(shelf.names().empty());
  EXPECT_EQ(shelf.descriptors(), 0u);
  EXPECT_EQ(shelf.name_bytes(), 0u);
}

TEST(StoreShelfTest, WhatWasNeverKeptIsNotForgotten) {
  FakeStore store;
  StoreShelf shelf(&store, {});
  shelf.Want("a", Files(1), 1, true);
  shelf.Unwant("a");
  shelf.Unwant("b");
  EXPECT_FALSE(shelf.busy());
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_TRUE(store.said.empty());
}

TEST(StoreShelfTest, AStoreThatIsFullIsAskedAgain) {
  FakeStore store;
  StoreShelf shelf(&store, {});
  for (int i = 0; i < 3 * StoreShelf::kMostAtOnce; ++i) {
    shelf.Want(absl::StrCat(i), Files(1), 1, true);
  }
  store.patience = 10;
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_EQ(store.held.size(), 10u);
  store.patience = 1 << 20;
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_EQ(store.held.size(), 10u + StoreShelf::kMostAtOnce);
  EXPECT_TRUE(shelf.busy());
  // A handoff begins: what is not kept is not asked for any more.
  shelf.DropRequests();
  EXPECT_FALSE(shelf.busy());
  EXPECT_EQ(shelf.Contents().items_size(), 10 + StoreShelf::kMostAtOnce);
  EXPECT_EQ(shelf.descriptors(), 10u + StoreShelf::kMostAtOnce);
}

TEST(StoreShelfTest, WhatTheStoreHasFromBeforeIsKnown) {
  v1::StoreContents holds;
  for (const auto& [name, fingerprint] :
       std::map<std::string, uint64_t>{{"same", 1}, {"other", 2}, {"old", 3}}) {
    holds.add_items()->set_name(name);
    holds.mutable_items()->rbegin()->set_fingerprint(fingerprint);
  }
  FakeStore store;
  StoreShelf shelf(&store, holds);
  shelf.Want("same", Files(1), 1, true);
  shelf.Want("other", Files(1), 9, true);
  shelf.Unwant("old");
  EXPECT_TRUE(shelf.Flush().ok());
  EXPECT_EQ(store.said,
            (Said{"forget other", "keep other 1 connection", "forget old"}));
}

TEST(StoreShelfTest, WhatTheStoreRefusesIsGivenUp) {
  FakeStore store;
  store.refuses = "a";
  StoreShelf shelf(&store, {});
  shelf.Want("a", Files(1), 1, true);
  shelf.Want("b", Files(1), 1, true);
  EXPECT_EQ(shelf.Flush().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(shelf.busy());
  EXPECT_EQ(shelf.descriptors(), 1u);
  EXPECT_EQ(shelf.names(), std::vector<std::string>{"b"});
}

TEST(StoreShelfTest, ASessionsNameLeadsBackToItsId) {
  for (const uint64_t id :
       {uint64_t{0}, uint64_t{35}, (uint64_t{1} << 40) + 1, UINT64_MAX}) {
    EXPECT_EQ(StoredSessionOf(StoredSessionName(id)), id);
  }
  EXPECT_LE(StoredSessionName((uint64_t{1} << 40) + 5000).size(), 9u);
  for (const char* name : {"", "~", "~01", "~A", "a1", "~1.2", "~log-1",
                           "~zzzzzzzzzzzzz", "~3w5e11264sgsg"}) {
    EXPECT_FALSE(StoredSessionOf(name).has_value()) << name;
  }
  EXPECT_TRUE(IsStoredLogName(StoredLogName(7)));
  EXPECT_FALSE(StoredSessionOf(StoredLogName(7)).has_value());
}

TEST(StoreShelfTest, NamesThatAStoreCannotHaveAreRefused) {
  EXPECT_TRUE(CheckStorable("http").ok());
  EXPECT_TRUE(CheckStorable(std::string(255, 'x')).ok());
  for (const std::string& name :
       {std::string(), std::string("a:b"), std::string("~a"),
        std::string("a\nb"), std::string("\xc3\xa9"), std::string(256, 'x')}) {
    EXPECT_FALSE(CheckStorable(name).ok()) << name;
  }
}

}  // namespace
}  // namespace handoff
