#include "handoff/protocol/predecessor_machine.h"

#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/driven_predecessor.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Command = PredecessorMachine::Command;
using State = PredecessorMachine::State;
using Names = std::vector<std::string>;

constexpr absl::Duration kJust = absl::Nanoseconds(1);

v1::Frame Ack(uint64_t seq) {
  v1::Frame frame;
  frame.mutable_batch_ack()->set_seq(seq);
  return frame;
}

v1::Frame Body(void (*set)(v1::Frame&)) {
  v1::Frame frame;
  set(frame);
  return frame;
}

v1::Frame AbortFrame() {
  return Body([](v1::Frame& f) { f.mutable_abort()->set_detail("too slow"); });
}

OutgoingFrame Batch(const std::vector<uint64_t>& sessions) {
  OutgoingFrame out;
  for (const uint64_t id : sessions) {
    out.frame.mutable_sessions()->add_records()->set_id(id);
  }
  return out;
}

TEST(PredecessorMachineTest, GoesThroughAWholeHandoff) {
  const NoDescriptorLeak no_leak;
  DrivenPredecessor p;
  p.Deliver(HelloFrame());
  EXPECT_EQ(p.SentNames(), Names({"offer"}));
  EXPECT_EQ(p.sent_descriptors.size(), 3u);
  EXPECT_TRUE(p.sent[0].must_understand());
  EXPECT_EQ(p.sent[0].offer().protocol(), kHighestProtocol);
  ASSERT_EQ(p.sent[0].offer().writes_size(), 1);
  EXPECT_EQ(p.sent[0].offer().writes(0).version(), 2u);
  EXPECT_EQ(p.sent[0].offer().handoff_id(), 42u);
  EXPECT_EQ(p.commands, std::vector<Command>({Command::kRunRound}));
  p.Forget();

  OutgoingFrame listeners;
  listeners.frame.mutable_descriptors_batch()->add_entries();
  listeners.frame.mutable_descriptors_batch()->add_entries();
  p.machine.AddBatch(std::move(listeners), p.now);
  OutgoingFrame blobs;
  blobs.frame.mutable_blobs()->add_entries()->set_name("config");
  p.machine.AddBatch(std::move(blobs), p.now);
  p.Drain();
  p.Deliver(Ack(3));
  p.machine.AddBatch(Batch({7, 8, 9}), p.now);
  p.Finish([&] { p.machine.OnRoundDone(p.now); });
  EXPECT_EQ(p.SentNames(),
            Names({"descriptors", "blobs", "sessions", "pre-copied"}));
  EXPECT_EQ(p.sent[3].pre_copied().descriptors(), 2u);
  EXPECT_EQ(p.sent[3].pre_copied().blobs(), 1u);
  EXPECT_EQ(p.sent[3].pre_copied().sessions(), 3u);
  EXPECT_EQ(p.machine.state(), State::kAwaitReady);
  EXPECT_TRUE(p.commands.empty());
  p.Deliver(Ack(4));
  p.Forget();

  p.Deliver(
      Body([](v1::Frame& f) { f.mutable_ready()->add_unclaimed("admin"); }));
  EXPECT_EQ(p.machine.ready().unclaimed(0), "admin");
  EXPECT_EQ(p.commands, std::vector<Command>({Command::kRunRound}));
  p.machine.AddBatch(Batch({7, 10}), p.now);
  p.Finish([&] { p.machine.OnRoundDone(p.now); });
  p.Deliver(Ack(6));
  EXPECT_EQ(p.commands,
            std::vector<Command>({Command::kRunRound, Command::kQuiesce}));
  p.Finish([&] { p.machine.OnQuiesced(p.now); });
  EXPECT_EQ(p.commands.back(), Command::kCut);
  p.Forget();

  OutgoingFrame last = Batch({8});
  last.frame.mutable_sessions()->add_closed(9);
  last.frame.mutable_sessions()->add_kept()->set_id(10);
  p.machine.AddBatch(std::move(last), p.now);
  p.Finish([&] { p.machine.OnCut(4711, p.now); });
  EXPECT_EQ(p.SentNames(), Names({"sessions", "final"}));
  EXPECT_EQ(p.sent[1].final().descriptors(), 2u);
  EXPECT_EQ(p.sent[1].final().blobs(), 1u);
  EXPECT_EQ(p.sent[1].final().sessions(), 2u);
  EXPECT_EQ(p.sent[1].final().cut_at(), 4711u);
  EXPECT_EQ(p.machine.state(), State::kFrozen);
  p.Forget();

  p.word.Decide(Outcome::kCommitted);
  p.Deliver(Body([](v1::Frame& f) { f.mutable_committed(); }));
  EXPECT_EQ(p.commands, std::vector<Command>({Command::kRelease}));
  EXPECT_TRUE(p.machine.committed());
  EXPECT_TRUE(p.sent.empty()) << "Released before the copies are closed";
  p.Finish([&] { p.machine.OnReleased(p.now); });
  EXPECT_EQ(p.SentNames(), Names({"released"}));
  EXPECT_EQ(p.machine.state(), State::kWatching);
  p.Finish([&] { p.machine.OnReleased(p.now); });
  EXPECT_EQ(p.SentNames(), Names({"released"})) << "it was sent twice";
  p.Deliver(Body([](v1::Frame& f) { f.mutable_retire(); }));
  EXPECT_EQ(p.machine.state(), State::kEnded);
  EXPECT_FALSE(p.machine.aborted() || p.machine.refused() ||
               p.machine.rolled_back());
}

TEST(PredecessorMachineTest, OffersNothingToAHelloThatItRefuses) {
  const NoDescriptorLeak no_leak;
  struct Case {
    v1::Refuse::Reason reason;
    std::function<void(v1::Hello&)> spoil;
  };
  const Case cases[] = {
      {v1::Refuse::VERSION,
       [](v1::Hello& h) {
         h.set_lowest_protocol(99), h.set_highest_protocol(99);
       }},
      {v1::Refuse::SCHEMA, [](v1::Hello& h) { h.clear_reads(); }},
      {v1::Refuse::SCHEMA,
       [](v1::Hello& h) { h.mutable_reads(0)->set_lowest(3); }},
      {v1::Refuse::MALFORMED,
       [](v1::Hello& h) { *h.add_reads() = h.reads(0); }},
      {v1::Refuse::LIMITS, [](v1::Hello& h) { h.set_descriptor_headroom(99); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(v1::Refuse::Reason_Name(c.reason));
    DrivenPredecessor p;
    v1::Frame hello = HelloFrame();
    c.spoil(*hello.mutable_hello());
    p.Deliver(hello);
    ASSERT_EQ(p.SentNames(), Names({"refuse"}));
    EXPECT_EQ(p.sent[0].refuse().reason(), c.reason)
        << p.sent[0].ShortDebugString();
    EXPECT_EQ(p.sent[0].refuse().detail(), p.machine.why().message());
    EXPECT_EQ(p.sent_descriptors.size(), 1u) << "its own pidfd, no more";
    EXPECT_TRUE(p.commands.empty());
    EXPECT_TRUE(p.machine.refused());
    EXPECT_EQ(p.machine.state(), State::kEnded);
    EXPECT_EQ(p.word.Load(), Outcome::kOpen);
  }
}

struct DeadlineCase {
  State state;
  absl::Duration after;  // since the 10 ms step that led to the state
  State then;
};

// The frozen time runs from the cut, which comes one step before kFrozen, and
// staging from Offer, one step before kAwaitReady.
std::vector<DeadlineCase> DeadlineCases() {
  const Deadlines d = DistinctDeadlines();
  const absl::Duration step = absl::Milliseconds(10);
  return {{State::kAwaitHello, d.hello, State::kEnded},
          {State::kFirstRound, d.staging, State::kAborting},
          {State::kAwaitReady, d.staging - step, State::kAborting},
          {State::kSecondRound, d.staging, State::kAborting},
          {State::kQuiescing, d.quiesce, State::kAborting},
          {State::kCutting, d.frozen, State::kAborting},
          {State::kFrozen, d.frozen - step, State::kAborting},
          {State::kWatching, d.watch, State::kEnded},
          {State::kAborting, d.released, State::kEnded}};
}

TEST(PredecessorMachineTest, EveryWaitEndsAtItsDeadlineAndNotBefore) {
  for (const DeadlineCase& c : DeadlineCases()) {
    SCOPED_TRACE(Name(c.state));
    DrivenPredecessor p;
    p.GoTo(c.state);
    ASSERT_EQ(p.machine.state(), c.state);
    p.Forget();
    const absl::Time deadline = p.now + c.after;
    EXPECT_EQ(p.machine.NextDeadline(), deadline);
    p.At(deadline - kJust);
    EXPECT_EQ(p.machine.state(), c.state) << "ended before its deadline";
    EXPECT_TRUE(p.sent.empty() && p.commands.empty());
    p.At(deadline);
    EXPECT_EQ(p.machine.state(), c.then) << Name(p.machine.state());
    EXPECT_FALSE(p.machine.rolled_back());
    if (c.then == State::kAborting) {
      EXPECT_EQ(p.SentNames(), Names({"abort"}));
      EXPECT_EQ(p.sent.at(0).abort().reason(), v1::Abort::DEADLINE);
      EXPECT_TRUE(absl::IsDeadlineExceeded(p.machine.why()));
      EXPECT_EQ(p.word.Load(), Outcome::kAborted);
    }
    if (p.machine.state() == State::kEnded) {
      EXPECT_EQ(p.machine.NextDeadline(), absl::InfiniteFuture());
    }
  }
}

TEST(PredecessorMachineTest, AHandoffThatHasEndedWaitsForNothing) {
  DrivenPredecessor p;
  p.GoTo(State::kEnded);
  EXPECT_EQ(p.machine.NextDeadline(), absl::InfiniteFuture());
  p.At(p.now + absl::Hours(1'000));
  EXPECT_EQ(p.machine.state(), State::kEnded);
}

TEST(PredecessorMachineTest, AGroupThatDoesNotReleaseHoldsUpNothingForEver) {
  DrivenPredecessor p;
  p.GoTo(State::kReleasing);
  p.Forget();
  const absl::Time deadline = p.machine.NextDeadline();
  ASSERT_GT(deadline, p.now);
  ASSERT_LT(deadline, absl::InfiniteFuture());
  p.At(deadline - absl::Nanoseconds(1));
  EXPECT_EQ(p.machine.state(), State::kReleasing);
  p.At(deadline);
  EXPECT_EQ(p.machine.state(), State::kWatching);
  EXPECT_TRUE(p.SentNames().empty()) << "its copies are not closed";
  p.machine.OnPeerDead(p.now);
  EXPECT_TRUE(p.machine.rolled_back()) << "the watch is kept all the same";
}

TEST(PredecessorMachineTest, ASuccessorThatTakesNoFrameIsAborted) {
  DrivenPredecessor p;
  p.peer_reads = false;
  p.Deliver(HelloFrame());
  const absl::Time deadline = p.now + DistinctDeadlines().frame;
  EXPECT_EQ(p.machine.NextDeadline(), deadline);
  p.At(deadline - kJust);
  EXPECT_EQ(p.machine.state(), State::kFirstRound);
  p.At(deadline);
  EXPECT_EQ(p.machine.state(), State::kAborting);
  EXPECT_TRUE(absl::IsDeadlineExceeded(p.machine.why())) << p.machine.why();
}

TEST(PredecessorMachineTest, ASuccessorThatAcknowledgesNothingIsAborted) {
  DrivenPredecessor p;
  p.GoTo(State::kFirstRound);
  p.Finish([&] { p.machine.AddBatch(Batch({7}), p.now); });
  p.Finish([&] { p.machine.AddBatch(Batch({8}), p.now); });
  p.Finish([&] { p.machine.AddBatch(Batch({9}), p.now); });
  EXPECT_EQ(p.SentNames(), Names({"offer", "sessions", "sessions"}))
      << "the window is two frames";
  p.Deliver(Ack(2));
  EXPECT_EQ(p.SentNames().size(), 4u);
  const absl::Time deadline = p.now + DistinctDeadlines().frame;
  p.At(deadline - kJust);
  EXPECT_EQ(p.machine.state(), State::kFirstRound);
  p.At(deadline);
  EXPECT_EQ(p.machine.state(), State::kAborting);
  EXPECT_EQ(p.SentNames().back(), "abort");
}

TEST(PredecessorMachineTest, AnAcknowledgementOfWhatWasNotSentAborts) {
  DrivenPredecessor p;
  p.GoTo(State::kFirstRound);
  p.Deliver(Ack(p.seq));
  EXPECT_EQ(p.machine.state(), State::kFirstRound);
  p.Deliver(Ack(p.seq + 1));
  EXPECT_EQ(p.machine.state(), State::kAborting);
  EXPECT_EQ(p.sent.back().abort().reason(), v1::Abort::MALFORMED);
}

TEST(PredecessorMachineTest, QuiescesOnlyWhenTheSuccessorHasCaughtUp) {
  DrivenPredecessor p;
  p.GoTo(State::kSecondRound);
  p.Forget();
  for (uint64_t id = 1; id <= 3; ++id) {
    p.machine.AddBatch(Batch({id}), p.now);
  }
  p.Finish([&] { p.machine.OnRoundDone(p.now); });
  EXPECT_EQ(p.machine.state(), State::kSecondRound)
      << "what is queued would be sent within the blackout";
  EXPECT_EQ(p.Count(Command::kQuiesce), 0);
  p.Deliver(Ack(p.seq));
  EXPECT_EQ(p.SentNames().size(), 3u);
  EXPECT_EQ(p.machine.state(), State::kSecondRound)
      << "what is not acknowledged would be restored within the blackout";
  p.Deliver(Ack(p.seq));
  EXPECT_EQ(p.machine.state(), State::kQuiescing);
  EXPECT_EQ(p.Count(Command::kQuiesce), 1);
}

TEST(PredecessorMachineTest, WhileMuchChangesThereAreMoreLiveRoundsButNotMany) {
  DrivenPredecessor p;
  p.GoTo(State::kSecondRound);
  p.Forget();
  int rounds = 0;
  while (p.machine.state() == State::kSecondRound && rounds < 100) {
    ++rounds;
    std::vector<uint64_t> ids(1000);
    std::iota(ids.begin(), ids.end(), 1);
    p.machine.AddBatch(Batch(ids), p.now);
    p.Finish([&] { p.machine.OnRoundDone(p.now); });
    p.Deliver(Ack(p.seq));
  }
  EXPECT_EQ(p.machine.state(), State::kQuiescing);
  EXPECT_EQ(p.Count(Command::kRunRound), rounds - 1);
  EXPECT_EQ(rounds, 5);
}

TEST(PredecessorMachineTest, OnlyAnAbortAfterQuiesceThawsAndItDoesSoOnce) {
  for (const State state : EveryPredecessorState()) {
    if (!Undecided(state)) continue;
    for (const bool from_peer : {false, true}) {
      SCOPED_TRACE(Name(state) + (from_peer ? ", by the peer" : ", by us"));
      DrivenPredecessor p;
      p.GoTo(state);
      if (from_peer) {
        p.Deliver(AbortFrame());
      } else {
        p.Finish(
            [&] { p.machine.Abort(v1::Abort::STOPPED, "stopping", p.now); });
      }
      EXPECT_EQ(p.machine.state(), State::kAborting);
      EXPECT_EQ(p.SentNames().back() == "abort", !from_peer);
      p.Finish([&] { p.machine.Abort(v1::Abort::STOPPED, "again", p.now); });
      p.Deliver(AbortFrame());
      p.Finish([&] { p.machine.OnPeerDead(p.now); });
      EXPECT_EQ(p.Count(Command::kThaw), state >= State::kQuiescing ? 1 : 0);
      EXPECT_EQ(p.word.Load(), Outcome::kAborted);
      EXPECT_EQ(p.machine.state(), State::kEnded);
      EXPECT_FALSE(p.machine.committed());
    }
  }
}

TEST(PredecessorMachineTest, AQuiesceThatWasNotCarriedOutIsTakenBack) {
  DrivenPredecessor p;
  p.GoTo(State::kSecondRound);
  p.machine.OnRoundDone(p.now);  // kQuiesce is there, and nobody took it
  ASSERT_EQ(p.machine.state(), State::kQuiescing);
  p.machine.Abort(v1::Abort::STOPPED, "stopping", p.now);
  p.Drain();
  EXPECT_EQ(p.Count(Command::kQuiesce), 0);
  EXPECT_EQ(p.Count(Command::kThaw), 0) << "nothing to thaw";
}

TEST(PredecessorMachineTest, NewsOfTheDriverAfterTheOutcomeChangesNothing) {
  for (const State state :
       {State::kAborting, State::kReleasing, State::kWatching, State::kEnded}) {
    SCOPED_TRACE(Name(state));
    DrivenPredecessor p;
    p.GoTo(state);
    p.Forget();
    p.machine.AddBatch(Batch({7}), p.now);
    p.machine.OnRoundDone(p.now);
    p.machine.OnQuiesced(p.now);
    p.machine.OnCut(4711, p.now);
    if (state != State::kReleasing) p.machine.OnReleased(p.now);
    p.Drain();
    EXPECT_EQ(p.machine.state(), state);
    EXPECT_TRUE(p.sent.empty()) << p.SentNames()[0];
    EXPECT_TRUE(p.commands.empty());
  }
}

TEST(PredecessorMachineTest, AStuckAbortedSuccessorIsKilledUnlessToldNotTo) {
  for (const bool kill : {true, false}) {
    PredecessorMachine::Config config = DrivenPredecessor::DefaultConfig();
    config.kill_stuck_successor = kill;
    DrivenPredecessor p(std::move(config));
    p.GoTo(State::kAborting);
    p.At(p.now + DistinctDeadlines().released - kJust);
    EXPECT_EQ(p.Count(Command::kKillPeer), 0);
    p.At(p.now + kJust);
    p.At(p.now + absl::Hours(1));
    EXPECT_EQ(p.Count(Command::kKillPeer), kill ? 1 : 0);
    EXPECT_EQ(p.machine.state(), State::kEnded);
  }
}

TEST(PredecessorMachineTest, AnAbortedSuccessorThatGoesInTimeIsNotKilled) {
  DrivenPredecessor p;
  p.GoTo(State::kAborting);
  p.Finish([&] { p.machine.OnPeerClosed(p.now); });
  EXPECT_EQ(p.machine.state(), State::kEnded);
  p.At(p.now + absl::Hours(1));
  EXPECT_EQ(p.Count(Command::kKillPeer), 0);
}

// What may come when the successor has already swapped the word.
struct Late {
  const char* what;
  std::function<void(DrivenPredecessor&)> happen;
};

TEST(PredecessorMachineTest, TheWordWinsAgainstEveryReasonToAbort) {
  const Late events[] = {
      {"its Abort", [](DrivenPredecessor& p) { p.Deliver(AbortFrame()); }},
      {"our Abort",
       [](DrivenPredecessor& p) {
         p.Finish(
             [&] { p.machine.Abort(v1::Abort::STOPPED, "stopping", p.now); });
       }},
      {"a closed connection",
       [](DrivenPredecessor& p) {
         p.Finish([&] { p.machine.OnPeerClosed(p.now); });
       }},
      {"its death",
       [](DrivenPredecessor& p) {
         p.Finish([&] { p.machine.OnPeerDead(p.now); });
       }},
      {"a frame that cannot be used",
       [](DrivenPredecessor& p) {
         p.Finish([&] {
           p.machine.OnBadFrame(v1::Abort::TRUNCATED,
                                absl::DataLossError("MSG_CTRUNC"), p.now);
         });
       }},
      {"the frozen deadline",
       [](DrivenPredecessor& p) { p.At(p.machine.NextDeadline()); }}};
  for (const Late& event : events) {
    SCOPED_TRACE(event.what);
    DrivenPredecessor p;
    p.GoTo(State::kFrozen);
    p.Forget();
    p.word.Decide(Outcome::kCommitted);
    event.happen(p);
    EXPECT_EQ(p.machine.state(), State::kReleasing);
    EXPECT_TRUE(p.machine.committed());
    EXPECT_FALSE(p.machine.aborted());
    EXPECT_EQ(p.commands, std::vector<Command>({Command::kRelease}));
    EXPECT_TRUE(p.sent.empty()) << p.SentNames()[0];
    p.Deliver(Body([](v1::Frame& f) { f.mutable_committed(); }));
    EXPECT_EQ(p.Count(Command::kRelease), 1) << "the late Committed";
  }
}

TEST(PredecessorMachineTest, CommittedIsNotBelievedWithoutTheWord) {
  DrivenPredecessor p;
  p.GoTo(State::kFrozen);
  p.Deliver(Body([](v1::Frame& f) { f.mutable_committed(); }));
  EXPECT_EQ(p.machine.state(), State::kAborting);
  EXPECT_EQ(p.word.Load(), Outcome::kAborted);
  EXPECT_EQ(p.Count(Command::kThaw), 1);
  EXPECT_EQ(p.Count(Command::kRelease), 0);
}

TEST(PredecessorMachineTest, APeerThatClosesOrDiesBeforeTheOutcomeAborts) {
  for (const State state : EveryPredecessorState()) {
    if (!Undecided(state) && state != State::kAborting) continue;
    for (const bool dead : {false, true}) {
      SCOPED_TRACE(Name(state) + (dead ? ", dead" : ", closed"));
      DrivenPredecessor p;
      p.GoTo(state);
      p.Forget();
      p.Finish([&] {
        dead ? p.machine.OnPeerDead(p.now) : p.machine.OnPeerClosed(p.now);
      });
      EXPECT_EQ(p.machine.state(), State::kEnded);
      EXPECT_TRUE(p.machine.aborted());
      EXPECT_TRUE(p.sent.empty()) << "to nobody";
      EXPECT_EQ(p.Count(Command::kThaw),
                Undecided(state) && state >= State::kQuiescing ? 1 : 0);
      p.Finish([&] { p.machine.OnPeerClosed(p.now); });
      p.Finish([&] { p.machine.OnPeerDead(p.now); });
      EXPECT_EQ(p.machine.state(), State::kEnded);
      EXPECT_EQ(p.Count(Command::kRollBack), 0);
    }
  }
}

TEST(PredecessorMachineTest, APeerThatGoesBeforeHelloLeavesNothingBehind) {
  DrivenPredecessor p;
  p.Finish([&] { p.machine.OnPeerClosed(p.now); });
  EXPECT_EQ(p.machine.state(), State::kEnded);
  EXPECT_FALSE(p.machine.aborted());
  EXPECT_EQ(p.word.Load(), Outcome::kOpen);
  EXPECT_TRUE(p.sent.empty() && p.commands.empty());
}

TEST(PredecessorMachineTest, ARetiredOneNeverRollsBackWhateverItHasHeard) {
  // The connection is lost, both live, and then the successor ends.
  DrivenPredecessor p;
  p.GoTo(State::kWatching);
  p.Finish([&] { p.machine.OnPeerClosed(p.now); });
  EXPECT_EQ(p.machine.state(), State::kWatching);
  p.word.Retire();
  p.Finish([&] { p.machine.OnPeerDead(p.now); });
  EXPECT_EQ(p.machine.state(), State::kEnded);
  EXPECT_FALSE(p.machine.rolled_back());

  DrivenPredecessor closed_after;
  closed_after.GoTo(State::kWatching);
  closed_after.word.Retire();
  closed_after.Finish(
      [&] { closed_after.machine.OnPeerClosed(closed_after.now); });
  EXPECT_EQ(closed_after.machine.state(), State::kEnded);

  DrivenPredecessor releasing;
  releasing.GoTo(State::kReleasing);
  releasing.word.Retire();
  releasing.Finish([&] { releasing.machine.OnReleased(releasing.now); });
  EXPECT_EQ(releasing.machine.state(), State::kEnded);
}

TEST(PredecessorMachineTest, ACrashWithinTheWatchRollsBackOnce) {
  DrivenPredecessor p;
  p.GoTo(State::kWatching);
  p.Finish([&] { p.machine.OnPeerClosed(p.now); });
  EXPECT_EQ(p.machine.state(), State::kWatching)
      << "a closed connection does not say that it is dead";
  p.Finish([&] { p.machine.OnPeerDead(p.now); });
  p.Finish([&] { p.machine.OnPeerDead(p.now); });
  p.At(p.now + absl::Hours(1));
  EXPECT_EQ(p.Count(Command::kRollBack), 1);
  EXPECT_TRUE(p.machine.rolled_back());
  EXPECT_TRUE(p.machine.committed()) << "the handoff was";
  EXPECT_EQ(p.machine.state(), State::kEnded);
}

TEST(PredecessorMachineTest, ACrashAfterExpiryOrRetireIsNotOurs) {
  for (const bool retire : {false, true}) {
    DrivenPredecessor p;
    p.GoTo(State::kWatching);
    if (retire) {
      p.Deliver(Body([](v1::Frame& f) { f.mutable_retire(); }));
    } else {
      p.At(p.now + DistinctDeadlines().watch);
    }
    EXPECT_EQ(p.machine.state(), State::kEnded);
    p.Finish([&] { p.machine.OnPeerDead(p.now); });
    EXPECT_EQ(p.Count(Command::kRollBack), 0) << (retire ? "retire" : "expiry");
  }
}

TEST(PredecessorMachineTest, ACrashBeforeReleasedRollsBackAfterTheRelease) {
  DrivenPredecessor p;
  p.GoTo(State::kReleasing);
  p.Finish([&] { p.machine.OnPeerDead(p.now); });
  EXPECT_EQ(p.machine.state(), State::kReleasing);
  EXPECT_EQ(p.Count(Command::kRollBack), 0) << "groups still release";
  p.Finish([&] { p.machine.OnReleased(p.now); });
  EXPECT_EQ(p.Count(Command::kRollBack), 1);
  EXPECT_TRUE(p.machine.rolled_back());
}

TEST(PredecessorMachineTest, RetireBeforeReleasedEndsTheWatchBeforeItBegins) {
  for (const bool committed_came : {false, true}) {
    DrivenPredecessor p;
    p.GoTo(committed_came ? State::kReleasing : State::kFrozen);
    p.word.Decide(Outcome::kCommitted);
    p.Deliver(Body([](v1::Frame& f) { f.mutable_retire(); }));
    EXPECT_EQ(p.machine.state(), State::kReleasing);
    p.Finish([&] { p.machine.OnPeerDead(p.now); });
    EXPECT_EQ(p.Count(Command::kRelease), 1);
    p.Finish([&] { p.machine.OnReleased(p.now); });
    EXPECT_EQ(p.machine.state(), State::kEnded);
    EXPECT_EQ(p.Count(Command::kRollBack), 0)
        << "it stopped deliberately; Committed came: " << committed_came;
  }
}

TEST(PredecessorMachineTest, AClosedConnectionGetsNoFrame) {
  DrivenPredecessor p;
  p.GoTo(State::kReleasing);
  p.Forget();
  p.Finish([&] { p.machine.OnPeerClosed(p.now); });
  p.Finish([&] { p.machine.OnReleased(p.now); });
  EXPECT_TRUE(p.sent.empty());
  EXPECT_EQ(p.machine.state(), State::kWatching)
      << "closed, but it may live: the watch goes on";
}

}  // namespace
}  // namespace handoff
