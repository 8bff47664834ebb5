#include "handoff/protocol/predecessor_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// A live round that had no more records than this is followed by the cut, which
// will have about as many: some two milliseconds of restoring.
constexpr size_t kFewRecords = 64;
// Where sessions change faster than they can be sent, more rounds do not help.
constexpr int kMaxLiveRounds = 5;

}  // namespace

absl::string_view PredecessorMachine::Name(State state) {
  switch (state) {
    case State::kAwaitHello: return "await-hello";
    case State::kFirstRound: return "first-round";
    case State::kAwaitReady: return "await-ready";
    case State::kSecondRound: return "second-round";
    case State::kQuiescing: return "quiescing";
    case State::kCutting: return "cutting";
    case State::kFrozen: return "frozen";
    case State::kReleasing: return "releasing";
    case State::kWatching: return "watching";
    case State::kAborting: return "aborting";
    case State::kEnded: return "ended";
  }
  return "unknown";
}

PredecessorMachine::PredecessorMachine(Config config, OutcomeWord* word,
                                       absl::Time now)
    : config_(std::move(config)),
      word_(word),
      outbox_(config_.limits.window_frames, config_.limits.window_descriptors),
      deadline_(now + config_.deadlines.hello) {}

void PredecessorMachine::Enter(State state, absl::Time deadline) {
  state_ = state;
  deadline_ = deadline;
}

void PredecessorMachine::Push(v1::Frame frame, absl::Time now) {
  if (!closed_) outbox_.Push({std::move(frame), {}}, now);
}

void PredecessorMachine::Refuse(v1::Refuse::Reason reason,
                                const absl::Status& why, absl::Time now) {
  refused_ = true;
  why_ = why;
  OutgoingFrame out;
  out.frame.mutable_refuse()->set_reason(reason);
  out.frame.mutable_refuse()->set_detail(Printable(why.message()));
  // The first frame of each side carries its sender's pidfd, whatever it is.
  if (!config_.offer_descriptors.empty()) {
    out.descriptors.push_back(config_.offer_descriptors.front());
  }
  if (!closed_) outbox_.Push(std::move(out), now);
  Enter(State::kEnded, absl::InfiniteFuture());
}

void PredecessorMachine::OnHello(const v1::Hello& hello, absl::Time now) {
  hello_ = hello;
  const auto protocol = NegotiateProtocol(hello);
  if (!protocol.ok()) {
    return Refuse(v1::Refuse::VERSION, protocol.status(), now);
  }
  const auto types = NegotiateTypes(config_.writes, hello.reads());
  if (!types.ok()) {
    const bool malformed = absl::IsInvalidArgument(types.status());
    return Refuse(malformed ? v1::Refuse::MALFORMED : v1::Refuse::SCHEMA,
                  types.status(), now);
  }
  v1::Offer& offer = config_.offer;
  if (hello.descriptor_headroom() < offer.descriptors_total()) {
    return Refuse(v1::Refuse::LIMITS,
                  absl::ResourceExhaustedError(absl::StrCat(
                      "the handoff needs ", offer.descriptors_total(),
                      " descriptors, the successor can open ",
                      hello.descriptor_headroom(),
                      " more; raise its limit (ulimit -n, LimitNOFILE=)")),
                  now);
  }
  offer.set_protocol(*protocol);
  for (const v1::NegotiatedType& type : *types) *offer.add_writes() = type;
  OutgoingFrame frame;
  *frame.frame.mutable_offer() = offer;
  frame.frame.set_must_understand(true);
  frame.descriptors = std::move(config_.offer_descriptors);
  outbox_.Push(std::move(frame), now);
  Enter(State::kFirstRound, now + config_.deadlines.staging);
  commands_.push_back(Command::kRunRound);
}

void PredecessorMachine::Unexpected(const v1::Frame& frame, absl::Time now) {
  OnBadFrame(v1::Abort::MALFORMED,
             absl::InvalidArgumentError(absl::StrCat(
                 "frame \"", BodyName(frame), "\" does not belong here")),
             now);
}

void PredecessorMachine::OnFrame(const v1::Frame& frame,
                                 std::vector<UniqueFd> descriptors,
                                 absl::Time now) {
  if (!descriptors.empty() && !frame.has_hello()) return Unexpected(frame, now);
  if (state_ == State::kAwaitHello && !frame.has_hello() &&
      frame.body_case() != v1::Frame::BODY_NOT_SET) {
    return Unexpected(frame, now);
  }
  switch (frame.body_case()) {
    case v1::Frame::BODY_NOT_SET:
      if (frame.must_understand()) Unexpected(frame, now);
      return;
    case v1::Frame::kAbort:
      if (undecided()) {
        Decide(AbortStatus(frame.abort(), "the successor"),
               frame.abort().reason(), /*tell=*/false, now);
      }
      return;
    case v1::Frame::kBatchAck:
      if (undecided() &&
          !outbox_.Acknowledge(frame.batch_ack().seq(), now)) {
        return Unexpected(frame, now);
      }
      return EndLiveRound(now);
    case v1::Frame::kHello:
      if (state_ == State::kAwaitHello) return OnHello(frame.hello(), now);
      return Unexpected(frame, now);
    case v1::Frame::kReady:
      // A rehearsal goes no further: it can neither freeze nor commit.
      if (state_ != State::kAwaitReady || hello_.rehearsal()) {
        return Unexpected(frame, now);
      }
      ready_ = frame.ready();
      Enter(State::kSecondRound, now + config_.deadlines.staging);
      commands_.push_back(Command::kRunRound);
      return;
    case v1::Frame::kCommitted:
      if (state_ != State::kFrozen) return Unexpected(frame, now);
      if (word_->Load() != Outcome::kCommitted) return Unexpected(frame, now);
      return OnCommitted(now);
    case v1::Frame::kRetire:
      if (state_ == State::kWatching) {
        Enter(State::kEnded, absl::InfiniteFuture());
      } else if (word_->Load() == Outcome::kCommitted &&
                 !hello_.rehearsal()) {
        // Its Committed and Retire can both be here before we have released.
        if (undecided()) OnCommitted(now);
        retired_ = true;
      } else {
        Unexpected(frame, now);
      }
      return;
    default:
      return Unexpected(frame, now);
  }
}

void PredecessorMachine::OnBadFrame(v1::Abort::Reason reason,
                                    const absl::Status& why, absl::Time now) {
  if (state_ == State::kAwaitHello) {
    Refuse(v1::Refuse::MALFORMED, why, now);
  } else if (undecided()) {
    Decide(why, reason, /*tell=*/true, now);
  }
}

void PredecessorMachine::Decide(const absl::Status& why,
                                v1::Abort::Reason reason, bool tell,
                                absl::Time now) {
  if (word_->Decide(Outcome::kAborted) == Outcome::kCommitted &&
      !hello_.rehearsal()) {
    return OnCommitted(now);
  }
  aborted_ = true;
  why_ = !hello_.rehearsal()
             ? why
             : absl::Status(why.code(),
                            absl::StrCat("a rehearsal: ", why.message()));
  commands_.clear();
  outbox_.Clear();
  if (quiesced_) commands_.push_back(Command::kThaw);
  if (closed_) return Enter(State::kEnded, absl::InfiniteFuture());
  if (tell) {
    v1::Frame frame;
    frame.mutable_abort()->set_reason(reason);
    frame.mutable_abort()->set_detail(Printable(why.message()));
    Push(std::move(frame), now);
  }
  Enter(State::kAborting, now + config_.deadlines.released);
}

void PredecessorMachine::OnCommitted(absl::Time now) {
  committed_ = true;
  commands_.clear();
  outbox_.Clear();
  commands_.push_back(Command::kRelease);
  Enter(State::kReleasing, now + config_.deadlines.released);
}

void PredecessorMachine::OnReleased(absl::Time now) {
  if (state_ != State::kReleasing) return;
  v1::Frame frame;
  frame.mutable_released();
  Push(std::move(frame), now);
  Watch(now);
}

void PredecessorMachine::Watch(absl::Time now) {
  if (retired_ || word_->Retired()) {
    return Enter(State::kEnded, absl::InfiniteFuture());
  }
  Enter(State::kWatching, now + config_.deadlines.watch);
  if (dead_) RollBack();
}

void PredecessorMachine::RollBack() {
  // Its Retire may have found no connection to travel on.
  if (word_->Retired()) return Enter(State::kEnded, absl::InfiniteFuture());
  rolled_back_ = true;
  why_ = absl::UnavailableError("the successor died within the watch");
  commands_.push_back(Command::kRollBack);
  Enter(State::kEnded, absl::InfiniteFuture());
}

void PredecessorMachine::OnPeerClosed(absl::Time now) {
  closed_ = true;
  outbox_.Clear();
  if (state_ == State::kAwaitHello || state_ == State::kAborting ||
      (state_ == State::kWatching && word_->Retired())) {
    Enter(State::kEnded, absl::InfiniteFuture());
  } else if (undecided()) {
    Decide(absl::AbortedError("the successor closed the connection"),
           v1::Abort::PEER_GONE, /*tell=*/false, now);
  }
}

void PredecessorMachine::OnPeerDead(absl::Time now) {
  dead_ = true;
  if (!closed_) OnPeerClosed(now);
  if (state_ == State::kWatching) RollBack();
}

void PredecessorMachine::OnTime(absl::Time now) {
  if (undecided() &&
      now >= outbox_.stalled_since() + config_.deadlines.frame) {
    return Decide(absl::DeadlineExceededError(absl::StrCat(
                      "the successor took nothing for ",
                      absl::FormatDuration(config_.deadlines.frame))),
                  v1::Abort::DEADLINE, /*tell=*/true, now);
  }
  if (now < deadline_) return;
  const auto late = [&](absl::string_view what, absl::Duration limit) {
    Decide(absl::DeadlineExceededError(
               absl::StrCat(what, " after ", absl::FormatDuration(limit))),
           v1::Abort::DEADLINE, /*tell=*/true, now);
  };
  const Deadlines& limit = config_.deadlines;
  switch (state_) {
    case State::kAwaitHello:
      return Refuse(v1::Refuse::MALFORMED,
                    absl::DeadlineExceededError("no hello in time"), now);
    case State::kFirstRound:
    case State::kAwaitReady:
      return late("the successor is not ready", limit.staging);
    case State::kSecondRound:
      return late("the second round did not end", limit.staging);
    case State::kQuiescing:
      return late("a group did not quiesce", limit.quiesce);
    case State::kCutting:
      return late("a group was not cut", limit.frozen);
    case State::kFrozen:
      return late("the successor did not commit", limit.frozen);
    case State::kAborting:
      if (config_.kill_stuck_successor) commands_.push_back(Command::kKillPeer);
      return Enter(State::kEnded, absl::InfiniteFuture());
    case State::kReleasing:
      // A group that does not release holds up neither the watch nor the exit.
      return Watch(now);
    case State::kWatching:
      return Enter(State::kEnded, absl::InfiniteFuture());
    case State::kEnded:
      return;
  }
}

void PredecessorMachine::AddBatch(OutgoingFrame batch, absl::Time now) {
  if (state_ != State::kFirstRound && state_ != State::kSecondRound &&
      state_ != State::kCutting) {
    return;
  }
  const v1::Frame& frame = batch.frame;
  named_ += frame.descriptors_batch().entries_size();
  for (const auto& entry : frame.blobs().entries()) blobs_.insert(entry.name());
  for (const auto& record : frame.sessions().records()) {
    sessions_.insert(record.id());
    if (state_ == State::kSecondRound) ++round_records_;
  }
  for (const uint64_t id : frame.sessions().closed()) sessions_.erase(id);
  for (const auto& kept : frame.sessions().kept()) sessions_.erase(kept.id());
  batch.frame.set_must_understand(true);
  outbox_.Push(std::move(batch), now);
}

void PredecessorMachine::OnRoundDone(absl::Time now) {
  if (state_ == State::kFirstRound) {
    v1::Frame frame;
    frame.mutable_pre_copied()->set_descriptors(named_);
    frame.mutable_pre_copied()->set_blobs(blobs_.size());
    frame.mutable_pre_copied()->set_sessions(sessions_.size());
    Push(std::move(frame), now);
    Enter(State::kAwaitReady, deadline_);
  } else if (state_ == State::kSecondRound) {
    round_done_ = true;
    EndLiveRound(now);
  }
}

void PredecessorMachine::EndLiveRound(absl::Time now) {
  // Freezing starts when the successor has caught up: what it still has to
  // restore it would restore within the blackout.
  if (state_ != State::kSecondRound || !round_done_ || !outbox_.idle()) return;
  round_done_ = false;
  if (std::exchange(round_records_, 0) > kFewRecords &&
      ++rounds_ < kMaxLiveRounds) {
    commands_.push_back(Command::kRunRound);
    return;
  }
  Enter(State::kQuiescing, now + config_.deadlines.quiesce);
  commands_.push_back(Command::kQuiesce);
}

void PredecessorMachine::OnSent(absl::Time now) {
  if (const OutgoingFrame* sent = outbox_.Next();
      sent != nullptr && state_ <= State::kAwaitReady) {
    sessions_sent_ +=
        static_cast<uint64_t>(sent->frame.sessions().records_size());
    pre_copied_sent_ |= sent->frame.has_pre_copied();
  }
  outbox_.Sent(now);
  EndLiveRound(now);
}

void PredecessorMachine::OnQuiesced(absl::Time now) {
  if (state_ != State::kQuiescing) return;
  Enter(State::kCutting, now + config_.deadlines.frozen);
  commands_.push_back(Command::kCut);
}

void PredecessorMachine::OnCut(uint64_t cut_at, absl::Time now) {
  if (state_ != State::kCutting) return;
  v1::Frame frame;
  frame.set_must_understand(true);
  v1::Final* final_counts = frame.mutable_final();
  final_counts->set_descriptors(named_);
  final_counts->set_blobs(blobs_.size());
  final_counts->set_sessions(sessions_.size());
  final_counts->set_cut_at(cut_at);
  Push(std::move(frame), now);
  Enter(State::kFrozen, deadline_);
}

void PredecessorMachine::Abort(v1::Abort::Reason reason,
                               const std::string& detail, absl::Time now) {
  if (undecided()) {
    Decide(absl::AbortedError(detail), reason, /*tell=*/true, now);
  }
}

absl::optional<PredecessorMachine::Command> PredecessorMachine::NextCommand() {
  if (commands_.empty()) return absl::nullopt;
  const Command command = commands_.front();
  commands_.pop_front();
  if (command == Command::kQuiesce) quiesced_ = true;
  return command;
}

absl::Time PredecessorMachine::NextDeadline() const {
  if (!undecided()) return deadline_;
  return std::min(deadline_,
                  outbox_.stalled_since() + config_.deadlines.frame);
}

}  // namespace handoff
