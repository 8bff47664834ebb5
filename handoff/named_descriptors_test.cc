#include "handoff/named_descriptors.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/temp_folder.h"
#include "handoff/transport/listen.h"

namespace handoff {
namespace {

constexpr char kAnyPort[] = "tcp:127.0.0.1:0";

// So many that each of four listeners gets some: by chance one is left out once
// in 10^24 runs.
constexpr int kMany = 200;

struct Address {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  sockaddr* any() { return reinterpret_cast<sockaddr*>(&storage); }
};

Address AddressOf(int fd) {
  Address address;
  EXPECT_EQ(::getsockname(fd, address.any(), &address.size), 0);
  return address;
}

std::string Place(int fd) {
  const Address address = AddressOf(fd);
  return std::string(reinterpret_cast<const char*>(&address.storage),
                     address.size);
}

int Option(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_EQ(::getsockopt(fd, SOL_SOCKET, option, &value, &size), 0);
  return value;
}

// How many connections wait to be accepted.
int Waiting(int listener) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  EXPECT_EQ(::getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return static_cast<int>(info.tcpi_unacked);
}

// All of them together, once they are so many: the last handshakes may not be
// through.
int Awaited(const std::set<int>& listeners, int expected) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (true) {
    int waiting = 0;
    for (const int fd : listeners) waiting += Waiting(fd);
    if (waiting == expected || absl::Now() > deadline) return waiting;
    ::sched_yield();
  }
}

UniqueFd Connect(Address to) {
  UniqueFd client(::socket(to.storage.ss_family, SOCK_STREAM, 0));
  if (::connect(client.get(), to.any(), to.size) != 0) client.reset();
  return client;
}

std::vector<UniqueFd> ConnectMany(int listener) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < kMany; ++i) {
    clients.push_back(Connect(AddressOf(listener)));
    EXPECT_TRUE(clients.back().valid()) << "connection " << i;
  }
  return clients;
}

bool WasReset(const UniqueFd& client) {
  pollfd polled = {client.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) != 0;
}

SharedFd Bound(const std::string& address, bool reuse_port) {
  ListenOptions options;
  options.reuse_port = reuse_port;
  auto listener = BindListener(address, options);
  EXPECT_TRUE(listener.ok()) << listener.status();
  return std::make_shared<UniqueFd>(*std::move(listener));
}

class NamedDescriptorsTest : public testing::Test, private Observer {
 protected:
  NamedDescriptorsTest() : report_(this, &events_) {}

  // What a predecessor had: the handoff listener, and so many at one address.
  void Inherit(int listeners) {
    SharedFd first = Bound(kAnyPort, true);
    inherited_ = {{v1::Descriptors::HANDOFF_LISTENER, "handoff", "/h",
                   Bound(kAnyPort, false)},
                  {v1::Descriptors::LISTENER, "http", kAnyPort, first}};
    for (int i = 1; i < listeners; ++i) {
      auto next = BindBeside(first->get());
      ASSERT_TRUE(next.ok()) << next.status();
      ASSERT_EQ(::listen(next->get(), 1000), 0);
      inherited_.push_back({v1::Descriptors::LISTENER, "http", kAnyPort,
                            std::make_shared<UniqueFd>(*std::move(next))});
    }
  }
  // A new process of the service.
  void Begin() {
    shards_.clear();
    descriptors_.reset();
    named_.clear();
    descriptors_ =
        std::make_unique<NamedDescriptors>(&options_, &report_, &named_);
    if (!inherited_.empty()) descriptors_->Inherit(&inherited_);
  }
  void Listen(int workers, const std::string& address = kAnyPort) {
    auto shards = descriptors_->ListenSharded("http", address, workers);
    ASSERT_TRUE(shards.ok()) << shards.status();
    ASSERT_EQ(shards->size(), static_cast<size_t>(workers));
    shards_ = *std::move(shards);
  }
  std::set<int> All() const {
    std::set<int> all;
    for (const auto& shard : shards_) all.insert(shard.begin(), shard.end());
    return all;
  }
  std::vector<size_t> Sizes() const {
    std::vector<size_t> sizes;
    for (const auto& shard : shards_) sizes.push_back(shard.size());
    return sizes;
  }

  // First, so that all else is gone when it looks.
  const NoDescriptorLeak no_leak_;
  Options options_;
  std::vector<std::string> notes_;
  EventLog events_;
  const Reporter report_;
  std::vector<StagedInventory::Named> inherited_;
  std::vector<NamedDescriptor> named_;
  std::unique_ptr<NamedDescriptors> descriptors_;
  Handoff::Shards shards_;

 private:
  void OnEvent(const Event& event) override { notes_.emplace_back(event.text); }
};

TEST_F(NamedDescriptorsTest, AtFirstEachWorkerHasOneOfItsOwnAtOneAddress) {
  for (const char* address : {kAnyPort, "tcp:[::1]:0"}) {
    if (!BindListener(address).ok()) continue;  // no IPv6 here
    Begin();
    Listen(4, address);
    EXPECT_EQ(Sizes(), (std::vector<size_t>{1, 1, 1, 1}));
    EXPECT_EQ(named_.size(), 4u);
    EXPECT_EQ(All().size(), 4u);
    const auto clients = ConnectMany(shards_[0][0]);
    EXPECT_EQ(Awaited(All(), kMany), kMany);
    for (const int fd : All()) {
      EXPECT_EQ(Place(fd), Place(shards_[0][0]));
      EXPECT_GT(Waiting(fd), 0) << "one of four got no connection";
    }
  }
  EXPECT_TRUE(notes_.empty()) << notes_[0];
}

TEST_F(NamedDescriptorsTest, MoreThanTheWorkersAreDealtOut) {
  Inherit(4);
  const std::vector<std::vector<size_t>> expected = {
      {}, {4}, {2, 2}, {2, 1, 1}, {1, 1, 1, 1}};
  for (int workers = 1; workers <= 4; ++workers) {
    Begin();
    Listen(workers);
    EXPECT_EQ(Sizes(), expected[static_cast<size_t>(workers)]);
    EXPECT_EQ(All().size(), 4u) << "a listener was left out";
    EXPECT_EQ(named_.size(), 5u) << "not the four and the handoff listener";
    EXPECT_TRUE(descriptors_->Unclaimed().empty());
  }
}

TEST_F(NamedDescriptorsTest, WhatIsBoundBesideGetsNothingBeforeItListens) {
  for (const int had : {1, 2}) {
    Inherit(had);
    Begin();
    Listen(4);
    EXPECT_EQ(Sizes(), (std::vector<size_t>{1, 1, 1, 1}));
    EXPECT_EQ(All().size(), 4u);
    const int first = inherited_[1].fd->get();
    const auto before = ConnectMany(first);
    std::set<int> inherited;
    for (size_t i = 1; i < inherited_.size(); ++i) {
      inherited.insert(inherited_[i].fd->get());
    }
    EXPECT_EQ(Awaited(inherited, kMany), kMany)
        << "a queue that may be closed got a connection";
    // The handoff is aborted.
    Begin();
    for (const UniqueFd& client : before) {
      ASSERT_FALSE(WasReset(client)) << "an abort has reset a connection";
    }
    // The next one is not.
    Listen(4);
    descriptors_->BeginListening(1);
    const auto after = ConnectMany(first);
    EXPECT_EQ(Awaited(All(), 2 * kMany), 2 * kMany);
    for (const int fd : All()) {
      EXPECT_GT(Waiting(fd), 0) << "one of four got no connection";
      EXPECT_EQ(Place(fd), Place(first));
    }
  }
  EXPECT_TRUE(notes_.empty()) << notes_[0];
}

TEST_F(NamedDescriptorsTest, OneWithoutReusePortIsSharedByAll) {
  Inherit(1);
  inherited_[1].fd = Bound(kAnyPort, false);
  Begin();
  Listen(3);
  const std::vector<int> one = {inherited_[1].fd->get()};
  EXPECT_EQ(shards_, (Handoff::Shards{one, one, one}));
  EXPECT_EQ(Option(one[0], SO_REUSEPORT), 0) << "it was changed";
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_EQ(notes_[0],
            "listener \"http\": 3 workers share 1: it has no SO_REUSEPORT");
}

TEST_F(NamedDescriptorsTest, AUnixSocketIsSharedByAll) {
  const TempFolder folder;
  const std::string path = folder / "s";
  Begin();
  Listen(2, absl::StrCat("unix:", path));
  EXPECT_EQ(All().size(), 1u);
  EXPECT_EQ(Sizes(), (std::vector<size_t>{1, 1}));
  EXPECT_EQ(named_.size(), 1u);
}

TEST_F(NamedDescriptorsTest, OfSeveralAddressesEachWorkerHasOneAtEach) {
  const SharedFd plain = Bound(kAnyPort, false);
  const SharedFd shared = Bound(kAnyPort, true);
  options_.given = {{"http", plain}, {"other", plain}, {"http", shared}};
  Begin();
  Listen(3);
  EXPECT_EQ(Sizes(), (std::vector<size_t>{2, 2, 2}));
  EXPECT_EQ(All().size(), 4u) << "the plain one, and three at one address";
  for (const auto& shard : shards_) {
    EXPECT_EQ(shard[0], plain->get());
    EXPECT_EQ(Place(shard[1]), Place(shared->get()));
  }
  EXPECT_EQ(notes_.size(), 1u);
}

TEST_F(NamedDescriptorsTest, WhereListeningFailsTheOthersGoOn) {
  Inherit(1);
  Begin();
  Listen(3);
  const int failing = shards_[1][0];
  // Without it listen(2) finds the address in use.
  const int off = 0;
  ASSERT_EQ(::setsockopt(failing, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off)),
            0);
  descriptors_->BeginListening(1);
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_TRUE(absl::StartsWith(
      notes_[0], "listener \"http\": one of its sockets does not listen: "))
      << notes_[0];
  EXPECT_EQ(named_.size(), 3u) << "it would be handed over";
  const auto clients = ConnectMany(shards_[0][0]);
  EXPECT_EQ(Awaited({shards_[0][0], shards_[2][0]}, kMany), kMany);
  EXPECT_EQ(Waiting(failing), Waiting(shards_[0][0])) << "not the same socket";
}

TEST_F(NamedDescriptorsTest, WhereAnotherServiceListensNothingIsBound) {
  for (const bool reuse_port : {false, true}) {
    const SharedFd other = Bound(kAnyPort, reuse_port);
    const Address address = AddressOf(other->get());
    const std::string there = absl::StrCat(
        "tcp:127.0.0.1:",
        ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port));
    Begin();
    EXPECT_EQ(descriptors_->ListenSharded("http", there, 2).status().code(),
              absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(named_.empty());
  }
}

TEST_F(NamedDescriptorsTest, ARehearsalListensNowhere) {
  options_.rehearse = true;
  Begin();
  Listen(2);
  EXPECT_FALSE(Connect(AddressOf(shards_[0][0])).valid());
  const TempFolder folder;
  const std::string path = folder / "s";
  ASSERT_TRUE(
      descriptors_->ListenSharded("u", absl::StrCat("unix:", path), 2).ok());
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST_F(NamedDescriptorsTest, ASharedNameIsAskedForOnce) {
  Begin();
  const auto code = [this](absl::string_view name, int workers) {
    return descriptors_->ListenSharded(name, kAnyPort, workers).status().code();
  };
  EXPECT_EQ(code("http", 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("http", -1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("http", 10'001), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("", 1), absl::StatusCode::kInvalidArgument);
  Listen(1);
  EXPECT_EQ(Option(shards_[0][0], SO_REUSEPORT), 1);
  EXPECT_EQ(code("http", 1), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(descriptors_->Listen("http", kAnyPort).status().code(),
            absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(descriptors_->Listen("plain", kAnyPort).ok());
  EXPECT_EQ(code("plain", 1), absl::StatusCode::kAlreadyExists);
}

}  // namespace
}  // namespace handoff
