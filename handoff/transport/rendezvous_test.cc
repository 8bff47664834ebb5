#include "handoff/transport/rendezvous.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/temp_folder.h"

namespace handoff {
namespace {

constexpr uid_t kStranger = 12347;

absl::Time Soon() { return absl::Now() + absl::Seconds(30); }

absl::StatusCode MeetCode(absl::string_view path) {
  return Meet(path, Soon()).status().code();
}

absl::StatusCode ConnectCode(absl::string_view path) {
  return ConnectTo(path).status().code();
}

UniqueFd BindRaw(const std::string& path, int type = SOCK_SEQPACKET) {
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address)),
            0)
      << std::strerror(errno);
  return socket;
}

ino_t Inode(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

bool Exists(const std::string& path) { return Inode(path) != 0; }

UniqueFd HoldLock(const std::string& path) {
  UniqueFd lock(
      ::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(::flock(lock.get(), LOCK_EX), 0);
  return lock;
}

bool Acceptable(const UniqueFd& listener) {
  pollfd waiting = {listener.get(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 1;
}

TEST(RendezvousTest, TheFirstListensAndTheNextConnects) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  absl::StatusOr<Rendezvous> first = Meet(path, Soon());
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(first->listener.valid());
  EXPECT_FALSE(first->predecessor.valid());

  absl::StatusOr<Rendezvous> second = Meet(path, Soon());
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE(second->predecessor.valid());
  EXPECT_FALSE(second->listener.valid());
  const UniqueFd accepted(::accept(first->listener.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  ASSERT_EQ(::send(second->predecessor.get(), "hi", 2, 0), 2);
  char buffer[8];
  EXPECT_EQ(::recv(accepted.get(), buffer, sizeof(buffer), 0), 2);

  for (const int fd : {first->listener.get(), second->predecessor.get()}) {
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_TRUE(ConnectTo(path).ok());
}

TEST(RendezvousTest, OnlyTheUserMayConnect) {
  const TempFolder folder;
  const mode_t before = ::umask(0);
  absl::StatusOr<Rendezvous> met = Meet(folder / "s", Soon());
  ::umask(before);
  ASSERT_TRUE(met.ok()) << met.status();
  for (const char* name : {"s", "s.lock"}) {
    struct stat status;
    ASSERT_EQ(::stat((folder / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
  }
  EXPECT_FALSE(Exists(folder / "s.new"));
}

TEST(RendezvousTest, ASocketThatNobodyListensAtIsReplaced) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  UniqueFd dead = BindRaw(path);
  ASSERT_EQ(::listen(dead.get(), 1), 0);
  dead.reset();
  // And what a process left that died between bind and rename.
  BindRaw(path + ".new").reset();
  EXPECT_EQ(ConnectCode(path), absl::StatusCode::kNotFound);
  absl::StatusOr<Rendezvous> met = Meet(path, Soon());
  ASSERT_TRUE(met.ok()) << met.status();
  ASSERT_TRUE(met->listener.valid());
  EXPECT_TRUE(ConnectTo(path).ok());
  EXPECT_TRUE(Acceptable(met->listener));
  EXPECT_FALSE(Exists(path + ".new"));
}

TEST(RendezvousTest, TheLockFileStays) {
  const TempFolder folder;
  const std::string path = folder / "s";
  ASSERT_TRUE(Meet(path, Soon()).ok());
  const ino_t lock = Inode(path + ".lock");
  EXPECT_NE(lock, 0u);
  for (int generation = 0; generation < 3; ++generation) {
    ASSERT_TRUE(Meet(path, Soon()).ok());
    EXPECT_EQ(Inode(path + ".lock"), lock) << "two could hold the lock";
  }
}

// Only the lock tells a socket that will listen in a moment from a stale one.
TEST(RendezvousTest, WaitsForTheOneThatIsAboutToListen) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  UniqueFd lock = HoldLock(path);
  const UniqueFd starting = BindRaw(path);
  const ino_t inode = Inode(path);
  ForkedChild successor([&] {
    lock.reset();  // the parent's duplicate holds it
    absl::StatusOr<Rendezvous> met = Meet(path, Soon());
    if (!met.ok()) return 1;
    return met->predecessor.valid() ? 0 : 2;
  });
  ASSERT_EQ(::listen(starting.get(), 1), 0);
  ASSERT_EQ(::flock(lock.get(), LOCK_UN), 0);
  EXPECT_EQ(successor.Wait(), 0) << "2: it replaced the socket";
  EXPECT_EQ(Inode(path), inode);
  EXPECT_TRUE(Acceptable(starting));
}

TEST(RendezvousTest, ALockThatIsHeldUntilTheDeadlineIsAnError) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  const UniqueFd lock = HoldLock(path);
  const absl::Time deadline = absl::Now() + absl::Milliseconds(50);
  EXPECT_EQ(Meet(path, deadline).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now(), deadline);
  EXPECT_FALSE(Exists(path));
  EXPECT_EQ(Meet(path, absl::InfinitePast()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(RendezvousTest, AFullQueueIsNotTakenForAStaleSocket) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  const UniqueFd listener = BindRaw(path);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  const ino_t inode = Inode(path);
  std::vector<UniqueFd> waiting;
  absl::Status status;
  while (true) {
    absl::StatusOr<UniqueFd> socket = ConnectTo(path);
    status = socket.status();
    if (!socket.ok()) break;
    waiting.push_back(*std::move(socket));
    ASSERT_LT(waiting.size(), 100u);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(MeetCode(path), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Inode(path), inode) << "the socket was replaced";
}

TEST(RendezvousTest, ConnectingCreatesNothing) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  EXPECT_EQ(ConnectCode(folder / "s"), absl::StatusCode::kNotFound);
  EXPECT_FALSE(Exists(folder / "s"));
  EXPECT_FALSE(Exists(folder / "s.lock"));
}

TEST(RendezvousTest, RefusesAPathThatCannotBeAPrivateSocket) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string too_long =
      absl::StrCat(folder.path(), "/", std::string(108, 'x')).substr(0, 108);
  for (const std::string& path :
       {std::string(), too_long, std::string("@abstract"),
        std::string("\0abstract", 9), (folder / "a") + std::string("\0b", 2),
        folder / "missing/s"}) {
    EXPECT_EQ(MeetCode(path), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_EQ(ConnectCode(path), absl::StatusCode::kInvalidArgument) << path;
  }
}

TEST(RendezvousTest, TakesTheLongestPathThereIs) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  for (const size_t length : {103u, 104u, 107u}) {
    const std::string path =
        absl::StrCat(folder.path(), "/", std::string(107, 'x'))
            .substr(0, length);
    absl::StatusOr<Rendezvous> first = Meet(path, Soon());
    ASSERT_TRUE(first.ok()) << length << ": " << first.status();
    ASSERT_TRUE(first->listener.valid());
    absl::StatusOr<Rendezvous> second = Meet(path, Soon());
    ASSERT_TRUE(second.ok()) << length << ": " << second.status();
    EXPECT_TRUE(second->predecessor.valid());
  }
}

TEST(RendezvousTest, RefusesAFolderThatOthersMayWrite) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  // The last as /tmp is: who comes first owns the name there.
  for (const mode_t mode : {0777u, 0702u, 0770u, 01777u}) {
    ASSERT_EQ(::chmod(folder.path().c_str(), mode), 0);
    EXPECT_EQ(MeetCode(path), absl::StatusCode::kInvalidArgument)
        << std::oct << mode;
    EXPECT_EQ(ConnectCode(path), absl::StatusCode::kInvalidArgument)
        << std::oct << mode;
  }
  for (const mode_t mode : {0755u, 0700u}) {
    ASSERT_EQ(::chmod(folder.path().c_str(), mode), 0);
    EXPECT_EQ(MeetCode(path), absl::StatusCode::kOk) << std::oct << mode;
  }
}

TEST(RendezvousTest, LeavesAFileOfAnotherKindAlone) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  UniqueFd(::open((folder / "file").c_str(), O_CREAT | O_RDWR, 0600)).reset();
  ASSERT_EQ(::mkdir((folder / "folder").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("/nowhere", (folder / "link").c_str()), 0);
  for (const char* name : {"file", "folder", "link"}) {
    const std::string path = folder / name;
    const ino_t inode = Inode(path);
    EXPECT_EQ(MeetCode(path), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(ConnectCode(path), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_EQ(Inode(path), inode) << name;
  }
  // A lock that is a link could be made to truncate or lock another file.
  ASSERT_EQ(::symlink((folder / "file").c_str(), (folder / "t.lock").c_str()),
            0);
  EXPECT_NE(MeetCode(folder / "t"), absl::StatusCode::kOk);
}

TEST(RendezvousTest, LeavesASocketOfAnotherTypeAlone) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  const UniqueFd stream = BindRaw(path, SOCK_STREAM);
  ASSERT_EQ(::listen(stream.get(), 1), 0);
  const ino_t inode = Inode(path);
  EXPECT_NE(MeetCode(path), absl::StatusCode::kOk);
  EXPECT_EQ(Inode(path), inode);
}

TEST(RendezvousTest, RefusesWhatBelongsToAnotherUser) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  const std::string path = folder / "s";
  absl::StatusOr<Rendezvous> met = Meet(path, Soon());
  ASSERT_TRUE(met.ok()) << met.status();
  const std::string files[] = {path, path + ".lock", folder.path()};
  for (const std::string& file : files) {
    if (::lchown(file.c_str(), kStranger, 0) < 0) GTEST_SKIP() << "takes root";
    EXPECT_EQ(MeetCode(path), absl::StatusCode::kPermissionDenied) << file;
    // Root's tools look into every user's services.
    EXPECT_EQ(ConnectCode(path), absl::StatusCode::kOk) << file;
    ASSERT_EQ(::lchown(file.c_str(), 0, 0), 0);
  }
  EXPECT_EQ(MeetCode(path), absl::StatusCode::kOk);
}

TEST(RendezvousTest, TakesAPathInTheCurrentFolder) {
  const NoDescriptorLeak no_leak;
  const TempFolder folder;
  ForkedChild child([&] {
    if (::chdir(folder.path().c_str()) < 0) return 1;
    absl::StatusOr<Rendezvous> met = Meet("s", Soon());
    if (!met.ok() || !met->listener.valid()) return 2;
    return ConnectTo("s").ok() ? 0 : 3;
  });
  EXPECT_EQ(child.Wait(), 0);
  EXPECT_TRUE(Exists(folder / "s"));
}

// Of several that start at once, one listens and all the others reach it.
TEST(RendezvousTest, ProcessesThatStartAtOnceAgreeOnOne) {
  const NoDescriptorLeak no_leak;
  constexpr int kProcesses = 4;
  for (int round = 0; round < 30; ++round) {
    const TempFolder folder;
    const std::string path = folder / "s";
    if (round % 2 == 1) BindRaw(path).reset();  // stale
    int start[2];
    int report[2];
    int finish[2];
    ASSERT_EQ(::pipe2(start, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(report, O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(finish, O_CLOEXEC), 0);
    const UniqueFd start_reader(start[0]);
    UniqueFd start_writer(start[1]);
    const UniqueFd report_reader(report[0]);
    const UniqueFd report_writer(report[1]);
    const UniqueFd finish_reader(finish[0]);
    UniqueFd finish_writer(finish[1]);
    std::vector<std::unique_ptr<ForkedChild>> children;
    for (int i = 0; i < kProcesses; ++i) {
      children.push_back(std::make_unique<ForkedChild>([&] {
        start_writer.reset();
        finish_writer.reset();
        char byte;
        if (::read(start_reader.get(), &byte, 1) != 0) return 1;
        absl::StatusOr<Rendezvous> met = Meet(path, Soon());
        if (!met.ok()) return 2;
        byte = met->listener.valid() ? 'L' : 'C';
        if (::write(report_writer.get(), &byte, 1) != 1) return 3;
        // Alive until all have met.
        return ::read(finish_reader.get(), &byte, 1) == 0 ? 0 : 4;
      }));
    }
    start_writer.reset();
    std::string reports;
    while (reports.size() < kProcesses) {
      pollfd ready = {report_reader.get(), POLLIN, 0};
      ASSERT_EQ(::poll(&ready, 1, 60'000), 1) << "only: " << reports;
      char byte;
      ASSERT_EQ(::read(report_reader.get(), &byte, 1), 1);
      reports.push_back(byte);
    }
    finish_writer.reset();
    std::sort(reports.begin(), reports.end(), std::greater<char>());
    EXPECT_EQ(reports, "LCCC") << "exactly one listens";
    for (const auto& child : children) EXPECT_EQ(child->Wait(), 0);
  }
}

}  // namespace
}  // namespace handoff
