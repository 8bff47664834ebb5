#include "handoff/fd/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"

namespace handoff {
namespace {

constexpr int kAllSeals =
    F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

UniqueFd MakeWith(const std::string& bytes, int seals) {
  absl::StatusOr<UniqueFd> fd = MakeMemfd("test");
  EXPECT_TRUE(fd.ok()) << fd.status();
  if (!fd.ok()) return UniqueFd();
  EXPECT_EQ(::write(fd->get(), bytes.data(), bytes.size()),
            static_cast<ssize_t>(bytes.size()));
  EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, seals), 0);
  return *std::move(fd);
}

TEST(MemfdTest, HoldsItsBytesAndCanNoLongerChange) {
  const NoDescriptorLeak no_leak;
  std::string bytes;
  for (int i = 0; i < 1'000'000; ++i) bytes.push_back(static_cast<char>(i));
  absl::StatusOr<UniqueFd> fd = MakeSealedMemfd("state", bytes);
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(::fcntl(fd->get(), F_GET_SEALS) & kAllSeals, kAllSeals);
  EXPECT_NE(OpenDescriptors()[fd->get()].find("memfd:state"),
            std::string::npos);

  EXPECT_LT(::pwrite(fd->get(), "x", 1, 0), 0) << "could be written";
  EXPECT_LT(::ftruncate(fd->get(), 1), 0) << "could shrink";
  EXPECT_LT(::ftruncate(fd->get(), 2'000'000), 0) << "could grow";
  EXPECT_LT(::fallocate(fd->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        0, 4096),
            0)
      << "a hole could be made";

  absl::StatusOr<std::string> read = ReadSealedMemfd(fd->get(), bytes.size());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(*read == bytes) << read->size();
}

TEST(MemfdTest, IsReadFromItsStartWhereverItsOffsetIs) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<UniqueFd> fd = MakeSealedMemfd("state", "0123456789");
  ASSERT_TRUE(fd.ok()) << fd.status();
  ASSERT_EQ(::lseek(fd->get(), 7, SEEK_SET), 7);
  for (int again = 0; again < 2; ++again) {
    absl::StatusOr<std::string> read = ReadSealedMemfd(fd->get(), 100);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, "0123456789");
  }
  EXPECT_EQ(::lseek(fd->get(), 0, SEEK_CUR), 7);
}

TEST(MemfdTest, MayBeEmptyAndHaveALongName) {
  const NoDescriptorLeak no_leak;
  absl::StatusOr<UniqueFd> fd = MakeSealedMemfd(std::string(1000, 'n'), "");
  ASSERT_TRUE(fd.ok()) << fd.status();
  absl::StatusOr<std::string> read = ReadSealedMemfd(fd->get(), 0);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, "");
}

TEST(MemfdTest, IsRefusedWhereAnySealIsMissing) {
  const NoDescriptorLeak no_leak;
  const int seals[] = {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL};
  for (const int missing : seals) {
    const UniqueFd fd = MakeWith("x", kAllSeals & ~missing);
    EXPECT_EQ(ReadSealedMemfd(fd.get(), 100).status().code(),
              absl::StatusCode::kInvalidArgument)
        << "without the seal " << missing;
  }
  EXPECT_EQ(ReadSealedMemfd(MakeWith("x", 0).get(), 100).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ReadSealedMemfd(MakeWith("x", kAllSeals).get(), 100).ok());
}

TEST(MemfdTest, AMappingHasTheContentAndOutlivesTheDescriptor) {
  const NoDescriptorLeak no_leak;
  const std::string content(100'000, 'm');
  UniqueFd fd = MakeWith(content, kAllSeals);
  auto mapping = SealedMapping::Map(fd.get(), content.size());
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  fd.reset();
  EXPECT_EQ(mapping->bytes(), content);
  const SealedMapping moved = *std::move(mapping);
  EXPECT_EQ(moved.bytes(), content);
  EXPECT_EQ(mapping->bytes(), "") << "two would unmap it";
  const auto empty = SealedMapping::Map(MakeWith("", kAllSeals).get(), 1);
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->bytes(), "");
}

TEST(MemfdTest, OnlyWhatCannotChangeAndIsAsSmallAsAllowedIsMapped) {
  const NoDescriptorLeak no_leak;
  const int seals[] = {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL};
  for (const int missing : seals) {
    const UniqueFd fd = MakeWith("x", kAllSeals & ~missing);
    EXPECT_EQ(SealedMapping::Map(fd.get(), 100).status().code(),
              absl::StatusCode::kInvalidArgument)
        << "without the seal " << missing;
  }
  EXPECT_EQ(
      SealedMapping::Map(MakeWith("12", kAllSeals).get(), 1).status().code(),
      absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(SealedMapping::Map(-1, 100).ok());
}

// A seal against later writing leaves mappings that were made before writable.
TEST(MemfdTest, IsRefusedWhereOnlyFutureWritesAreSealed) {
  const NoDescriptorLeak no_leak;
  constexpr int kFutureWrite = 0x0010;  // F_SEAL_FUTURE_WRITE, linux/fcntl.h
  const UniqueFd fd = MakeWith("x", (kAllSeals & ~F_SEAL_WRITE) | kFutureWrite);
  EXPECT_EQ(ReadSealedMemfd(fd.get(), 100).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MemfdTest, IsRefusedWhereItIsLargerThanAllowed) {
  const NoDescriptorLeak no_leak;
  const UniqueFd fd = MakeWith("0123456789", kAllSeals);
  EXPECT_TRUE(ReadSealedMemfd(fd.get(), 10).ok());
  EXPECT_EQ(ReadSealedMemfd(fd.get(), 9).status().code(),
            absl::StatusCode::kResourceExhausted);

  // A terabyte that costs the sender nothing must cost us nothing.
  absl::StatusOr<UniqueFd> sparse = MakeMemfd("sparse");
  ASSERT_TRUE(sparse.ok()) << sparse.status();
  ASSERT_EQ(::ftruncate(sparse->get(), off_t{1} << 40), 0);
  ASSERT_EQ(::fcntl(sparse->get(), F_ADD_SEALS, kAllSeals), 0);
  EXPECT_EQ(ReadSealedMemfd(sparse->get(), 1 << 20).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(MemfdTest, WhatIsNoReadableMemfdIsRefused) {
  const NoDescriptorLeak no_leak;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY));
  const UniqueFd null(::open("/dev/null", O_RDWR));
  // A pipe would block for ever.
  for (const int fd : {reader.get(), folder.get(), null.get(), -1}) {
    EXPECT_EQ(ReadSealedMemfd(fd, 100).status().code(),
              absl::StatusCode::kInvalidArgument)
        << fd;
  }
  const UniqueFd sealed = MakeWith("x", kAllSeals & ~F_SEAL_WRITE);
  const std::string path = "/proc/self/fd/" + std::to_string(sealed.get());
  const UniqueFd write_only(::open(path.c_str(), O_WRONLY));
  ASSERT_TRUE(write_only.valid());
  EXPECT_FALSE(ReadSealedMemfd(write_only.get(), 100).ok());
}

}  // namespace
}  // namespace handoff
