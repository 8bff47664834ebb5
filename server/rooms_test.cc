#include "server/rooms.h"

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/chat_desk.h"

namespace handoff::server {
namespace {

ServiceInfo* Info() {
  static ServiceInfo info;
  info.pid = 7;
  info.label = "v1";
  return &info;
}

class RoomsTest : public testing::Test {
 protected:
  RoomsTest() : rooms_(Info(), 3) {
    for (int i = 0; i < 2; ++i) {
      rooms_.SetWake(rooms_.AddWorker(), [this, i] { ++woken_[i]; });
    }
  }
  // The numbers of what is in a worker's inbox.
  std::vector<uint64_t> Inbox(int worker) {
    std::vector<uint64_t> seqs;
    for (const Delivery& d : rooms_.TakeInbox(worker)) seqs.push_back(d.seq);
    return seqs;
  }
  std::vector<uint64_t> History(const std::string& room) {
    std::vector<uint64_t> seqs;
    const v1::Rooms state = rooms_.Save(kHighestRoomsVersion);
    for (const v1::Room& r : state.rooms()) {
      if (r.name() != room) continue;
      for (const v1::Message& m : r.history()) seqs.push_back(m.seq());
    }
    return seqs;
  }
  bool Knows(const std::string& room) {
    const v1::Rooms state = rooms_.Save(1);
    for (const v1::Room& r : state.rooms()) {
      if (r.name() == room) return true;
    }
    return false;
  }
  using Seqs = std::vector<uint64_t>;

  int woken_[2] = {0, 0};
  Rooms rooms_;
};

TEST_F(RoomsTest, NumbersEachRoomAndTellsTheWorkersThatHaveMembers) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  ASSERT_TRUE(rooms_.Join(1, "a").ok());
  ASSERT_TRUE(rooms_.Join(1, "b").ok());
  ASSERT_TRUE(rooms_.Say("a", "x", "1").ok());
  ASSERT_TRUE(rooms_.Say("b", "x", "1").ok());
  ASSERT_TRUE(rooms_.Say("a", "x", "2").ok());
  EXPECT_EQ(Inbox(0), Seqs({1, 2}));
  EXPECT_EQ(Inbox(1), Seqs({1, 1, 2}));
  EXPECT_EQ(woken_[0], 1) << "once for all that it has not taken";
  EXPECT_EQ(woken_[1], 1);
  rooms_.Leave(0, "a");
  ASSERT_TRUE(rooms_.Say("a", "x", "3").ok());
  EXPECT_EQ(Inbox(0), Seqs());
  EXPECT_EQ(Inbox(1), Seqs({3}));
  EXPECT_EQ(woken_[1], 2);
}

TEST_F(RoomsTest, GivesTheLastHundredToWhoJoins) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  for (int i = 0; i < 150; ++i) {
    ASSERT_TRUE(rooms_.Say("a", "x", absl::StrCat(i)).ok());
  }
  const auto joined = rooms_.Join(1, "a");
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(joined->seq, 150u);
  ASSERT_EQ(joined->history.size(), kHistoryMessages);
  EXPECT_TRUE(absl::StrContains(joined->history.front(), "\"seq\":51,"));
  EXPECT_TRUE(absl::StrContains(joined->history.back(), "\"seq\":150,"));
}

TEST_F(RoomsTest, TheHistoryIsBoundedInBytesAndHasNoGap) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(
        rooms_.Say("a", "x", std::string(kHistoryBytes / 2 - 50, 'x')).ok());
  }
  EXPECT_EQ(History("a"), Seqs({2, 3}));
  ASSERT_TRUE(rooms_.Say("a", "x", std::string(kHistoryBytes, 'x')).ok());
  EXPECT_EQ(History("a"), Seqs());
  ASSERT_TRUE(rooms_.Say("a", "x", "small").ok());
  EXPECT_EQ(History("a"), Seqs({5}));
}

TEST_F(RoomsTest, TheLeastLatelyUsedRoomMakesPlaceForAnothersHistory) {
  Rooms rooms(Info(), 6);
  rooms.SetWake(rooms.AddWorker(), [] {});
  const std::string half(kHistoryBytes / 2 - 50, 'x');
  for (const char* room : {"a", "b", "c", "d", "e"}) {
    ASSERT_TRUE(rooms.Join(0, room).ok());
    ASSERT_TRUE(rooms.Say(room, "x", half).ok());
    ASSERT_TRUE(rooms.Say(room, "x", half).ok());
    ASSERT_TRUE(rooms.SetTopic("a", "x", "is used").ok());
  }
  EXPECT_EQ(rooms.Join(0, "b")->history.size(), 0u);
  for (const char* room : {"a", "c", "d", "e"}) {
    EXPECT_EQ(rooms.Join(0, room)->history.size(), 2u) << room;
  }
  ASSERT_TRUE(rooms.Say("b", "x", std::string(100, 'x')).ok());
  EXPECT_EQ(rooms.Join(0, "a")->history.size(), 1u) << "it is the oldest now";
  const auto joined = rooms.Join(0, "b");
  ASSERT_EQ(joined->history.size(), 1u);
  EXPECT_TRUE(absl::StrContains(joined->history[0], "\"seq\":3,"));
  // A room that is forgotten takes its history along.
  for (int i = 0; i < 20; ++i) {
    const std::string room = absl::StrCat("room ", i);
    ASSERT_TRUE(rooms.Join(0, room).ok());
    ASSERT_TRUE(rooms.Say(room, "x", half).ok());
    rooms.Leave(0, room);
  }
}

// Whatever clients do, all of it can be kept for a crash and moves quickly.
TEST_F(RoomsTest, TheLargestStateStaysBelowAMebibyte) {
  constexpr int kMost = 1000;  // the flag's default
  for (const size_t text : {0, 20, 60'000}) {
    Rooms rooms(Info(), kMost);
    rooms.SetWake(rooms.AddWorker(), [] {});
    for (int i = 0; i < kMost; ++i) {
      std::string room = absl::StrCat(i);
      room.resize(128, 'r');
      ASSERT_TRUE(rooms.Join(0, room).ok());
      ASSERT_TRUE(rooms.SetTopic(room, "x", std::string(128, 't')).ok());
      for (int n = text < 100 ? 100 : 2; n > 0; --n) {
        ASSERT_TRUE(rooms.Say(room, "x", std::string(text, 'x')).ok());
      }
      rooms.TakeInbox(0);
    }
    const auto began = std::chrono::steady_clock::now();
    const v1::Rooms state = rooms.Save(kHighestRoomsVersion);
    const std::chrono::duration<double, std::milli> saved =
        std::chrono::steady_clock::now() - began;
    EXPECT_LT(state.ByteSizeLong(), 1024u * 1024 - 4096) << text;
    EXPECT_GT(state.ByteSizeLong(), 400u * 1024) << text;
    Rooms next(Info(), kMost);
    ASSERT_TRUE(next.Restore(kHighestRoomsVersion, state).ok());
    printf("texts of %zu: %zu bytes, saved in %.2f ms\n", text,
           state.ByteSizeLong(), saved.count());
    EXPECT_EQ(next.Save(kHighestRoomsVersion).SerializeAsString(),
              state.SerializeAsString());
  }
}

TEST_F(RoomsTest, ATextThatIsTooLongWrittenOutTakesNoNumber) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(
      rooms_.Say("a", "x", std::string(300 * 1024, '\1'))));
  ASSERT_TRUE(rooms_.Say("a", "x", "y").ok());
  EXPECT_EQ(History("a"), Seqs({1}));
}

TEST_F(RoomsTest, ForOneMoreTheLongestUnusedEmptyOneIsForgotten) {
  for (const char* room : {"a", "b", "c"}) {
    ASSERT_TRUE(rooms_.Join(0, room).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(rooms_.Join(0, "d").status()));
  rooms_.Leave(0, "b");
  rooms_.Leave(0, "a");
  ASSERT_TRUE(rooms_.Join(0, "d").ok());
  EXPECT_FALSE(Knows("a"));
  EXPECT_TRUE(Knows("b")) << "it was used after a";
  EXPECT_TRUE(Knows("c"));
}

TEST_F(RoomsTest, GoOnInAnotherProcess) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  ASSERT_TRUE(rooms_.Say("a", "x", "1").ok());
  ASSERT_TRUE(rooms_.SetTopic("a", "x", "tea").ok());

  Rooms next(Info(), 3);
  const int worker = next.AddWorker();
  next.SetWake(worker, [] {});
  ASSERT_TRUE(next.Restore(2, rooms_.Save(2)).ok());
  next.Rejoin(worker, "a", 1);
  // Once more, as what was said meanwhile is in it.
  ASSERT_TRUE(rooms_.Say("a", "x", "2").ok());
  ASSERT_TRUE(next.Restore(2, rooms_.Save(2)).ok());
  EXPECT_EQ(next.Save(2).SerializeAsString(),
            rooms_.Save(2).SerializeAsString());
  ASSERT_TRUE(next.Say("a", "x", "3").ok());
  const auto inbox = next.TakeInbox(worker);
  ASSERT_EQ(inbox.size(), 1u) << "members are kept, whatever is restored";
  EXPECT_EQ(inbox[0].seq, 3u);
  EXPECT_EQ(next.Join(worker, "a")->topic, "tea");
}

TEST_F(RoomsTest, AnOlderReleaseKeepsWhatItKnows) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(rooms_.Say("a", "x", absl::StrCat(i)).ok());
  }
  ASSERT_TRUE(rooms_.SetTopic("a", "x", "tea").ok());
  // From 2 to 1, where more is said, and back.
  Rooms older(Info(), 3);
  const int worker = older.AddWorker();
  older.SetWake(worker, [] {});
  ASSERT_TRUE(older.Restore(1, rooms_.Save(1)).ok());
  older.Rejoin(worker, "a", 5);
  EXPECT_EQ(older.Save(1).rooms(0).topic(), "");
  ASSERT_TRUE(older.Say("a", "y", "5").ok());
  ASSERT_TRUE(rooms_.Restore(1, older.Save(1)).ok());
  const auto joined = rooms_.Join(1, "a");
  EXPECT_EQ(joined->seq, 6u);
  EXPECT_EQ(joined->history.size(), 6u);
  EXPECT_EQ(joined->topic, "") << "version 1 has none";
}

TEST_F(RoomsTest, WhoComesBackIsGivenWhatWasSaidMeanwhile) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(rooms_.Say("a", "x", absl::StrCat(i)).ok());
  }
  const Rooms::Joined joined = rooms_.Rejoin(1, "a", 3);
  EXPECT_EQ(joined.seq, 5u);
  ASSERT_EQ(joined.history.size(), 2u);
  EXPECT_TRUE(absl::StrContains(joined.history[0], "\"seq\":4,"));
  EXPECT_TRUE(absl::StrContains(joined.history[1], "\"seq\":5,"));
  Inbox(1);
  ASSERT_TRUE(rooms_.Say("a", "x", "6").ok());
  EXPECT_EQ(Inbox(1), Seqs({6}));
}

// It was forgotten meanwhile, or what is known of it is older than the member.
TEST_F(RoomsTest, ARoomsNumbersGoOnBehindThatOfWhoComesBack) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  ASSERT_TRUE(rooms_.Say("a", "x", "1").ok());
  Inbox(0);
  for (const char* room : {"a", "b"}) {
    const Rooms::Joined joined = rooms_.Rejoin(0, room, 300);
    EXPECT_EQ(joined.seq, 300u);
    EXPECT_EQ(joined.history.size(), 0u);
    ASSERT_TRUE(rooms_.Say(room, "x", "next").ok());
    EXPECT_EQ(Inbox(0), Seqs({301}));
    EXPECT_EQ(History(room), Seqs({301}));
  }
  EXPECT_TRUE(rooms_.Restore(2, rooms_.Save(2)).ok()) << "there is a gap";
}

TEST_F(RoomsTest, AHistoryWithAGapIsRefused) {
  ASSERT_TRUE(rooms_.Join(0, "a").ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(rooms_.Say("a", "x", absl::StrCat(i)).ok());
  }
  v1::Rooms state = rooms_.Save(2);
  state.mutable_rooms(0)->mutable_history()->DeleteSubrange(1, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(rooms_.Restore(2, state)));
  state = rooms_.Save(2);
  state.mutable_rooms(0)->set_seq(2);
  EXPECT_TRUE(absl::IsInvalidArgument(rooms_.Restore(2, state)));
}

// Counts what it is given and finds what is not in order.
class Counter : public RoomMember {
 public:
  void OnDelivery(const Delivery& delivery) override {
    in_order = in_order && delivery.seq == seen + 1;
    seen = delivery.seq;
  }
  uint64_t seen = 0;
  bool in_order = true;
};

TEST(RoomsThreadsTest, EveryWorkerSeesTheNumbersInOrder) {
  constexpr uint64_t kEach = 2000;
  constexpr int kWorkers = 3;
  Rooms rooms(Info(), 3);
  std::vector<std::unique_ptr<ChatDesk>> desks;
  Counter members[kWorkers];
  for (int i = 0; i < kWorkers; ++i) {
    desks.push_back(std::make_unique<ChatDesk>(&rooms));
    rooms.SetWake(i, [] {});
    ASSERT_TRUE(desks[i]->Join("a", &members[i]).ok());
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t n = 0; n < kEach; ++n) {
        (void)rooms.Say("a", "x", "y");
        desks[i]->Deliver();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kWorkers; ++i) {
    desks[i]->Deliver();
    EXPECT_EQ(members[i].seen, kEach * kWorkers) << "at worker " << i;
    EXPECT_TRUE(members[i].in_order) << "at worker " << i;
  }
}

}  // namespace
}  // namespace handoff::server
