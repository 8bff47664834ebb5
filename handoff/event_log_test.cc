#include "handoff/event_log.h"

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace handoff {
namespace {

// Not expected to pass.
constexpr absl::Duration kPatience = absl::Seconds(30);

void Note(EventLog& log, absl::string_view text) {
  log.Add({Event::Kind::kNote, 0, text});
}

// A log of a first generation with these events.
void Begin(EventLog& log, const std::vector<std::string>& texts) {
  log.SetEpoch(EpochOf(1), 1);
  for (const std::string& text : texts) Note(log, text);
}

std::vector<std::string> TextsAfter(const EventLog& log, uint64_t after) {
  std::vector<std::string> texts;
  for (const v1::EventRecord& event :
       log.Read(after, 2 * EventLog::kMaxEvents).events) {
    texts.push_back(event.text());
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST(EventLogTest, EventsComeInOrderWithWhatIsKnownOfThem) {
  EventLog log;
  EXPECT_EQ(log.last(), 0u);
  EXPECT_TRUE(log.Read(0, 10).events.empty());
  const auto before = static_cast<uint64_t>(absl::ToUnixNanos(absl::Now()));
  log.SetEpoch(EpochOf(3), 3);
  log.Add({Event::Kind::kAudit, 7, "somebody\nasked"});
  log.Add({Event::Kind::kAborted, 8, "second"});
  const EventLog::Batch batch = log.Read(0, 10);
  ASSERT_EQ(batch.events.size(), 2u);
  EXPECT_FALSE(batch.missed);
  const v1::EventRecord& first = batch.events[0];
  EXPECT_EQ(first.kind(), "audit");
  EXPECT_EQ(first.handoff_id(), 7u);
  EXPECT_EQ(first.text(), "somebody\\x0aasked");
  EXPECT_EQ(first.pid(), ::getpid());
  EXPECT_EQ(first.generation(), 3u);
  EXPECT_GE(first.at(), before);
  EXPECT_LT(first.sequence(), batch.events[1].sequence());
  EXPECT_EQ(log.last(), batch.events[1].sequence());
}

TEST(EventLogTest, AReaderGoesOnAfterWhatItHasSeen) {
  EventLog log;
  Begin(log, {"a", "b", "c"});
  const EventLog::Batch two = log.Read(0, 2);
  ASSERT_EQ(two.events.size(), 2u);
  EXPECT_EQ(TextsAfter(log, two.events[1].sequence()), Texts({"c"}));
  EXPECT_EQ(TextsAfter(log, log.last()), Texts());
}

TEST(EventLogTest, EventsFromBeforeTheEpochWaitForTheirNumbers) {
  EventLog log;
  Note(log, "inheriting");
  EXPECT_EQ(log.last(), 0u);
  Note(log, "final-decoded");
  log.SetEpoch(EpochOf(2), 2);
  Note(log, "committed");
  EXPECT_EQ(TextsAfter(log, 0),
            Texts({"inheriting", "final-decoded", "committed"}));
  EXPECT_EQ(log.Read(0, 1).events[0].generation(), 2u);
}

TEST(EventLogTest, WhatIsTooOldIsDroppedAndAReaderIsToldSo) {
  EventLog log;
  Begin(log, {"first"});
  const uint64_t first = log.last();
  Note(log, "second");
  const uint64_t second = log.last();
  for (size_t i = 0; i < EventLog::kMaxEvents; ++i) {
    Note(log, absl::StrCat("event ", i));
  }
  EXPECT_EQ(TextsAfter(log, 0).size(), EventLog::kMaxEvents);
  EXPECT_TRUE(log.Read(0, 1).missed);
  EXPECT_TRUE(log.Read(first, 1).missed) << "the second is gone";
  EXPECT_FALSE(log.Read(second, 1).missed);
  EXPECT_EQ(log.Read(second, 1).events[0].text(), "event 0");

  // The successor knows what its predecessor had no more.
  EventLog next;
  next.Inherit(log.History(0));
  next.SetEpoch(EpochOf(2), 2);
  EXPECT_TRUE(next.Read(first, 1).missed);
  EXPECT_FALSE(next.Read(second, 1).missed);
}

TEST(EventLogTest, NothingIsMissedWhereNothingWasDropped) {
  EventLog log;
  Begin(log, {"a"});
  EventLog next;
  next.Inherit(log.History(0));
  next.SetEpoch(EpochOf(2), 2);
  EXPECT_FALSE(next.Read(0, 1).missed);
}

TEST(EventLogTest, TextsAreCut) {
  EventLog log;
  Begin(log, {std::string(10'000, 'x'), std::string(10'000, '\n')});
  for (const std::string& text : TextsAfter(log, 0)) {
    EXPECT_EQ(text.size(), EventLog::kMaxTextBytes);
  }
  // Also those that wait for their number.
  EventLog waiting;
  for (size_t i = 0; i < 2 * EventLog::kMaxEvents; ++i) Note(waiting, "x");
  waiting.SetEpoch(EpochOf(1), 1);
  EXPECT_EQ(TextsAfter(waiting, 0).size(), EventLog::kMaxEvents);
}

TEST(EventLogTest, ASuccessorHasEverythingOfItsPredecessorAndNothingTwice) {
  EventLog old;
  Begin(old, {"a", "b"});
  const v1::EventHistory first_round = old.History(0);
  const uint64_t sent = old.last();
  Note(old, "c");
  const v1::EventHistory tail = old.History(sent);
  EXPECT_EQ(tail.events_size(), 1) << "only what came since";

  EventLog next;
  Note(next, "inheriting");
  next.Inherit(first_round);
  next.Inherit(tail);
  next.Inherit(first_round);
  next.SetEpoch(EpochOf(2), 2);
  Note(next, "committed");
  EXPECT_EQ(TextsAfter(next, 0),
            Texts({"a", "b", "c", "inheriting", "committed"}));

  // Whoever saw what the predecessor said after the cut misses nothing either.
  Note(old, "released");
  EXPECT_EQ(TextsAfter(next, old.last()), Texts({"inheriting", "committed"}));
  EXPECT_FALSE(next.Read(old.last(), 1).missed);
}

TEST(EventLogTest, AfterARollBackTheNumbersAreAboveTheSuccessors) {
  EventLog old;
  Begin(old, {"a"});
  EventLog crashed;
  crashed.Inherit(old.History(0));
  crashed.SetEpoch(EpochOf(2), 2);
  Note(crashed, "serves");
  old.SetEpoch(EpochOf(2) + 1, 1);
  Note(old, "rolled-back");
  EXPECT_EQ(TextsAfter(old, crashed.last()), Texts({"rolled-back"}));

  EventLog next;
  next.Inherit(old.History(0));
  next.SetEpoch(EpochOf(3), 3);
  Note(next, "serves");
  EXPECT_EQ(TextsAfter(next, 0), Texts({"a", "rolled-back", "serves"}));
  EXPECT_EQ(TextsAfter(next, old.last()), Texts({"serves"}));
}

TEST(EventLogTest, ANumberOfAServiceThatHasEndedStartsFromTheBeginning) {
  EventLog old;
  old.SetEpoch(EpochOf(7), 7);
  Note(old, "a");
  EventLog fresh;
  Begin(fresh, {"started"});
  EXPECT_EQ(TextsAfter(fresh, old.last()), Texts({"started"}));
  EXPECT_TRUE(fresh.Read(old.last(), 1).missed);
  fresh.WaitFor(old.last(), absl::InfiniteFuture());  // does not block
}

TEST(EventLogTest, ANumberFromBeforeTheServiceBeganStartsFromTheBeginning) {
  EventLog log;
  Begin(log, {"started", "more"});
  const uint64_t before = ((log.last() >> 32) - 1000) << 32;
  EXPECT_EQ(TextsAfter(log, before), Texts({"started", "more"}));
  EXPECT_TRUE(log.Read(before, 1).missed);
  // The successor's line began with the first process.
  EventLog next;
  next.Inherit(log.History(0));
  next.SetEpoch(EpochOf(2), 2);
  EXPECT_TRUE(next.Read(before, 1).missed);
  EXPECT_FALSE(next.Read(log.last(), 1).missed);
}

TEST(EventLogTest, AGapInWhatWasInheritedIsTold) {
  EventLog log;
  Begin(log, {"a"});
  EventLog next;
  next.Inherit(log.History(0));
  next.NoteGap();
  next.SetEpoch(EpochOf(2), 2);
  Note(next, "b");
  EXPECT_TRUE(next.Read(log.last(), 1).missed);
  EXPECT_EQ(TextsAfter(next, log.last()), Texts({"b"}));
  EXPECT_FALSE(next.Read(next.last() - 1, 1).missed);
}

TEST(EventLogTest, AHistoryThatMakesNoSenseIsCutDown) {
  v1::EventHistory history;
  for (int i = 1; i <= 1'000'000; ++i) {
    history.add_events()->set_sequence(static_cast<uint64_t>(i));
  }
  EventLog log;
  log.Inherit(history);
  EXPECT_EQ(log.History(0).events_size(),
            static_cast<int>(EventLog::kMaxEvents));
  EXPECT_EQ(log.History(0).dropped(), 1'000'000 - EventLog::kMaxEvents);

  v1::EventHistory odd;
  const auto add = [&odd](uint64_t sequence, const std::string& text) {
    odd.add_events()->set_sequence(sequence);
    odd.mutable_events(odd.events_size() - 1)->set_text(text);
    odd.mutable_events(odd.events_size() - 1)->set_kind(text);
  };
  add(0, "no number");
  add(5, "five");
  add(5, "five again");
  add(4, "four");
  add(6, std::string(5'000, '\x01'));
  add(~uint64_t{0}, "the highest that there is");
  EventLog other;
  other.Inherit(odd);
  other.SetEpoch(EpochOf(2), 2);
  Note(other, "ours");
  const Texts texts = TextsAfter(other, 0);
  ASSERT_EQ(texts.size(), 3u) << absl::StrCat(texts.size(), " events");
  EXPECT_EQ(texts[0], "five");
  EXPECT_EQ(texts[1].size(), EventLog::kMaxTextBytes);
  EXPECT_EQ(texts[1].substr(0, 8), "\\x01\\x01");
  EXPECT_EQ(texts[2], "ours") << "nothing is above our own";
  EXPECT_LE(other.Read(5, 1).events[0].kind().size(), 64u);

  v1::EventHistory gone;
  gone.set_dropped(~uint64_t{0});
  EventLog third;
  third.Inherit(gone);
  third.SetEpoch(EpochOf(2), 2);
  Note(third, "ours");
  EXPECT_FALSE(third.Read(third.last(), 1).missed);
  EXPECT_EQ(TextsAfter(third, 0), Texts({"ours"}));
}

TEST(EventLogTest, AWaitEndsWithAnEvent) {
  EventLog log;
  Begin(log, {"a"});
  const uint64_t seen = log.last();
  log.WaitFor(0, absl::InfiniteFuture());  // there is one
  std::thread adds([&log] { Note(log, "b"); });
  log.WaitFor(seen, absl::Now() + kPatience);
  EXPECT_EQ(TextsAfter(log, seen), Texts({"b"}));
  adds.join();
}

TEST(EventLogTest, AWaitEndsAtItsDeadline) {
  EventLog log;
  Begin(log, {"a"});
  const absl::Time deadline = absl::Now() + absl::Milliseconds(5);
  log.WaitFor(log.last(), deadline);
  EXPECT_GE(absl::Now(), deadline);
  log.WaitFor(log.last(), absl::InfinitePast());
}

TEST(EventLogTest, WakeEndsEveryWait) {
  EventLog log;
  Begin(log, {"a"});
  std::atomic<int> ended{0};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      log.WaitFor(log.last(), absl::InfiniteFuture());
      ++ended;
    });
  }
  const absl::Time deadline = absl::Now() + kPatience;
  // One that has not begun to wait yet is not woken.
  while (ended < 3 && absl::Now() < deadline) {
    log.Wake();
    std::this_thread::yield();
  }
  EXPECT_EQ(ended, 3);
  Note(log, "b");
  for (std::thread& thread : waiting) thread.join();
}

}  // namespace
}  // namespace handoff
