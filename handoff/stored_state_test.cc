#include "handoff/stored_state.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/fd_table.h"
#include "handoff/store_shelf.h"

namespace handoff {
namespace {

// What a store would give back, and the other ends of it.
class StoredStateTest : public testing::Test {
 protected:
  StoredStateTest()
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(::listen(listener_.get(), 16), 0);
    options_.path = "/run/chat/handoff";
    options_.state_types = {{"chat", 1, 2, nullptr}, {"total", 1, 1, nullptr}};
    NewLog(1);
    v1::StoredEntry process;
    process.mutable_process()->set_pid(4711);
    for (const char* type : {"chat", "total"}) {
      process.mutable_process()->add_writes()->set_name(type);
      process.mutable_process()->mutable_writes()->rbegin()->set_version(1);
    }
    Put("process", process);
  }

  void NewLog(uint64_t made_at, uint32_t attempts = 0) {
    log_ = *StoreLog::Create({attempts, 5, made_at});
  }
  void Put(const std::string& key, const v1::StoredEntry& entry) {
    log_->Put(key, entry);
    entries_.push_back(entry);
  }

  static UniqueFd Copy(int fd) {
    return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  }
  void Give(const std::string& name, int fd) {
    options_.given.push_back({name, std::make_shared<UniqueFd>(Copy(fd))});
  }
  void GiveLog() {
    ASSERT_TRUE(log_->Commit().ok());
    Give(StoredLogName(log_->made_at()), log_->fd()->get());
  }

  // A connection of the service's, which is both in the log and given; its
  // client is clients_.back().
  v1::StoredEntry AddSession(uint64_t id) {
    sockaddr_in address = {};
    socklen_t size = sizeof(address);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address),
                  &size);
    clients_.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(clients_.back().get(),
                        reinterpret_cast<sockaddr*>(&address), size),
              0);
    served_.emplace_back(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(::send(served_.back().get(), "hello", 5, 0), 5);
    char hello[5];
    EXPECT_EQ(::recv(clients_.back().get(), hello, 5, MSG_WAITALL), 5);
    v1::StoredEntry entry;
    v1::SessionRecord& record = *entry.mutable_session()->mutable_record();
    record.set_id(id);
    record.set_type("chat");
    v1::SessionDescriptor* d = record.add_descriptors();
    d->set_name("client");
    d->set_input("half a li");
    *d->mutable_counters() = *ReadTcpCounters(served_.back().get());
    *entry.mutable_session()->add_descriptors() =
        *DescribeDescriptor(served_.back().get());
    Put(absl::StrCat("session ", id), entry);
    Give(StoredSessionName(id), served_.back().get());
    return entry;
  }
  void AddListener(const std::string& name) {
    v1::StoredEntry entry;
    entry.mutable_named()->mutable_entry()->set_role(v1::Descriptors::LISTENER);
    entry.mutable_named()->mutable_entry()->set_name(name);
    *entry.mutable_named()->mutable_info() =
        *DescribeDescriptor(listener_.get());
    Put("named " + name, entry);
    Give(name, listener_.get());
  }

  // As the process dies: only the store's copies are left.
  std::unique_ptr<StoredState> Take() {
    served_.clear();
    UniqueFd handoff_listener(
        ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    auto stored = TakeStored(options_, handoff_listener);
    EXPECT_EQ(handoff_listener.valid(), !stored->adopts);
    return stored;
  }
  static bool IsReset(int client) {
    char byte;
    return ::recv(client, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
  }
  static std::string Reason(const StoredState& stored, uint64_t id) {
    const auto it = stored.lost.find(id);
    return it == stored.lost.end() ? "not lost" : it->second.reason;
  }
  static std::string Notes(const StoredState& stored) {
    return absl::StrJoin(stored.notes, "\n");
  }

  Options options_;
  UniqueFd listener_;
  std::unique_ptr<StoreLog> log_;
  std::vector<v1::StoredEntry> entries_;
  std::vector<UniqueFd> clients_;
  std::vector<UniqueFd> served_;
};

TEST_F(StoredStateTest, NothingIsAdoptedWhereNothingWasStored) {
  Give("http", listener_.get());
  const auto stored = Take();
  EXPECT_FALSE(stored->adopts);
  EXPECT_TRUE(stored->notes.empty()) << Notes(*stored);
  EXPECT_TRUE(options_.given[0].fd->valid()) << "it is for Listen()";
}

TEST_F(StoredStateTest, WhatWasStoredIsAdopted) {
  AddListener("http");
  AddSession(7);
  v1::StoredEntry blob;
  blob.mutable_blob()->set_name("total");
  blob.mutable_blob()->mutable_value()->set_value("x");
  Put("blob", blob);
  GiveLog();
  const auto stored = Take();
  ASSERT_TRUE(stored->adopts);
  EXPECT_TRUE(stored->notes.empty()) << Notes(*stored);
  ASSERT_EQ(stored->inventory.named().size(), 2u);
  EXPECT_EQ(stored->inventory.named()[0].address, "/run/chat/handoff");
  EXPECT_EQ(stored->inventory.named()[1].name, "http");
  ASSERT_EQ(stored->inventory.sessions().count(7), 1u);
  EXPECT_EQ(stored->inventory.sessions()[7].record.descriptors(0).input(),
            "half a li");
  EXPECT_EQ(stored->inventory.blobs().count("total"), 1u);
  EXPECT_TRUE(stored->lost.empty());
  EXPECT_EQ(stored->pid, 4711);
  EXPECT_EQ(stored->head.generation, 5u);
  EXPECT_EQ(stored->head.attempts, 1u);
  EXPECT_EQ(ReadStoreLog(log_->fd()->get(), 1 << 20)->head.attempts, 1u)
      << "the next one must know that this one has begun";
  EXPECT_EQ(stored->versions.at("chat"), 1u);
  EXPECT_EQ(stored->holds.items_size(), 3) << "log, listener, session";
}

TEST_F(StoredStateTest, WhatIsNotAsItWasStoredIsReset) {
  AddSession(1);
  EXPECT_EQ(::send(served_[0].get(), "more", 4, 0), 4);
  AddSession(2);
  options_.given.pop_back();  // it hung up, and the store let go of it
  AddSession(3);
  AddSession(4);
  // Under a name that is another one's.
  std::swap(options_.given[1].name, options_.given[2].name);
  AddSession(5);
  ResetConnection(served_[4].get());
  AddSession(6);
  v1::StoredEntry ended;
  ended.set_ended(6);
  log_->Erase("session 6", ended);
  AddSession(8);
  Give("~9", listener_.get());
  GiveLog();
  const auto stored = Take();
  ASSERT_TRUE(stored->adopts);
  EXPECT_EQ(Reason(*stored, 1), "it was touched since it was stored");
  for (const uint64_t id : {2, 3, 4, 5}) {
    EXPECT_EQ(Reason(*stored, id), "its connection has ended meanwhile") << id;
  }
  EXPECT_EQ(Reason(*stored, 6), "its state was not stored yet, or had ended");
  EXPECT_EQ(Reason(*stored, 9), "its state was not stored yet, or had ended");
  EXPECT_EQ(stored->inventory.sessions().size(), 1u);
  char bytes[4];
  EXPECT_EQ(::recv(clients_[0].get(), bytes, 4, MSG_WAITALL), 4);
  for (const size_t i : {0, 2, 3, 4, 5}) {
    EXPECT_TRUE(IsReset(clients_[i].get())) << "client " << i;
  }
  EXPECT_FALSE(IsReset(clients_[6].get()));
}

TEST_F(StoredStateTest, WhoeverDiedOfItTwiceIsGivenNoSessions) {
  AddListener("http");
  AddSession(7);
  ASSERT_TRUE(log_->SetAttempts(StoredState::kMaxAttempts).ok());
  GiveLog();
  const auto stored = Take();
  ASSERT_TRUE(stored->adopts);
  EXPECT_EQ(stored->inventory.named().size(), 2u);
  EXPECT_TRUE(stored->inventory.sessions().empty());
  EXPECT_EQ(Reason(*stored, 7), "who adopted it before has died");
  EXPECT_TRUE(IsReset(clients_[0].get()));
  EXPECT_EQ(stored->head.attempts, 0u) << "of what this one stores itself";
  EXPECT_TRUE(absl::StrContains(Notes(*stored), "2 processes in a row"));
}

TEST_F(StoredStateTest, ALogThatCannotBeReadIsAFreshStart) {
  AddListener("http");
  AddSession(7);
  Give("~log-1", listener_.get());
  const auto stored = Take();
  EXPECT_FALSE(stored->adopts);
  EXPECT_TRUE(absl::StrContains(
      Notes(*stored), "\"~log-1\" cannot be read: no log of a store"));
  EXPECT_TRUE(options_.given[0].fd->valid()) << "the listener";
  EXPECT_FALSE(options_.given[1].fd->valid());
  EXPECT_TRUE(IsReset(clients_[0].get()));
  EXPECT_EQ(stored->holds.items_size(), 2) << "to be forgotten";
}

TEST_F(StoredStateTest, OfTwoLogsTheLastOneCounts) {
  AddSession(7);
  GiveLog();
  std::vector<v1::StoredEntry> entries = entries_;
  NewLog(2);
  for (const v1::StoredEntry& entry : entries) {
    Put(entry.ShortDebugString(), entry);
  }
  AddSession(8);
  GiveLog();
  NewLog(0);
  GiveLog();
  const auto stored = Take();
  EXPECT_EQ(stored->inventory.sessions().size(), 2u);
  EXPECT_EQ(stored->head.made_at, 2u);
}

TEST_F(StoredStateTest, ABlobThatWasLeftOutLaterIsNotAdopted) {
  v1::StoredEntry blob;
  blob.mutable_blob()->set_name("total");
  blob.mutable_blob()->mutable_value()->set_value("x");
  Put("blob", blob);
  blob.mutable_blob()->clear_value();
  Put("left out", blob);
  GiveLog();
  EXPECT_EQ(Take()->inventory.blobs().count("total"), 0u);
}

// Whatever a log says that is whole: nothing crashes, nothing is left open, and
// every session has all of its descriptors.
TEST_F(StoredStateTest, AnyLogIsSurvived) {
  std::mt19937 random(3);
  size_t adopted = 0;
  size_t lost = 0;
  for (int run = 0; run < 1000; ++run) {
    entries_.clear();
    options_.given.clear();
    clients_.clear();
    NewLog(1);
    const NoDescriptorLeak leak;
    AddListener("http");
    for (uint64_t id = 1; id <= 3; ++id) AddSession(id);
    v1::StoredEntry blob;
    blob.mutable_blob()->set_name("total");
    blob.mutable_blob()->mutable_value()->set_value("x");
    Put("blob", blob);
    v1::StoredEntry process;
    process.mutable_process()->add_writes()->set_name("chat");
    process.mutable_process()->mutable_writes(0)->set_version(1);
    Put("process", process);
    {
      auto log = StoreLog::Create({0, 5, 1});
      for (const v1::StoredEntry& entry : entries_) {
        std::string bytes = entry.SerializeAsString();
        for (auto n = random() % 3; n > 0; --n) {
          bytes[random() % bytes.size()] = static_cast<char>(random());
        }
        v1::StoredEntry changed;
        if (changed.ParseFromString(bytes)) {
          (*log)->Put(absl::StrCat(random()), changed);
        }
      }
      ASSERT_TRUE((*log)->Commit().ok());
      Give(StoredLogName(1), (*log)->fd()->get());
    }
    if (random() % 4 == 0) {
      options_.given.erase(options_.given.begin() +
                           static_cast<int>(random() % 4));
    }
    served_.clear();
    UniqueFd handoff_listener(::dup(listener_.get()));
    const auto stored = TakeStored(options_, handoff_listener);
    for (const auto& [id, session] : stored->inventory.sessions()) {
      ASSERT_EQ(session.descriptors.size(),
                static_cast<size_t>(session.record.descriptors_size()));
    }
    adopted += stored->inventory.sessions().size();
    lost += stored->lost.size();
    options_.given.clear();
    clients_.clear();
  }
  EXPECT_GT(adopted, 100u);
  EXPECT_GT(lost, 100u);
}

}  // namespace
}  // namespace handoff
