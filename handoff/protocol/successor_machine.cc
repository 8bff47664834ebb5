#include "handoff/protocol/successor_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

// Besides the pidfd: the word, and the FileDescriptorSet.
constexpr size_t kOfferDescriptors = 3;

bool Reads(const v1::Hello& hello, const v1::NegotiatedType& type) {
  for (const v1::StateType& reads : hello.reads()) {
    if (reads.name() == type.name()) {
      return reads.lowest() <= type.version() &&
             type.version() <= reads.highest();
    }
  }
  return false;
}

}  // namespace

absl::string_view SuccessorMachine::Name(State state) {
  switch (state) {
    case State::kAwaitOffer: return "await-offer";
    case State::kMapping: return "mapping";
    case State::kStaging: return "staging";
    case State::kStaged: return "staged";
    case State::kReady: return "ready";
    case State::kDecoding: return "decoding";
    case State::kCommitted: return "committed";
    case State::kReleased: return "released";
    case State::kEnded: return "ended";
  }
  return "unknown";
}

SuccessorMachine::SuccessorMachine(Config config, absl::Time now)
    : config_(std::move(config)),
      outbox_(config_.limits.window_frames, config_.limits.window_descriptors),
      inventory_(config_.limits) {
  OutgoingFrame frame;
  *frame.frame.mutable_hello() = config_.hello;
  frame.frame.set_must_understand(true);
  frame.descriptors = config_.hello_descriptors;
  outbox_.Push(std::move(frame), now);
  Enter(State::kAwaitOffer, now + config_.deadlines.hello);
}

void SuccessorMachine::Enter(State state, absl::Time deadline) {
  state_ = state;
  deadline_ = deadline;
}

void SuccessorMachine::Push(v1::Frame frame, absl::Time now) {
  if (!closed_) outbox_.Push({std::move(frame), {}}, now);
}

void SuccessorMachine::End(absl::Status why) {
  why_ = std::move(why);
  commands_.clear();
  Enter(State::kEnded, absl::InfiniteFuture());
}

void SuccessorMachine::Fail(v1::Abort::Reason reason, const absl::Status& why,
                            absl::Time now) {
  if (committed_ || state_ == State::kEnded) return;
  if (word_ != nullptr) word_->Decide(Outcome::kAborted);
  outbox_.Clear();
  v1::Frame frame;
  frame.mutable_abort()->set_reason(reason);
  frame.mutable_abort()->set_detail(Printable(why.message()));
  Push(std::move(frame), now);
  End(why);
}

void SuccessorMachine::OnBadFrame(v1::Abort::Reason reason,
                                  const absl::Status& why, absl::Time now) {
  Fail(reason, why, now);
}

void SuccessorMachine::Abort(v1::Abort::Reason reason,
                             const std::string& detail, absl::Time now) {
  Fail(reason, absl::AbortedError(detail), now);
}

void SuccessorMachine::OnOffer(const v1::Frame& frame,
                               std::vector<UniqueFd> descriptors,
                               absl::Time now) {
  const v1::Offer& offer = frame.offer();
  if (offer.protocol() < config_.hello.lowest_protocol() ||
      offer.protocol() > config_.hello.highest_protocol() ||
      descriptors.size() != kOfferDescriptors) {
    return Fail(v1::Abort::MALFORMED,
                absl::InvalidArgumentError(absl::StrCat(
                    "an offer of protocol ", offer.protocol(), " with ",
                    descriptors.size(), " descriptors")),
                now);
  }
  if (offer.sessions() > config_.limits.sessions ||
      offer.descriptors() > config_.limits.named_descriptors) {
    return Fail(v1::Abort::LIMITS,
                absl::ResourceExhaustedError(absl::StrCat(
                    "an offer of ", offer.sessions(), " sessions and ",
                    offer.descriptors(), " descriptors; the limits are ",
                    config_.limits.sessions, " and ",
                    config_.limits.named_descriptors)),
                now);
  }
  for (const v1::NegotiatedType& type : offer.writes()) {
    if (Reads(config_.hello, type)) continue;
    return Fail(v1::Abort::MISMATCH,
                absl::InvalidArgumentError(absl::StrCat(
                    "an offer of version ", type.version(),
                    " of state type \"", type.name(),
                    "\", which this process did not say that it reads")),
                now);
  }
  offer_ = offer;
  descriptors.erase(descriptors.begin());
  offer_descriptors_ = std::move(descriptors);
  staging_deadline_ = now + config_.deadlines.staging;
  Enter(State::kMapping, staging_deadline_);
  commands_.push_back(Command::kOffered);
}

void SuccessorMachine::SetWord(OutcomeWord* word, absl::Time now) {
  if (state_ != State::kMapping) return;
  word_ = word;
  Enter(State::kStaging, now + config_.deadlines.frame);
}

void SuccessorMachine::OnFrame(v1::Frame frame,
                               std::vector<UniqueFd> descriptors,
                               absl::Time now) {
  if (state_ == State::kEnded) return;
  const bool live = state_ == State::kStaging || state_ == State::kReady;
  if (!descriptors.empty() && !IsBatch(frame) && !frame.has_offer() &&
      !frame.has_refuse()) {
    return Fail(v1::Abort::MALFORMED,
                absl::InvalidArgumentError(absl::StrCat(
                    "frame \"", BodyName(frame), "\" carries descriptors")),
                now);
  }
  if (frame.has_abort() && !committed_) {
    if (word_ != nullptr) word_->Decide(Outcome::kAborted);
    return End(AbortStatus(frame.abort(), "the predecessor"));
  }
  if (frame.has_refuse() && state_ == State::kAwaitOffer) {
    return End(RefusalStatus(frame.refuse()));
  }
  if (frame.has_offer() && state_ == State::kAwaitOffer) {
    return OnOffer(frame, std::move(descriptors), now);
  }
  if (IsBatch(frame) && live) {
    if (state_ == State::kStaging) {
      // A driver looks at what has a name while sessions still come.
      if (named_complete_ && !frame.has_sessions()) {
        return Fail(v1::Abort::MALFORMED,
                    absl::InvalidArgumentError(
                        absl::StrCat("frame \"", BodyName(frame),
                                     "\" comes after the first sessions")),
                    now);
      }
      named_complete_ = frame.has_sessions();
    }
    const uint64_t seq = frame.seq();
    const absl::Status status =
        inventory_.Apply(frame, std::move(descriptors));
    if (!status.ok()) {
      return Fail(absl::IsResourceExhausted(status) ? v1::Abort::LIMITS
                                                    : v1::Abort::MALFORMED,
                  status, now);
    }
    v1::Frame ack;
    ack.mutable_batch_ack()->set_seq(seq);
    Push(std::move(ack), now);
    return Enter(state_, state_ == State::kStaging
                             ? std::min(now + Silence(), staging_deadline_)
                             : now + Silence());
  }
  if (frame.has_pre_copied() && state_ == State::kStaging) {
    const v1::PreCopied& counts = frame.pre_copied();
    const absl::Status status = inventory_.CheckCounts(
        counts.descriptors(), counts.blobs(), counts.sessions());
    if (!status.ok()) return Fail(v1::Abort::MISMATCH, status, now);
    Enter(State::kStaged, staging_deadline_);
    commands_.push_back(Command::kStaged);
    return;
  }
  if (frame.has_final() && state_ == State::kReady) {
    return OnFinal(frame.final(), now);
  }
  if (frame.has_released() && state_ == State::kCommitted) {
    commands_.push_back(Command::kReleased);
    return Enter(State::kReleased, absl::InfiniteFuture());
  }
  if (frame.body_case() == v1::Frame::BODY_NOT_SET &&
      !frame.must_understand()) {
    return;
  }
  Fail(v1::Abort::MALFORMED,
       absl::InvalidArgumentError(absl::StrCat(
           "frame \"", BodyName(frame), "\" does not belong here")),
       now);
}

void SuccessorMachine::OnFinal(const v1::Final& final_counts, absl::Time now) {
  const absl::Status status =
      inventory_.CheckCounts(final_counts.descriptors(), final_counts.blobs(),
                             final_counts.sessions());
  if (!status.ok()) return Fail(v1::Abort::MISMATCH, status, now);
  final_ = final_counts;
  // No deadline of ours: where decoding takes too long, the predecessor swaps
  // the word first.
  Enter(State::kDecoding, absl::InfiniteFuture());
  commands_.push_back(Command::kDecode);
}

void SuccessorMachine::Ready(v1::Ready ready, absl::Time now) {
  OnTime(now);  // restoring has its deadline too
  if (state_ != State::kStaged) return;
  if (config_.hello.rehearsal()) {
    return Fail(v1::Abort::REHEARSAL,
                absl::CancelledError("a rehearsal goes no further"), now);
  }
  v1::Frame frame;
  frame.set_must_understand(true);
  *frame.mutable_ready() = std::move(ready);
  Push(std::move(frame), now);
  Enter(State::kReady, now + Silence());
}

absl::Duration SuccessorMachine::Silence() const {
  const Deadlines& limit = config_.deadlines;
  // Nothing need change in the second round, nor after it: then Final is the
  // next frame, and groups quiesce and are cut before it.
  return state_ < State::kStaged ? limit.frame
                                 : limit.frame + limit.quiesce + limit.frozen;
}

void SuccessorMachine::OnDecoded(absl::Time now) {
  if (state_ != State::kDecoding) return;
  if (word_->Decide(Outcome::kCommitted) != Outcome::kCommitted) {
    return End(absl::AbortedError(
        "the predecessor aborted before this process could commit"));
  }
  committed_ = true;
  if (closed_) word_->Retire();
  v1::Frame frame;
  frame.set_must_understand(true);
  frame.mutable_committed();
  Push(std::move(frame), now);
  commands_.push_back(Command::kServe);
  if (closed_) commands_.push_back(Command::kReleased);
  Enter(closed_ ? State::kEnded : State::kCommitted,
        closed_ ? absl::InfiniteFuture() : now + config_.deadlines.released);
}

void SuccessorMachine::Adopt(absl::Time now) {
  if (config_.hello.rehearsal()) {
    return Fail(v1::Abort::PEER_GONE,
                absl::AbortedError("the predecessor died in the rehearsal"),
                now);
  }
  if (word_->Decide(Outcome::kCommitted) != Outcome::kCommitted) {
    return End(absl::AbortedError(
        "the predecessor aborted, then died: it may have gone on serving"));
  }
  committed_ = true;
  commands_.clear();
  commands_.push_back(Command::kAdopt);
  Enter(State::kEnded, absl::InfiniteFuture());
}

void SuccessorMachine::OnPeerClosed(absl::Time now) {
  if (closed_) return;
  closed_ = true;
  outbox_.Clear();
  switch (state_) {
    case State::kAwaitOffer:
    case State::kMapping:
      return End(absl::AbortedError(
          "the predecessor closed the connection before its offer"));
    case State::kStaging:
    case State::kStaged:
    case State::kReady:
      if (word_->Load() == Outcome::kAborted) {
        return End(absl::AbortedError("the predecessor aborted"));
      }
      // Closed or dead: the pidfd says which, soon.
      return Enter(state_, now + config_.deadlines.frame);
    case State::kDecoding:
    case State::kEnded:
      return;
    case State::kCommitted:
      commands_.push_back(Command::kReleased);
      [[fallthrough]];
    case State::kReleased:
      // Where it lives, no Retire will reach it any more. It must not take our
      // end, whenever that is, for a crash.
      word_->Retire();
      return Enter(State::kEnded, absl::InfiniteFuture());
  }
}

void SuccessorMachine::OnPeerDead(absl::Time now) {
  if (dead_) return;
  dead_ = true;
  if (!closed_) OnPeerClosed(now);
  if (state_ == State::kStaging || state_ == State::kStaged ||
      state_ == State::kReady) {
    Adopt(now);
  }
}

void SuccessorMachine::OnTime(absl::Time now) {
  const bool undecided = state_ < State::kCommitted;
  if (undecided && now >= outbox_.stalled_since() + config_.deadlines.frame) {
    // BatchAck and Ready go into an idle queue: a full one is a hung peer.
    return Fail(v1::Abort::DEADLINE,
                absl::DeadlineExceededError("the predecessor takes nothing"),
                now);
  }
  if (now < deadline_) return;
  if (state_ == State::kCommitted) {
    // Ours all the same; a close before Released shuts down either way.
    commands_.push_back(Command::kReleased);
    return Enter(State::kReleased, absl::InfiniteFuture());
  }
  if (!undecided) return;
  Fail(v1::Abort::DEADLINE,
       absl::DeadlineExceededError(
           closed_ ? "the predecessor closed the connection but lives"
           : state_ == State::kAwaitOffer
               ? "the predecessor does not answer"
           : state_ == State::kStaged ? "restoring took too long"
                                      : "the predecessor sends nothing"),
       now);
}

void SuccessorMachine::Retire(absl::Time now) {
  if (state_ != State::kCommitted && state_ != State::kReleased) return;
  word_->Retire();
  v1::Frame frame;
  frame.mutable_retire();
  Push(std::move(frame), now);
  Enter(State::kEnded, absl::InfiniteFuture());
}

absl::optional<SuccessorMachine::Command> SuccessorMachine::NextCommand() {
  if (commands_.empty()) return absl::nullopt;
  const Command command = commands_.front();
  commands_.pop_front();
  return command;
}

absl::Time SuccessorMachine::NextDeadline() const {
  if (state_ >= State::kCommitted) return deadline_;
  return std::min(deadline_,
                  outbox_.stalled_since() + config_.deadlines.frame);
}

}  // namespace handoff
