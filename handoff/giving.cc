#include "handoff/giving.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/clock.h"
#include "handoff/moved_sessions.h"
#include "handoff/protocol/frame.h"
#include "handoff/store_shelf.h"

namespace handoff {
namespace {

using State = PredecessorMachine::State;

// Frames that one Step() exchanges at most before it looks at the clock of the
// thread's other work.
constexpr int kMaxTurns = 1024;

}  // namespace

Giving::Giving(const Process& process, Channel channel, SharedOutcome word)
    : process_(process),
      link_(std::move(channel), process.options->fault_seam),
      word_(std::move(word)) {}

Giving::~Giving() {
  // Before the word: groups that are frozen go on as it says.
  Abort("the process ends", MonotonicNow());
  for (auto c = machine_->NextCommand(); c.has_value();
       c = machine_->NextCommand()) {
    if (*c == PredecessorMachine::Command::kThaw ||
        *c == PredecessorMachine::Command::kRelease) {
      Carry(*c, MonotonicNow());
    }
  }
}

void Giving::Say(Event::Kind kind, absl::string_view text) {
  const pid_t pid = peer() == nullptr ? 0 : peer()->credentials.pid;
  (*process_.report)(
      {kind, machine_->offer().handoff_id(), text, pid, rehearsal()});
}

void Giving::Abort(const std::string& why, absl::Time now) {
  machine_->Abort(v1::Abort::STOPPED, why, now);
}

void Giving::Step(absl::Time now) {
  // Bounded: a peer that never stops sending holds up neither the deadlines nor
  // the thread's other work.
  unfinished_ = true;
  for (int turn = 0; unfinished_ && turn < kMaxTurns; ++turn) {
    bool progress = !over() && link_.Exchange(*machine_, now);
    progress |= ServeGroups(now);
    const State before = machine_->state();
    machine_->OnTime(now);
    progress |= machine_->state() != before;  // there may be an Abort to send
    for (auto c = machine_->NextCommand(); c.has_value();
         c = machine_->NextCommand()) {
      Carry(*c, now);
      progress = true;
    }
    NoteProgress(now);
    unfinished_ = progress;
    now = MonotonicNow();
  }
  if (over()) {
    link_.Flush(*machine_, now);
    // Whoever took over is told that it is on its own: draining may take long.
    if (committed() && !rolled_back()) link_.End();
    Record(now);
  }
}

absl::Time Giving::NextWake(absl::Time now) const {
  if (unfinished_) return now;
  return std::min(machine_->NextDeadline(), now + link_.retry_after());
}

void Giving::Carry(PredecessorMachine::Command command, absl::Time now) {
  using Command = PredecessorMachine::Command;
  GroupSet& groups = *process_.groups;
  switch (command) {
    case Command::kRunRound: {
      const bool first = machine_->state() == State::kFirstRound;
      if (first) {
        std::map<std::string, uint32_t> versions;
        for (const v1::NegotiatedType& type : machine_->offer().writes()) {
          versions[type.name()] = type.version();
        }
        groups.Begin(std::move(versions));
        AddDescriptors();
      } else if (!std::exchange(told_refused_, true)) {
        for (const auto& r : machine_->ready().refused()) {
          process_.roster->RefuseSession(r.id(), r.reason());
        }
        for (const std::string& type : machine_->ready().refused_types()) {
          process_.roster->RefuseType(type);
        }
      }
      task_ = first ? Task::kFirstRound : Task::kSecondRound;
      groups.StartRound(first);
      if (absl::Status s = AddBlobs(first); !s.ok()) {
        machine_->Abort(v1::Abort::SNAPSHOT, std::string(s.message()), now);
      }
      SendBatches(now);
      return;
    }
    case Command::kQuiesce:
      Say(Event::Kind::kQuiescing, "groups stop taking input");
      task_ = Task::kQuiesce;
      return groups.StartQuiesce();
    case Command::kCut:
      task_ = Task::kCut;
      return groups.StartCut();
    case Command::kThaw:
      task_ = Task::kNone;
      return groups.Thaw();
    case Command::kRelease: {
      const v1::Ready& ready = machine_->ready();
      outcomes_ = process_.roster->Outcomes();
      AddOutcomes(*process_.belongings, ready);
      task_ = Task::kRelease;
      return groups.StartRelease(
          {ready.unclaimed().begin(), ready.unclaimed().end()});
    }
    case Command::kRollBack:
      return RollBack();
    case Command::kKillPeer:
      if (peer() != nullptr) {
        const absl::Status killed = KillProcess(peer()->pidfd.get());
        Say(Event::Kind::kNote,
            absl::StrCat("killed the aborted successor, which did not go: ",
                         killed.ToString()));
      }
      return;
  }
}

void Giving::RollBack() {
  process_.events->SetEpoch(EpochOf(process_.generation + 1) + 1,
                            process_.own_generation);
  // Before all else: whoever connects has waited since the crash.
  process_.groups->ThawReleased();
  auto returned = process_.roster->TakeBack(process_.options->limits);
  std::set<uint64_t> ids;
  for (const auto& [group, sessions] : returned) {
    for (const Roster::Returned& r : sessions) ids.insert(r.session->id());
  }
  process_.groups->TakeBack(std::move(returned));
  size_t lost = 0;
  ExpandMoved(outcomes_);  // one may be taken back and the next one lost
  for (v1::LedgerEntry& entry : *outcomes_.mutable_entries()) {
    if (entry.outcome() != v1::LedgerEntry::MOVED) continue;
    const bool session = entry.category() == "session";
    if (session && ids.count(entry.session()) == 0) {
      ++lost;
      entry.set_outcome(v1::LedgerEntry::LOST);
      entry.set_reason("the successor died within the watch");
    } else {
      entry.set_outcome(v1::LedgerEntry::KEPT);
      entry.set_reason("taken back: the successor died within the watch");
    }
  }
  Say(Event::Kind::kRolledBack,
      absl::StrCat("the successor died: accepting again; ", ids.size(),
                   " sessions taken back, ", lost, " lost"));
}

bool Giving::ServeGroups(absl::Time now) {
  GroupSet& groups = *process_.groups;
  if (task_ == Task::kNone) return false;
  if (task_ == Task::kCut && groups.CutSpoiled()) {
    machine_->Abort(v1::Abort::SNAPSHOT,
                    "work was posted to a group after the barrier", now);
    return true;
  }
  const bool done = groups.StepDone();
  const bool sends = task_ == Task::kFirstRound ||
                     task_ == Task::kSecondRound || task_ == Task::kCut;
  if (sends) {
    const bool added = AddSnapshots(now);
    if (!done) return added;
    for (const uint64_t id : process_.roster->TakeClosed()) {
      builder_.AddClosed(id);
    }
  }
  if (!done) return false;
  switch (std::exchange(task_, Task::kNone)) {
    case Task::kFirstRound:
    case Task::kSecondRound:
      SendBatches(now);
      machine_->OnRoundDone(now);
      break;
    case Task::kQuiesce:
      machine_->OnQuiesced(now);
      break;
    case Task::kCut: {
      Say(Event::Kind::kCut, "every group is frozen");
      if (absl::Status s = AddBlobs(/*first=*/false); !s.ok()) {
        machine_->Abort(v1::Abort::SNAPSHOT, std::string(s.message()), now);
        break;
      }
      AddEvents(kEventsTailBlob);
      SendBatches(now);
      machine_->OnCut(groups.cut_at(), now);
      break;
    }
    case Task::kRelease:
      machine_->OnReleased(now);
      break;
    case Task::kNone:
      break;
  }
  return true;
}

void Giving::AddOutcomes(const Belongings& belongings, const v1::Ready& ready) {
  const std::set<std::string> unclaimed(ready.unclaimed().begin(),
                                        ready.unclaimed().end());
  const auto add = [&](absl::string_view category, const std::string& name) {
    const bool refused = unclaimed.count(name) != 0;
    AddEntry(
        outcomes_, refused ? v1::LedgerEntry::REFUSED : v1::LedgerEntry::MOVED,
        category, name, 0, refused ? "the successor did not claim it" : "");
  };
  for (const NamedDescriptor& named : belongings.named) {
    add(CategoryOf(named.role), named.name);
  }
  for (const Belongings::Blob& blob : belongings.blobs) add("blob", blob.name);
}

void Giving::AddDescriptors() {
  for (const NamedDescriptor& named : process_.belongings->named) {
    builder_.AddDescriptor(named);
  }
}

absl::Status Giving::AddBlobs(bool first) {
  if (first) {
    if (absl::Status s =
            builder_.AddBlob(kLedgerBlob, process_.ledger->HandOver());
        !s.ok()) {
      return s;
    }
    AddEvents(kEventsBlob);
    if (process_.stored.has_value() && Reads(kStoreBlob)) {
      google::protobuf::Any stored;
      stored.PackFrom(*process_.stored);
      // Not worth a handoff: without it the successor stores everything anew.
      builder_.AddBlob(kStoreBlob, std::move(stored)).IgnoreError();
    }
  }
  for (const Belongings::Blob& blob : process_.belongings->blobs) {
    uint32_t version = 0;
    for (const v1::NegotiatedType& type : machine_->offer().writes()) {
      if (type.name() == blob.name) version = type.version();
    }
    Reach(process_.options->fault_seam, "hook", "save-blob");
    absl::StatusOr<google::protobuf::Any> value = blob.save(version);
    if (!value.ok()) {
      return absl::Status(value.status().code(),
                          absl::StrCat("blob \"", blob.name, "\" cannot be "
                                       "saved: ", value.status().message()));
    }
    std::string bytes = value->SerializeAsString();
    const auto sent = sent_blobs_.find(blob.name);
    if (sent != sent_blobs_.end() && sent->second == bytes) continue;
    sent_blobs_[blob.name] = std::move(bytes);
    if (absl::Status s = builder_.AddBlob(blob.name, *std::move(value));
        !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

bool Giving::Reads(absl::string_view name) const {
  const auto& reads = machine_->hello().reads();
  return std::any_of(
      reads.begin(), reads.end(),
      [&](const v1::StateType& type) { return type.name() == name; });
}

void Giving::AddEvents(absl::string_view blob) {
  if (!Reads(kEventsBlob)) return;
  const v1::EventHistory history = process_.events->History(events_sent_);
  if (!history.events().empty()) {
    events_sent_ = history.events().rbegin()->sequence();
  }
  google::protobuf::Any value;
  value.PackFrom(history);
  // Not worth a handoff: without it the successor begins with its own.
  builder_.AddBlob(blob, std::move(value)).IgnoreError();
}

bool Giving::AddSnapshots(absl::Time now) {
  bool added = false;
  for (GroupSnapshot& snapshot : process_.groups->TakeSnapshots()) {
    if (!snapshot.status.ok()) {
      machine_->Abort(v1::Abort::SNAPSHOT,
                      std::string(snapshot.status.message()), now);
      return true;
    }
    added |= !snapshot.items.empty() || !snapshot.kept.empty();
    for (GroupSnapshot::Item& item : snapshot.items) {
      builder_.AddSession(std::move(item));
    }
    for (const v1::KeptSession& kept : snapshot.kept) builder_.AddKept(kept);
  }
  SendBatches(now);
  return added;
}

void Giving::SendBatches(absl::Time now) {
  absl::StatusOr<std::vector<OutgoingFrame>> batches = builder_.Take();
  if (!batches.ok()) {
    machine_->Abort(v1::Abort::SNAPSHOT,
                    std::string(batches.status().message()), now);
    return;
  }
  for (OutgoingFrame& batch : *batches) {
    machine_->AddBatch(std::move(batch), now);
  }
}

}  // namespace handoff
