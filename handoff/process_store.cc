// What a process keeps in its descriptor store, and what it gets back out of
// it.

#include <unistd.h>

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/process.h"
#include "handoff/staged_state.h"

namespace handoff {

StagedInventory* Process::inherited() {
  if (taking_ != nullptr) return &taking_->inventory();
  return store_.stored() != nullptr ? &store_.stored()->inventory : nullptr;
}

uint32_t Process::VersionOf(const std::string& type) {
  if (taking_ != nullptr) return taking_->VersionOf(type);
  const auto& versions = store_.stored()->versions;
  const auto it = versions.find(type);
  return it == versions.end() ? 0 : it->second;
}

bool ProcessStore::Inherit(UniqueFd& listener) {
  Process& p = process_;
  if (p.options_.store == nullptr) return false;
  stored_ = TakeStored(p.options_, listener);
  for (const std::string& note : stored_->notes) {
    p.report_(Event::Kind::kNote, 0, note);
  }
  if (!stored_->adopts) return false;
  p.took_over_ = true;
  p.generation_ = p.highest_generation_ = stored_->head.generation + 1;
  p.roster_.SetGeneration(p.generation_);
  p.descriptors_.Inherit(&stored_->inventory.named());
  stored_->inventory.TakeBlobChanges();  // AddBlob looks at all of them
  p.InheritLedger();
  p.events_.NoteGap();
  p.taken_handoff_ = (uint64_t{std::random_device()()} << 32) | 1;
  p.report_(Event::Kind::kInheriting, p.taken_handoff_,
            absl::StrCat("from the store: pid ", stored_->pid, " has died, ",
                         stored_->inventory.sessions().size(), " sessions"));
  return true;
}

void ProcessStore::Adopt() {
  Process& p = process_;
  if (stored_ == nullptr || !stored_->adopts) return;
  for (auto& [id, session] : stored_->inventory.sessions()) {
    if (p.taken_.count(id) != 0) continue;
    const auto refused = p.refused_.find(id);
    stored_->lost[id] = {session.record.type(),
                         refused == p.refused_.end()
                             ? "nobody takes sessions of this type"
                             : refused->second};
    for (const SharedFd& fd : session.descriptors) ResetConnection(fd->get());
  }
  p.events_.SetEpoch(EpochOf(p.generation_), p.generation_);
  p.report_(Event::Kind::kAdopted, p.taken_handoff_,
            absl::StrCat("the process died; from the store ", p.taken_.size(),
                         " sessions, ", stored_->lost.size(), " lost"));
}

void ProcessStore::Record() {
  Process& p = process_;
  v1::LedgerHandoff handoff;
  handoff.set_handoff_id(p.taken_handoff_);
  handoff.set_result("committed");
  handoff.set_reason("the process died; adopted what the store had");
  handoff.set_predecessor_pid(stored_->pid);
  handoff.set_successor_pid(::getpid());
  handoff.set_generation(p.generation_);
  handoff.set_started_at(static_cast<uint64_t>(absl::ToUnixNanos(p.started_)));
  handoff.set_seconds(absl::ToDoubleSeconds(absl::Now() - p.started_));
  p.AddTaken(handoff);
  for (const auto& [id, lost] : stored_->lost) {
    AddEntry(handoff, v1::LedgerEntry::LOST, "session", lost.type, id,
             lost.reason);
  }
  p.ledger_.Add(std::move(handoff));
  p.taken_.clear();
}

void ProcessStore::Open() {
  Process& p = process_;
  if (p.options_.store == nullptr) return;
  v1::StoreContents holds;
  uint32_t attempts = 0;
  if (stored_ != nullptr) {
    if (stored_->adopts) Record();
    holds = std::move(stored_->holds);
    attempts = stored_->head.attempts;
    stored_.reset();
  } else if (p.taking_ != nullptr) {
    const auto& blobs = p.taking_->inventory().blobs();
    const auto blob = blobs.find(kStoreBlob);
    // Without it everything is stored anew.
    if (blob != blobs.end()) {
      auto value = DecodeBlob(blob->second, Limits());
      if (value.ok()) value->UnpackTo(&holds);
      if (holds.store() != p.options_.store->Name()) holds.Clear();
    }
  }
  storing_ = std::make_unique<Storing>(
      Storing::Process{&p.options_, &p.belongings_, &p.roster_, &p.groups_,
                       &p.ledger_, &p.report_},
      holds, attempts);
}

void ProcessStore::Step(absl::Time now) {
  Process& p = process_;
  if (storing_ == nullptr) return;
  if (!p.in_charge() && !p.giving_->Reads(kStoreBlob)) storing_->ForgetAll();
  // As long as somebody watches us, or we watch, the store is as it was before
  // the handoff: who dies then is replaced by the other.
  if (!storing_->running() && p.giving_ == nullptr && p.taking_ == nullptr) {
    storing_->Begin(p.highest_generation_, now);
  }
  storing_->Step(now);
}

void ProcessStore::Suspend() {
  if (storing_ != nullptr) storing_->Suspend(process_.highest_generation_ + 1);
}

absl::optional<v1::StoreContents> ProcessStore::Contents() const {
  if (storing_ == nullptr) return absl::nullopt;
  return storing_->Contents();
}

absl::Time ProcessStore::NextWake() const {
  return storing_ == nullptr ? absl::InfiniteFuture() : storing_->NextWake();
}

void ProcessStore::End() {
  if (storing_ != nullptr) storing_->End();
}

}  // namespace handoff
