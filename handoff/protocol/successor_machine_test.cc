#include "handoff/protocol/successor_machine.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/driven_successor.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Command = SuccessorMachine::Command;
using State = SuccessorMachine::State;
using Names = std::vector<std::string>;

constexpr absl::Duration kJust = absl::Nanoseconds(1);

// A session with one descriptor, or an update of it.
v1::Frame SessionFrame(uint64_t id, bool sent_before = false) {
  v1::Frame frame;
  v1::SessionRecord* record = frame.mutable_sessions()->add_records();
  record->set_id(id);
  record->set_type("chat");
  v1::SessionDescriptor* d = record->add_descriptors();
  d->set_name("client");
  d->set_sent_in(sent_before ? 0 : 1);
  return frame;
}

v1::Frame PreCopied(uint64_t descriptors, uint64_t blobs, uint64_t sessions) {
  v1::Frame frame;
  frame.mutable_pre_copied()->set_descriptors(descriptors);
  frame.mutable_pre_copied()->set_blobs(blobs);
  frame.mutable_pre_copied()->set_sessions(sessions);
  return frame;
}

v1::Frame Final(uint64_t descriptors, uint64_t blobs, uint64_t sessions) {
  v1::Frame frame;
  frame.mutable_final()->set_descriptors(descriptors);
  frame.mutable_final()->set_blobs(blobs);
  frame.mutable_final()->set_sessions(sessions);
  frame.mutable_final()->set_cut_at(4711);
  return frame;
}

v1::Frame Listener() {
  v1::Frame frame;
  auto* entry = frame.mutable_descriptors_batch()->add_entries();
  entry->set_role(v1::Descriptors::HANDOFF_LISTENER);
  entry->set_name("handoff");
  return frame;
}

v1::Frame AbortFrame() {
  v1::Frame frame;
  frame.mutable_abort()->set_detail("stopping");
  return frame;
}

TEST(SuccessorMachineTest, GoesThroughAWholeHandoff) {
  const NoDescriptorLeak no_leak;
  DrivenSuccessor s;
  EXPECT_EQ(s.SentNames(), Names({"hello"}));
  EXPECT_TRUE(s.sent[0].must_understand());
  s.Forget();

  s.Deliver(OfferFrame(), NumberedFds({1, 2, 3}));
  EXPECT_EQ(s.commands, std::vector<Command>({Command::kOffered}));
  EXPECT_EQ(s.machine.offer().handoff_id(), 42u);
  ASSERT_EQ(s.machine.offer_descriptors().size(), 2u);
  EXPECT_EQ(NumberOf(s.machine.offer_descriptors()[0].get()), 2u) << "the word";
  EXPECT_EQ(NumberOf(s.machine.offer_descriptors()[1].get()), 3u);
  s.Finish([&] { s.machine.SetWord(&s.word, s.now); });
  s.Forget();

  s.Deliver(Listener(), NumberedFds({11}));
  s.Deliver(SessionFrame(7), NumberedFds({12}));
  s.Deliver(SessionFrame(8), NumberedFds({13}));
  EXPECT_EQ(s.SentNames(), Names({"batch-ack", "batch-ack", "batch-ack"}));
  EXPECT_EQ(s.sent[2].batch_ack().seq(), s.received);
  EXPECT_TRUE(s.commands.empty());
  s.Deliver(PreCopied(1, 0, 2));
  EXPECT_EQ(s.commands, std::vector<Command>({Command::kStaged}));
  s.Forget();

  v1::Ready ready;
  ready.add_unclaimed("admin");
  s.Finish([&] { s.machine.Ready(ready, s.now); });
  EXPECT_EQ(s.SentNames(), Names({"ready"}));
  EXPECT_EQ(s.sent[0].ready().unclaimed(0), "admin");
  EXPECT_TRUE(s.sent[0].must_understand());
  s.Forget();

  s.Deliver(SessionFrame(7, /*sent_before=*/true));
  s.Deliver(SessionFrame(9), NumberedFds({14}));
  v1::Frame closed;
  closed.mutable_sessions()->add_closed(8);
  s.Deliver(closed);
  s.Deliver(Final(1, 0, 2));
  EXPECT_EQ(s.commands, std::vector<Command>({Command::kDecode}));
  EXPECT_EQ(s.machine.final_counts().cut_at(), 4711u);
  EXPECT_EQ(s.word.Load(), Outcome::kOpen) << "committed before it decoded";
  s.Forget();

  s.Finish([&] { s.machine.OnDecoded(s.now); });
  EXPECT_EQ(s.word.Load(), Outcome::kCommitted);
  EXPECT_TRUE(s.machine.committed());
  EXPECT_EQ(s.SentNames(), Names({"committed"}));
  EXPECT_EQ(s.commands, std::vector<Command>({Command::kServe}));
  auto& sessions = s.machine.inventory().sessions();
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(NumberOf(sessions.at(7).descriptors[0]->get()), 12u);
  EXPECT_EQ(NumberOf(sessions.at(9).descriptors[0]->get()), 14u);

  v1::Frame released;
  released.mutable_released();
  s.Deliver(released);
  s.Deliver(released);
  EXPECT_EQ(s.commands,
            std::vector<Command>({Command::kServe, Command::kReleased}));
  s.Finish([&] { s.machine.Retire(s.now); });
  EXPECT_EQ(s.SentNames(), Names({"committed", "retire"}));
  EXPECT_EQ(s.machine.state(), State::kEnded);
}

TEST(SuccessorMachineTest, AnOfferThatCannotBeTakenIsAbortedAndMovesNothing) {
  const NoDescriptorLeak no_leak;
  struct Case {
    const char* what;
    v1::Abort::Reason reason;
    std::function<void(v1::Offer&)> spoil;
    std::vector<uint64_t> descriptors;
  };
  const auto nothing = [](v1::Offer&) {};
  const Limits limits;
  const Case cases[] = {
      {"no descriptors", v1::Abort::MALFORMED, nothing, {}},
      {"no types", v1::Abort::MALFORMED, nothing, {1, 2}},
      {"one too many", v1::Abort::MALFORMED, nothing, {1, 2, 3, 4}},
      {"no protocol",
       v1::Abort::MALFORMED,
       [](v1::Offer& o) { o.clear_protocol(); },
       {1, 2, 3}},
      {"a protocol that we do not speak",
       v1::Abort::MALFORMED,
       [](v1::Offer& o) { o.set_protocol(kHighestProtocol + 1); },
       {1, 2, 3}},
      {"too many sessions",
       v1::Abort::LIMITS,
       [&](v1::Offer& o) { o.set_sessions(limits.sessions + 1); },
       {1, 2, 3}},
      {"too many descriptors",
       v1::Abort::LIMITS,
       [&](v1::Offer& o) { o.set_descriptors(limits.named_descriptors + 1); },
       {1, 2, 3}},
      {"a version that we do not read",
       v1::Abort::MISMATCH,
       [](v1::Offer& o) { o.mutable_writes(0)->set_version(4); },
       {1, 2, 3}},
      {"a type that we do not read",
       v1::Abort::MISMATCH,
       [](v1::Offer& o) { o.mutable_writes(0)->set_name("proxy"); },
       {1, 2, 3}}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    DrivenSuccessor s;
    s.Forget();
    v1::Frame offer = OfferFrame();
    c.spoil(*offer.mutable_offer());
    s.Deliver(offer, NumberedFds(c.descriptors));
    EXPECT_EQ(s.machine.state(), State::kEnded);
    ASSERT_EQ(s.SentNames(), Names({"abort"}));
    EXPECT_EQ(s.sent[0].abort().reason(), c.reason)
        << s.sent[0].ShortDebugString();
    EXPECT_TRUE(s.commands.empty());
    EXPECT_TRUE(s.machine.offer_descriptors().empty());
  }
}

TEST(SuccessorMachineTest, EveryWaitEndsAtItsDeadlineAndNotBefore) {
  const Deadlines d = DistinctDeadlines();
  const absl::Duration step = absl::Milliseconds(10);
  struct Case {
    State state;
    absl::Duration after;  // since the 10 ms step that led to the state
    State then;
  };
  const Case cases[] = {
      {State::kAwaitOffer, d.hello, State::kEnded},
      {State::kMapping, d.staging, State::kEnded},
      {State::kStaging, d.frame, State::kEnded},
      // Since Offer, two steps before.
      {State::kStaged, d.staging - 2 * step, State::kEnded},
      // The predecessor may have nothing to say until it has frozen.
      {State::kReady, d.frame + d.quiesce + d.frozen, State::kEnded},
      {State::kCommitted, d.released, State::kReleased}};
  for (const Case& c : cases) {
    SCOPED_TRACE(Name(c.state));
    DrivenSuccessor s;
    s.GoTo(c.state);
    s.Forget();
    const absl::Time deadline = s.now + c.after;
    EXPECT_EQ(s.machine.NextDeadline(), deadline);
    s.At(deadline - kJust);
    EXPECT_EQ(s.machine.state(), c.state) << "ended before its deadline";
    EXPECT_TRUE(s.sent.empty() && s.commands.empty());
    s.At(deadline);
    EXPECT_EQ(s.machine.state(), c.then);
    EXPECT_EQ(s.machine.NextDeadline(), absl::InfiniteFuture());
    if (c.then == State::kReleased) {
      EXPECT_EQ(s.commands, std::vector<Command>({Command::kReleased}));
      EXPECT_TRUE(s.sent.empty());
      continue;
    }
    ASSERT_EQ(s.SentNames(), Names({"abort"}));
    EXPECT_EQ(s.sent[0].abort().reason(), v1::Abort::DEADLINE);
    EXPECT_TRUE(absl::IsDeadlineExceeded(s.machine.why()));
    EXPECT_EQ(s.word.Load(),
              c.state > State::kMapping ? Outcome::kAborted : Outcome::kOpen);
  }
}

TEST(SuccessorMachineTest, DecodingIsBoundedByThePredecessorAlone) {
  for (const State state :
       {State::kDecoding, State::kReleased, State::kEnded}) {
    DrivenSuccessor s;
    s.GoTo(state);
    EXPECT_EQ(s.machine.NextDeadline(), absl::InfiniteFuture()) << Name(state);
    s.At(s.now + absl::Hours(1'000));
    EXPECT_EQ(s.machine.state(), state) << Name(state);
  }
}

TEST(SuccessorMachineTest, EveryBatchIsASignOfLife) {
  for (const State state : {State::kStaging, State::kReady}) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    for (uint64_t id = 1; id <= 3; ++id) {
      s.At(s.machine.NextDeadline() - absl::Milliseconds(11));
      s.Deliver(SessionFrame(id), NumberedFds({id}));
      ASSERT_EQ(s.machine.state(), state);
    }
    const absl::Duration silence = state == State::kStaging
                                       ? DistinctDeadlines().frame
                                       : DistinctDeadlines().frame +
                                             DistinctDeadlines().quiesce +
                                             DistinctDeadlines().frozen;
    EXPECT_EQ(s.machine.NextDeadline(), s.now + silence);
  }
}

TEST(SuccessorMachineTest, APredecessorThatTakesNoFrameIsGivenUp) {
  DrivenSuccessor s;
  s.GoTo(State::kStaged);
  s.peer_reads = false;
  s.Finish([&] { s.machine.Ready({}, s.now); });
  const absl::Time deadline = s.now + DistinctDeadlines().frame;
  EXPECT_EQ(s.machine.NextDeadline(), deadline);
  s.At(deadline - kJust);
  EXPECT_EQ(s.machine.state(), State::kReady);
  s.At(deadline);
  EXPECT_EQ(s.machine.state(), State::kEnded);
  EXPECT_EQ(s.word.Load(), Outcome::kAborted);
}

TEST(SuccessorMachineTest, CountsThatDifferAbort) {
  const NoDescriptorLeak no_leak;
  const uint64_t wrong[][3] = {
      {0, 0, 1}, {2, 0, 1}, {1, 1, 1}, {1, 0, 0}, {1, 0, 2}};
  for (const bool final_counts : {false, true}) {
    for (const auto& [descriptors, blobs, sessions] : wrong) {
      SCOPED_TRACE(final_counts ? "Final" : "PreCopied");
      DrivenSuccessor s;
      s.GoTo(State::kStaging);
      s.Deliver(Listener(), NumberedFds({1}));
      s.Deliver(SessionFrame(7), NumberedFds({2}));
      if (final_counts) {
        s.Deliver(PreCopied(1, 0, 1));
        s.Finish([&] { s.machine.Ready({}, s.now); });
        ASSERT_EQ(s.machine.state(), State::kReady);
      }
      s.Forget();
      s.Deliver(final_counts ? Final(descriptors, blobs, sessions)
                             : PreCopied(descriptors, blobs, sessions));
      EXPECT_EQ(s.machine.state(), State::kEnded);
      ASSERT_EQ(s.SentNames(), Names({"abort"}));
      EXPECT_EQ(s.sent[0].abort().reason(), v1::Abort::MISMATCH);
      EXPECT_TRUE(s.commands.empty());
      EXPECT_EQ(s.word.Load(), Outcome::kAborted);
    }
  }
}

TEST(SuccessorMachineTest, ABatchThatCannotBeStagedAbortsForItsOwnReason) {
  const NoDescriptorLeak no_leak;
  SuccessorMachine::Config config = DrivenSuccessor::DefaultConfig();
  config.limits.sessions = 3;
  {
    DrivenSuccessor s(config);
    s.GoTo(State::kStaging);
    s.Deliver(SessionFrame(7), NumberedFds({1, 2}));
    EXPECT_EQ(s.sent.back().abort().reason(), v1::Abort::MALFORMED)
        << s.sent.back().ShortDebugString();
  }
  DrivenSuccessor s(config);
  s.GoTo(State::kStaging);
  for (uint64_t id = 1; id <= 4; ++id) {
    s.Deliver(SessionFrame(id), NumberedFds({id}));
  }
  EXPECT_EQ(s.sent.back().abort().reason(), v1::Abort::LIMITS)
      << s.sent.back().ShortDebugString();
}

TEST(SuccessorMachineTest, ARefusalSaysWhyAndIsNotAnswered) {
  DrivenSuccessor s;
  s.Forget();
  v1::Frame refuse;
  refuse.mutable_refuse()->set_reason(v1::Refuse::BUSY);
  refuse.mutable_refuse()->set_detail("another handoff goes on");
  s.Deliver(refuse, NumberedFds({1}));
  EXPECT_EQ(s.machine.state(), State::kEnded);
  EXPECT_TRUE(absl::IsUnavailable(s.machine.why())) << s.machine.why();
  EXPECT_TRUE(s.sent.empty() && s.commands.empty());
}

TEST(SuccessorMachineTest, AnAbortFromEitherSideEndsItAndTheWordAgrees) {
  for (const State state : EverySuccessorState()) {
    for (const bool from_peer : {false, true}) {
      SCOPED_TRACE(Name(state) + (from_peer ? ", by the peer" : ", by us"));
      DrivenSuccessor s;
      s.GoTo(state);
      s.Forget();
      if (from_peer) {
        s.Deliver(AbortFrame());
      } else {
        s.Finish(
            [&] { s.machine.Abort(v1::Abort::STOPPED, "stopping", s.now); });
      }
      if (state >= State::kCommitted) {
        EXPECT_EQ(s.machine.state(), state) << "it is committed";
        EXPECT_TRUE(s.machine.committed());
        EXPECT_TRUE(s.sent.empty());
        continue;
      }
      EXPECT_EQ(s.machine.state(), State::kEnded);
      EXPECT_EQ(s.SentNames(), from_peer ? Names() : Names({"abort"}));
      EXPECT_EQ(s.word.Load(),
                state > State::kMapping ? Outcome::kAborted : Outcome::kOpen);
      s.Finish([&] { s.machine.OnPeerDead(s.now); });
      EXPECT_TRUE(s.commands.empty()) << "an aborted successor acted";
    }
  }
}

TEST(SuccessorMachineTest, ADecodeThatWasNotCarriedOutIsTakenBack) {
  DrivenSuccessor s;
  s.GoTo(State::kReady);
  s.machine.OnFrame(Final(0, 0, 0), {}, s.now);  // nobody took kDecode
  s.machine.OnFrame(AbortFrame(), {}, s.now);
  s.Drain();
  EXPECT_EQ(s.Count(Command::kDecode), 0);
  s.Finish([&] { s.machine.OnDecoded(s.now); });
  EXPECT_EQ(s.Count(Command::kServe), 0);
  EXPECT_EQ(s.word.Load(), Outcome::kAborted);
}

TEST(SuccessorMachineTest, ALostSwapMeansThatItServesNothing) {
  DrivenSuccessor s;
  s.GoTo(State::kDecoding);
  s.Forget();
  s.word.Decide(Outcome::kAborted);  // the predecessor's, a moment before
  s.Finish([&] { s.machine.OnDecoded(s.now); });
  EXPECT_EQ(s.machine.state(), State::kEnded);
  EXPECT_FALSE(s.machine.committed());
  EXPECT_TRUE(absl::IsAborted(s.machine.why()));
  EXPECT_TRUE(s.sent.empty() && s.commands.empty());
}

TEST(SuccessorMachineTest, APredecessorThatDiesBeforeFinalIsAdopted) {
  for (const State state : {State::kStaging, State::kStaged, State::kReady}) {
    for (const bool closed_before : {false, true}) {
      SCOPED_TRACE(Name(state));
      DrivenSuccessor s;
      s.GoTo(state);
      s.Forget();
      if (closed_before) {
        s.Finish([&] { s.machine.OnPeerClosed(s.now); });
        EXPECT_EQ(s.machine.state(), state) << "closed is not dead";
        EXPECT_EQ(s.word.Load(), Outcome::kOpen);
      }
      s.Finish([&] { s.machine.OnPeerDead(s.now); });
      s.Finish([&] { s.machine.OnPeerDead(s.now); });
      EXPECT_EQ(s.commands, std::vector<Command>({Command::kAdopt}));
      EXPECT_TRUE(s.machine.committed());
      EXPECT_EQ(s.word.Load(), Outcome::kCommitted);
      EXPECT_EQ(s.machine.state(), State::kEnded);
    }
  }
}

TEST(SuccessorMachineTest, ADeadPredecessorThatHadAbortedIsNeverAdopted) {
  for (const State state :
       {State::kStaging, State::kStaged, State::kReady, State::kDecoding}) {
    for (const bool closed_before : {false, true}) {
      SCOPED_TRACE(Name(state));
      DrivenSuccessor s;
      s.GoTo(state);
      s.Forget();
      if (closed_before) s.Finish([&] { s.machine.OnPeerClosed(s.now); });
      s.word.Decide(Outcome::kAborted);
      s.Finish([&] { s.machine.OnPeerDead(s.now); });
      if (state == State::kDecoding) {
        s.Finish([&] { s.machine.OnDecoded(s.now); });
      }
      EXPECT_EQ(s.machine.state(), State::kEnded);
      EXPECT_TRUE(s.commands.empty()) << "it may have gone on serving";
      EXPECT_FALSE(s.machine.committed());
      EXPECT_TRUE(absl::IsAborted(s.machine.why()));
    }
  }
}

TEST(SuccessorMachineTest, AConnectionClosedByAnAbortedPredecessorEndsAtOnce) {
  DrivenSuccessor s;
  s.GoTo(State::kReady);
  s.word.Decide(Outcome::kAborted);
  s.Finish([&] { s.machine.OnPeerClosed(s.now); });
  EXPECT_EQ(s.machine.state(), State::kEnded);
}

TEST(SuccessorMachineTest, APredecessorThatClosesButLivesIsAborted) {
  for (const State state : {State::kStaging, State::kStaged, State::kReady}) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    s.Forget();
    s.Finish([&] { s.machine.OnPeerClosed(s.now); });
    const absl::Time deadline = s.now + DistinctDeadlines().frame;
    s.At(deadline - kJust);
    EXPECT_EQ(s.machine.state(), state);
    s.At(deadline);
    EXPECT_EQ(s.machine.state(), State::kEnded);
    EXPECT_EQ(s.word.Load(), Outcome::kAborted);
    EXPECT_TRUE(s.sent.empty()) << "to nobody";
    s.Finish([&] { s.machine.OnPeerDead(s.now); });
    EXPECT_EQ(s.Count(Command::kAdopt), 0);
  }
}

TEST(SuccessorMachineTest, APeerThatGoesBeforeItsOfferLeavesNothing) {
  for (const State state : {State::kAwaitOffer, State::kMapping}) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    s.Forget();
    s.Finish([&] { s.machine.OnPeerDead(s.now); });
    EXPECT_EQ(s.machine.state(), State::kEnded);
    EXPECT_TRUE(s.commands.empty());
    s.Finish([&] { s.machine.SetWord(&s.word, s.now); });
    EXPECT_EQ(s.machine.state(), State::kEnded);
    EXPECT_EQ(s.word.Load(), Outcome::kOpen);
  }
}

TEST(SuccessorMachineTest, APredecessorThatDiesAfterFinalChangesNothing) {
  DrivenSuccessor s;
  s.GoTo(State::kDecoding);
  s.Forget();
  s.Finish([&] { s.machine.OnPeerDead(s.now); });
  EXPECT_EQ(s.machine.state(), State::kDecoding);
  s.Finish([&] { s.machine.OnDecoded(s.now); });
  EXPECT_EQ(s.commands,
            std::vector<Command>({Command::kServe, Command::kReleased}));
  EXPECT_EQ(s.word.Load(), Outcome::kCommitted);
  EXPECT_TRUE(s.sent.empty()) << "to nobody";
  EXPECT_EQ(s.machine.state(), State::kEnded);
}

TEST(SuccessorMachineTest, APredecessorThatGoesAfterTheCommitReleasesByThat) {
  DrivenSuccessor committed;
  committed.GoTo(State::kCommitted);
  committed.Forget();
  committed.Finish([&] { committed.machine.OnPeerClosed(committed.now); });
  EXPECT_TRUE(committed.word.Retired())
      << "if it lives, it must not take our end for a crash";
  committed.Finish([&] { committed.machine.OnPeerDead(committed.now); });
  EXPECT_EQ(committed.commands, std::vector<Command>({Command::kReleased}));
  EXPECT_EQ(committed.machine.state(), State::kEnded);

  DrivenSuccessor released;
  released.GoTo(State::kReleased);
  released.Forget();
  released.Finish([&] { released.machine.OnPeerDead(released.now); });
  EXPECT_TRUE(released.commands.empty()) << "it was told before";
  EXPECT_EQ(released.machine.state(), State::kEnded);
}

TEST(SuccessorMachineTest, OnlyACommittedOneRetires) {
  for (const State state : EverySuccessorState()) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    s.Forget();
    s.Finish([&] { s.machine.Retire(s.now); });
    const bool retires =
        state == State::kCommitted || state == State::kReleased;
    EXPECT_EQ(s.machine.state(), retires ? State::kEnded : state);
    EXPECT_EQ(s.SentNames(), retires ? Names({"retire"}) : Names());
    EXPECT_EQ(s.word.Retired(), s.word.Load() == Outcome::kCommitted);
  }
}

TEST(SuccessorMachineTest, RetireFollowsACommittedThatWaits) {
  DrivenSuccessor s;
  s.GoTo(State::kDecoding);
  s.peer_reads = false;
  s.Finish([&] { s.machine.OnDecoded(s.now); });
  s.Finish([&] { s.machine.Retire(s.now); });
  s.Forget();
  s.peer_reads = true;
  s.Drain();
  EXPECT_EQ(s.SentNames(), Names({"committed", "retire"}));
}

TEST(SuccessorMachineTest, NewsOfTheDriverAtTheWrongTimeChangesNothing) {
  for (const State state : EverySuccessorState()) {
    SCOPED_TRACE(Name(state));
    DrivenSuccessor s;
    s.GoTo(state);
    s.Forget();
    if (state != State::kMapping) s.machine.SetWord(&s.word, s.now);
    if (state != State::kStaged) s.machine.Ready({}, s.now);
    if (state != State::kDecoding) s.machine.OnDecoded(s.now);
    s.Drain();
    EXPECT_EQ(s.machine.state(), state);
    EXPECT_TRUE(s.sent.empty() && s.commands.empty());
  }
}

}  // namespace
}  // namespace handoff
