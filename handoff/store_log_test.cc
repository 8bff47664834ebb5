#include "handoff/store_log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "handoff/fd/memfd.h"

namespace handoff {
namespace {

constexpr uint64_t kMost = 1 << 26;

v1::StoredEntry Session(uint64_t id, const std::string& bytes) {
  v1::StoredEntry entry;
  v1::SessionRecord* record = entry.mutable_session()->mutable_record();
  record->set_id(id);
  record->set_type("chat");
  record->add_descriptors()->set_input(bytes);
  return entry;
}

v1::StoredEntry Ended(uint64_t id) {
  v1::StoredEntry entry;
  entry.set_ended(id);
  return entry;
}

std::string Bytes(int fd) {
  struct stat status;
  ::fstat(fd, &status);
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  return bytes;
}

UniqueFd FileOf(const std::string& bytes) {
  auto fd = MakeMemfd("test");
  EXPECT_EQ(::pwrite(fd->get(), bytes.data(), bytes.size(), 0),
            static_cast<ssize_t>(bytes.size()));
  return *std::move(fd);
}

std::vector<std::string> Texts(const StoreLogContent& content) {
  std::vector<std::string> texts;
  for (const v1::StoredEntry& e : content.entries) {
    texts.push_back(e.SerializeAsString());
  }
  return texts;
}

TEST(StoreLogTest, WhatWasCommittedIsReadAndNoMore) {
  auto log = StoreLog::Create({1, 7, 99});
  ASSERT_TRUE(log.ok());
  (*log)->Put("1", Session(1, "one"));
  (*log)->Put("2", Session(2, "two"));
  ASSERT_TRUE((*log)->Commit().ok());
  (*log)->Put("3", Session(3, std::string(3 << 20, 'x')));  // goes out at once
  auto content = ReadStoreLog((*log)->fd()->get(), kMost);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_TRUE(content->rest.ok()) << content->rest;
  EXPECT_EQ(content->entries.size(), 2u);
  EXPECT_EQ(content->head.attempts, 1u);
  EXPECT_EQ(content->head.generation, 7u);
  EXPECT_EQ(content->head.made_at, 99u);
  ASSERT_TRUE((*log)->Commit().ok());
  EXPECT_EQ(ReadStoreLog((*log)->fd()->get(), kMost)->entries.size(), 3u);
}

TEST(StoreLogTest, TheHeadChangesInPlace) {
  auto log = StoreLog::Create({0, 7, 99});
  ASSERT_TRUE(log.ok());
  (*log)->Put("1", Session(1, "one"));
  ASSERT_TRUE((*log)->Commit().ok());
  ASSERT_TRUE(SetStoreLogAttempts((*log)->fd()->get(), 2).ok());
  ASSERT_TRUE((*log)->SetGeneration(8).ok());
  auto content = ReadStoreLog((*log)->fd()->get(), kMost);
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content->head.attempts, 2u);
  EXPECT_EQ(content->head.generation, 8u);
  EXPECT_EQ(content->entries.size(), 1u);
}

TEST(StoreLogTest, ALogThatIsMostlyReplacedIsCompacted) {
  auto log = StoreLog::Create({1, 7, 99});
  ASSERT_TRUE(log.ok());
  for (int round = 0; round < 400; ++round) {
    for (uint64_t id = 1; id <= 10; ++id) {
      (*log)->Put(absl::StrCat(id),
                  Session(id, absl::StrCat(round, std::string(500, 'x'))));
    }
    ASSERT_TRUE((*log)->Commit().ok());
  }
  (*log)->Erase("10", Ended(10));
  (*log)->Erase("11", Ended(11));  // was never there: nothing is written
  ASSERT_TRUE((*log)->Commit().ok());
  ASSERT_TRUE((*log)->wasteful()) << (*log)->bytes();
  EXPECT_EQ(ReadStoreLog((*log)->fd()->get(), kMost)->entries.size(), 4001u);
  auto compacted = (*log)->Compacted(100);
  ASSERT_TRUE(compacted.ok()) << compacted.status();
  EXPECT_FALSE((*compacted)->wasteful());
  auto content = ReadStoreLog((*compacted)->fd()->get(), kMost);
  ASSERT_TRUE(content.ok());
  EXPECT_TRUE(content->rest.ok()) << content->rest;
  EXPECT_EQ(content->head.made_at, 100u);
  EXPECT_EQ(content->head.attempts, 1u);
  ASSERT_EQ(content->entries.size(), 9u);
  for (size_t i = 0; i < content->entries.size(); ++i) {
    const v1::SessionRecord& record = content->entries[i].session().record();
    EXPECT_EQ(record.descriptors(0).input().substr(0, 4), "399x");
    EXPECT_EQ(record.id(), i + 1) << "not in the order in which they were put";
  }
  // It goes on as any log.
  (*compacted)->Put("1", Session(1, "last"));
  ASSERT_TRUE((*compacted)->Commit().ok());
  EXPECT_EQ(ReadStoreLog((*compacted)->fd()->get(), kMost)->entries.size(),
            10u);
}

TEST(StoreLogTest, WhatIsNoLogIsRefused) {
  EXPECT_EQ(ReadStoreLog(FileOf("").get(), kMost).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      ReadStoreLog(FileOf(std::string(500, 'x')).get(), kMost).status().code(),
      absl::StatusCode::kInvalidArgument);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  EXPECT_EQ(ReadStoreLog(ends[0], kMost).status().code(),
            absl::StatusCode::kInvalidArgument);
  auto log = StoreLog::Create({});
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(ReadStoreLog((*log)->fd()->get(), 10).status().code(),
            absl::StatusCode::kResourceExhausted);
  std::string other = Bytes((*log)->fd()->get());
  other[8] = 2;  // the format
  EXPECT_EQ(ReadStoreLog(FileOf(other).get(), kMost).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

// Wherever it is cut off and whatever is changed in it: what is read is what
// was written, up to some entry.
TEST(StoreLogTest, ADamagedLogIsReadUpToTheDamage) {
  auto log = StoreLog::Create({0, 1, 1});
  ASSERT_TRUE(log.ok());
  for (uint64_t id = 1; id <= 12; ++id) {
    (*log)->Put(absl::StrCat(id), Session(id, std::string(id * 3, 'x')));
    if (id % 4 == 0) (*log)->Erase(absl::StrCat(id), Ended(id));
  }
  ASSERT_TRUE((*log)->Commit().ok());
  const std::string whole = Bytes((*log)->fd()->get());
  const std::vector<std::string> all =
      Texts(*ReadStoreLog((*log)->fd()->get(), kMost));
  ASSERT_EQ(all.size(), 15u);
  size_t damaged = 0;
  const auto check = [&](const std::string& bytes, const std::string& how) {
    auto content = ReadStoreLog(FileOf(bytes).get(), kMost);
    if (!content.ok()) return;
    const std::vector<std::string> got = Texts(*content);
    ASSERT_LE(got.size(), all.size()) << how;
    for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], all[i]) << how;
    damaged += !content->rest.ok();
    // Fewer only with a word; or where the length that counts was changed to
    // the end of an entry.
    if (got.size() < all.size() && content->rest.ok()) {
      ASSERT_NE(bytes.substr(32, 8), whole.substr(32, 8)) << how;
    }
  };
  for (size_t length = 0; length < whole.size(); ++length) {
    check(whole.substr(0, length), absl::StrCat("cut off at ", length));
  }
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    check(bytes, absl::StrCat("bit ", bit, " changed"));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 5000; ++i) {
    std::string bytes = whole;
    const size_t from = 40 + random() % (bytes.size() - 40);
    for (size_t at = from; at < bytes.size() && at < from + 16; ++at) {
      bytes[at] = static_cast<char>(random());
    }
    check(bytes, absl::StrCat("garbage ", i, " at ", from));
  }
  EXPECT_GT(damaged, 5000u);
}

}  // namespace
}  // namespace handoff
