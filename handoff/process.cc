#include "handoff/process.h"

#include <algorithm>
#include <future>
#include <set>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "handoff/protocol/frame.h"
#include "handoff/staged_state.h"

namespace handoff {
namespace {

// Ready has to fit into one frame. Where more sessions are refused, all of their
// types are.
constexpr size_t kMaxRefusedByName = 500;
constexpr size_t kMaxRefusalBytes = 150;

}  // namespace

absl::Status Process::CheckType(absl::string_view name) const {
  for (const StateType& type : options_.state_types) {
    if (type.name == name) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is none of Options::state_types"));
}

absl::StatusOr<int> Process::Listen(absl::string_view name,
                                    absl::string_view address) {
  auto listener = descriptors_.Listen(name, address);
  if (!listener.ok()) return Noted("listener", name, listener.status());
  return listener;
}

absl::StatusOr<Handoff::Shards> Process::ListenSharded(
    absl::string_view name, absl::string_view address, int workers) {
  auto shards = descriptors_.ListenSharded(name, address, workers);
  if (!shards.ok()) return Noted("listener", name, shards.status());
  return shards;
}

absl::StatusOr<int> Process::Descriptor(
    absl::string_view name,
    absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) {
  auto descriptor = descriptors_.Descriptor(name, make);
  if (!descriptor.ok()) return Noted("descriptor", name, descriptor.status());
  return descriptor;
}

absl::Status Process::AddBlob(absl::string_view name, SaveBlob save,
                              RestoreBlob restore) {
  if (absl::Status s = CheckType(name); !s.ok()) return Noted("blob", name, s);
  const std::string key(name);
  if (!blob_restorers_.emplace(key, std::move(restore)).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("blob \"", name, "\" is there"));
  }
  belongings_.blobs.push_back({key, std::move(save)});
  return Noted("blob", name, RestoreBlobValue(key));
}

absl::Status Process::RestoreBlobValue(const std::string& name) {
  const auto restore = blob_restorers_.find(name);
  if (inherited() == nullptr || restore == blob_restorers_.end()) {
    return absl::OkStatus();
  }
  const auto it = inherited()->blobs().find(name);
  if (it == inherited()->blobs().end()) return absl::OkStatus();
  auto value = DecodeBlob(it->second, options_.limits);
  absl::Status status = value.status();
  if (status.ok()) {
    Reach(options_.fault_seam, "hook", "restore-blob");
    status = restore->second(*value, VersionOf(name));
  }
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("blob \"", name, "\" cannot be restored: ",
                                   status.message()));
}

GroupHandle* Process::Register(Group* group) { return groups_.Register(group); }

absl::Status Process::Restore(StagedInventory::Arrival& arrival,
                              SessionReceiver* receiver) {
  auto snapshot = reader_.Read(arrival, VersionOf(arrival.type));
  if (!snapshot.ok()) return snapshot.status();
  // A crash is no handoff.
  std::shared_ptr<Session> session =
      roster_.Receive(arrival, arrival.handoffs + (taking_ != nullptr ? 1 : 0));
  Reach(options_.fault_seam, "hook", "restore");
  absl::Status status = receiver->Restore(session, *snapshot);
  if (status.ok() && roster_.GroupOf(*session) < 0) {
    receiver->Drop(*session);
    status = absl::InternalError("the receiver gave the session to no group");
  }
  if (!status.ok()) {
    roster_.Forget(*session);
    return status;
  }
  taken_[arrival.id] = {std::move(session), receiver};
  return absl::OkStatus();
}

void Process::RestoreOrRefuse(StagedInventory::Arrival& arrival,
                              SessionReceiver* receiver) {
  if (refused_.count(arrival.id) != 0) return;
  const absl::Status status = Restore(arrival, receiver);
  if (status.ok()) return;
  taken_.erase(arrival.id);
  refused_[arrival.id] = std::string(status.message());
}

void Process::ForgetGone(const std::vector<uint64_t>& gone) {
  absl::flat_hash_set<uint64_t> others;
  for (const uint64_t id : gone) {
    refused_.erase(id);
    const auto it = taken_.find(id);
    if (it != taken_.end()) {
      Drop(it->second);
      taken_.erase(it);
    } else {
      others.insert(id);
    }
  }
  if (others.empty()) return;
  for (auto& [type, arrivals] : waiting_) {
    arrivals.erase(std::remove_if(arrivals.begin(), arrivals.end(),
                                  [&others](const auto& arrival) {
                                    return others.count(arrival.id) != 0;
                                  }),
                   arrivals.end());
  }
}

absl::Status Process::TakeSessions(absl::string_view type,
                                   SessionReceiver* receiver) {
  if (absl::Status s = CheckType(type); !s.ok()) {
    return Noted("session", type, s);
  }
  const std::string name(type);
  if (!receivers_.emplace(name, receiver).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("sessions of type \"", type, "\" are taken already"));
  }
  for (StagedInventory::Arrival& arrival : waiting_[name]) {
    RestoreOrRefuse(arrival, receiver);
  }
  waiting_.erase(name);
  return RestoreStaged();
}

absl::Status Process::RestoreStaged() {
  while (inherited() != nullptr && staging_.ok()) {
    absl::StatusOr<StagedInventory::SessionChanges> changes =
        taking_ != nullptr ? taking_->NextStaged()
                           : inherited()->TakeSessionChanges();
    if (!changes.ok()) {
      staging_ = changes.status();
      if (rehearsal_ != nullptr) staging_ = EndRehearsal(staging_);
      DropTaken();
      waiting_.clear();
      descriptors_.Finish();
      taking_.reset();  // closes what the predecessor still owns
      break;
    }
    if (changes->arrived.empty() && changes->gone.empty()) break;
    for (StagedInventory::Arrival& arrival : changes->arrived) {
      const auto receiver = receivers_.find(arrival.type);
      if (receiver != receivers_.end()) {
        RestoreOrRefuse(arrival, receiver->second);
      } else {
        waiting_[arrival.type].push_back(std::move(arrival));
      }
    }
    ForgetGone(changes->gone);
  }
  reader_.Close();
  return staging_;
}

absl::Status Process::ApplyChanges() {
  StagedInventory& inventory = taking_->inventory();
  StagedInventory::SessionChanges changes = inventory.TakeSessionChanges();
  ForgetGone(changes.gone);
  for (StagedInventory::Arrival& arrival : changes.arrived) {
    const uint64_t id = arrival.id;
    const auto receiver = receivers_.find(arrival.type);
    // The predecessor learns of what we refuse by Ready, and takes it back.
    if (receiver == receivers_.end() || refused_.count(id) != 0) continue;
    if (absl::Status s = Restore(arrival, receiver->second); !s.ok()) {
      taken_.erase(id);
      return absl::Status(
          s.code(), absl::StrCat("session ", id, " cannot be restored: ",
                                 s.message()));
    }
  }
  reader_.Close();
  for (const std::string& name : inventory.TakeBlobChanges()) {
    if (absl::Status s = RestoreBlobValue(name); !s.ok()) return s;
    if (name == kEventsTailBlob && !InheritEvents(name)) events_.NoteGap();
  }
  return absl::OkStatus();
}

v1::Ready Process::MakeReady() {
  v1::Ready ready;
  for (std::string& name : descriptors_.Unclaimed()) {
    ready.add_unclaimed(std::move(name));
  }
  std::set<std::string> unread;
  for (const auto& [id, why] : refused_) {
    if (refused_.size() > kMaxRefusedByName) {
      unread.insert(taking_->inventory().sessions().at(id).record.type());
      continue;
    }
    v1::Ready::RefusedSession* refused = ready.add_refused();
    refused->set_id(id);
    refused->set_reason(Printable(why).substr(0, kMaxRefusalBytes));
  }
  for (const auto& [id, staged] : taking_->inventory().sessions()) {
    if (receivers_.count(staged.record.type()) != 0) continue;
    // By their type: their ids could be more than a frame holds.
    unread.insert(staged.record.type());
  }
  for (const StateType& type : options_.state_types) {
    if (receivers_.count(type.name) == 0) unread.insert(type.name);
  }
  for (const std::string& type : unread) ready.add_refused_types(type);
  return ready;
}

void Process::Drop(Taken& taken) {
  taken.receiver->Drop(*taken.session);
  roster_.Forget(*taken.session);
}

void Process::DropTaken() {
  for (auto& [id, taken] : taken_) {
    Reach(options_.fault_seam, "hook", "drop");
    Drop(taken);
  }
  taken_.clear();
}

absl::Status Process::Ready() {
  if (std::exchange(ready_called_, true)) {
    return absl::FailedPreconditionError("Ready() was called before");
  }
  if (absl::Status staged = RestoreStaged(); !staged.ok()) return staged;
  waiting_.clear();
  v1::Ready ready;
  if (taking_ != nullptr) ready = MakeReady();
  leaves_listeners_ = ready.unclaimed_size() > 0;
  descriptors_.Finish();
  if (rehearsal_ != nullptr) return Rehearse();
  // Made before the commit: there is no way back if it could not be made after.
  std::promise<bool> committed;
  try {
    thread_ = std::thread([this, go = committed.get_future()]() mutable {
      bool run = false;
      try {
        run = go.get();
      } catch (const std::future_error&) {
        // A receiver has thrown: Ready() ended without a word.
      }
      if (run) Run();
    });
  } catch (const std::system_error& error) {
    DropTaken();
    taking_.reset();
    return absl::ResourceExhaustedError(
        absl::StrCat("there can be no more threads: ", error.what()));
  }
  if (taking_ != nullptr) {
    const absl::Status status = taking_->Commit(
        std::move(ready), [this] { return ApplyChanges(); });
    if (!status.ok()) {
      committed.set_value(false);
      DropTaken();
      taking_.reset();  // closes what the predecessor still owns
      return status;
    }
    if (taking_->inventory().blobs().count(kEventsTailBlob) == 0) {
      events_.NoteGap();
    }
    events_.SetEpoch(EpochOf(generation_), generation_);
    report_({Event::Kind::kCommitted, taking_->offer().handoff_id(),
             "this process serves now", taking_->predecessor()});
    if (taking_->adopted()) AdoptUntouched();
    groups_.AfterFirstPoll([this](int group, uint64_t at) {
      std::lock_guard<std::mutex> lock(mu_);
      first_polls_.emplace_back(group, at);
      wake_();
    });
    // The sessions are still frozen: what else is to be done, Run() does.
  }
  store_.Adopt();
  descriptors_.BeginListening(
      taking_ != nullptr ? taking_->offer().handoff_id() : taken_handoff_);
  Answers::Sources sources = {&belongings_.named, {}, &roster_, &ledger_,
                              &control_, wake_};
  for (const Belongings::Blob& blob : belongings_.blobs) {
    sources.blobs.push_back(blob.name);
  }
  answers_ = std::make_unique<Answers>(std::move(sources));
  committed.set_value(true);
  return absl::OkStatus();
}

}  // namespace handoff
