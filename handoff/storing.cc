#include "handoff/storing.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/clock.h"
#include "handoff/fault_seam.h"
#include "handoff/fd/fd_description.h"

namespace handoff {
namespace {

// Logs in the store at one time: this run's, and the one that it replaces.
constexpr size_t kLogs = 2;
// How long a store may have other things to do before somebody is told.
constexpr absl::Duration kStallTime = absl::Seconds(10);

uint64_t MonotonicNanos() {
  return static_cast<uint64_t>(absl::ToUnixNanos(MonotonicNow()));
}

std::string SessionKey(uint64_t id) { return absl::StrCat("session ", id); }

v1::StoredEntry Tombstone(uint64_t id) {
  v1::StoredEntry entry;
  entry.set_ended(id);
  return entry;
}

// OK where the next process could prove that nobody has touched the session
// (see Untouched()), and tell its descriptors apart.
absl::Status CanBeProved(const v1::SessionRecord& record,
                         absl::Span<const v1::DescriptorInfo> infos) {
  bool counted = false;
  for (size_t i = 0; i < infos.size(); ++i) {
    counted |= record.descriptors(static_cast<int>(i)).has_counters();
    if (!record.descriptors(static_cast<int>(i)).has_counters() &&
        infos[i].kind() != v1::DescriptorInfo::FILE &&
        infos[i].kind() != v1::DescriptorInfo::MEMFD) {
      return absl::FailedPreconditionError(
          "a descriptor of which the kernel does not count who uses it");
    }
    for (size_t j = 0; j < i; ++j) {
      if (Fingerprint({&infos[i], 1}) == Fingerprint({&infos[j], 1})) {
        return absl::FailedPreconditionError("one file twice");
      }
    }
  }
  return counted ? absl::OkStatus()
                 : absl::FailedPreconditionError("no connection");
}

}  // namespace

Storing::Storing(const Process& process, const v1::StoreContents& holds,
                 uint32_t attempts)
    : process_(process),
      shelf_(process.options->store, holds),
      attempts_(attempts) {
  for (const StateType& type : process.options->state_types) {
    versions_[type.name] = type.highest;
  }
}

void Storing::Note(absl::string_view text) const {
  (*process_.report)(Event::Kind::kNote, 0, text);
}

void Storing::Begin(uint64_t generation, absl::Time now) {
  auto log = StoreLog::Create({attempts_, generation, MonotonicNanos()});
  running_ = first_ = true;
  log_.reset();
  if (!log.ok()) {
    Note(absl::StrCat("nothing is stored: ", log.status().message()));
    return;
  }
  log_ = *std::move(log);
  known_.clear();
  blobs_.clear();
  said_.clear();
  v1::StoredEntry entry;
  entry.mutable_process()->set_pid(::getpid());
  entry.mutable_process()->set_label(process_.options->label);
  for (const auto& [name, version] : versions_) {
    v1::NegotiatedType* type = entry.mutable_process()->add_writes();
    type->set_name(name);
    type->set_version(version);
  }
  log_->Put("process", entry);
  entry.mutable_blob()->set_name(kLedgerBlob);
  entry.mutable_blob()->mutable_value()->PackFrom(process_.ledger->Summaries());
  log_->Put("ledger", entry);
  StoreNamed();
  StoreBlobs();
  process_.groups->BeginStoring(versions_);
  process_.groups->StartRound(/*first=*/true);
  moved_at_ = now;
  next_round_ = now + process_.options->store_limits.interval;
  if (attempts_ > 0) proven_at_ = now + process_.options->store_limits.proof;
}

void Storing::StoreNamed() {
  std::map<std::string, std::vector<size_t>> by_name;
  const auto& named = process_.belongings->named;
  for (size_t i = 0; i < named.size(); ++i) {
    if (named[i].role != v1::Descriptors::HANDOFF_LISTENER) {
      by_name[named[i].name].push_back(i);
    }
  }
  for (const auto& [name, places] : by_name) {
    std::vector<SharedFd> fds;
    std::vector<v1::DescriptorInfo> infos;
    absl::Status status = CheckStorable(name);
    for (const size_t i : places) {
      auto info = DescribeDescriptor(named[i].fd->get());
      if (!info.ok()) status = info.status();
      fds.push_back(named[i].fd);
      infos.push_back(info.ok() ? *std::move(info) : v1::DescriptorInfo());
    }
    if (!status.ok()) {
      Note(absl::StrCat("\"", name, "\" is not stored: ", status.message()));
      continue;
    }
    for (size_t i = 0; i < places.size(); ++i) {
      v1::StoredEntry entry;
      v1::StoredDescriptor* stored = entry.mutable_named();
      stored->mutable_entry()->set_role(named[places[i]].role);
      stored->mutable_entry()->set_name(name);
      stored->mutable_entry()->set_address(named[places[i]].address);
      *stored->mutable_info() = infos[i];
      log_->Put(absl::StrCat("named ", places[i]), entry);
    }
    shelf_.Want(name, std::move(fds), Fingerprint(infos),
                /*connection=*/false);
  }
}

void Storing::StoreBlobs() {
  for (const Belongings::Blob& blob : process_.belongings->blobs) {
    auto value = blob.save(versions_[blob.name]);
    if (!value.ok() || value->ByteSizeLong() > kMaxStateBytes) {
      const std::string why = value.ok()
                                  ? "it is too large"
                                  : std::string(value.status().message());
      if (said_.insert("blob " + blob.name).second) {
        Note(absl::StrCat("blob \"", blob.name, "\" is not stored: ", why));
      }
      // Nor is an earlier one, of which everything else has moved on.
      blobs_.erase(blob.name);
      v1::StoredEntry tombstone;
      tombstone.mutable_blob()->set_name(blob.name);
      log_->Erase("blob " + blob.name, tombstone);
      continue;
    }
    std::string bytes = value->SerializeAsString();
    std::string& stored = blobs_[blob.name];
    if (stored == bytes) continue;
    stored = std::move(bytes);
    v1::StoredEntry entry;
    entry.mutable_blob()->set_name(blob.name);
    *entry.mutable_blob()->mutable_value() = *std::move(value);
    log_->Put("blob " + blob.name, entry);
  }
}

void Storing::LeaveOut(uint64_t id, absl::string_view why) {
  Leave(id);
  if (said_.insert(std::string(why)).second) {
    Note(absl::StrCat("session ", id,
                      " is not stored, nor are others like it: ", why));
  }
}

void Storing::Leave(uint64_t id) {
  known_.erase(id);
  log_->Erase(SessionKey(id), Tombstone(id));
  shelf_.Unwant(StoredSessionName(id));
}

void Storing::StoreSession(GroupSnapshot::Item& item) {
  v1::StoredEntry entry;
  v1::SessionRecord& record = *entry.mutable_session()->mutable_record();
  record.Swap(&item.record);
  const uint64_t id = record.id();
  if (record.ByteSizeLong() > kMaxStateBytes) {
    return LeaveOut(
        id, absl::StrCat("state of more than ", kMaxStateBytes, " bytes"));
  }
  for (v1::SessionDescriptor& d : *record.mutable_descriptors()) {
    d.clear_sent_in();
  }
  if (absl::Status s = CanBeProved(record, item.infos); !s.ok()) {
    return LeaveOut(id, s.message());
  }
  const std::string name = StoredSessionName(id);
  const size_t room = process_.options->store_limits.descriptors;
  const size_t others =
      shelf_.descriptors() - shelf_.Wanted(name) - shelf_.Wanted(log_name_);
  if (others + item.descriptors.size() + kLogs > room) {
    return LeaveOut(id, absl::StrCat("the store takes ", room,
                                     " descriptors (StoreLimits)"));
  }
  for (const v1::DescriptorInfo& info : item.infos) {
    *entry.mutable_session()->add_descriptors() = info;
  }
  if (shelf_.Wanted(name) == 0 &&
      shelf_.name_bytes() + item.descriptors.size() * (name.size() + 1) >
          kMaxStoredNameBytes) {
    return LeaveOut(id, "there is no room for more names (LISTEN_FDNAMES)");
  }
  log_->Put(SessionKey(id), entry);
  known_.insert(id);
  shelf_.Want(name, std::move(item.descriptors), Fingerprint(item.infos),
              /*connection=*/true);
}

void Storing::Suspend(uint64_t generation) {
  running_ = false;
  next_round_ = proven_at_ = absl::InfiniteFuture();
  shelf_.DropRequests();
  // Whoever adopts it must not take the number that the successor gets now.
  if (log_ != nullptr) log_->SetGeneration(generation).IgnoreError();
}

void Storing::UseLog(std::unique_ptr<StoreLog> log) {
  // The new one is in the store before the old one is not any more.
  const std::string old =
      std::exchange(log_name_, StoredLogName(log->made_at()));
  log_ = std::move(log);
  const auto info = DescribeDescriptor(log_->fd()->get());
  std::vector<v1::DescriptorInfo> infos;
  if (info.ok()) infos.push_back(*info);
  shelf_.Want(log_name_, {log_->fd()}, Fingerprint(infos),
              /*connection=*/false);
  if (!old.empty()) shelf_.Unwant(old);
}

void Storing::EndFirstRound() {
  first_ = false;
  std::set<std::string> wanted;
  for (const NamedDescriptor& named : process_.belongings->named) {
    wanted.insert(named.name);
  }
  const std::vector<std::string> names = shelf_.names();
  UseLog(std::move(log_));
  for (const std::string& name : names) {
    const auto id = StoredSessionOf(name);
    if (id.has_value() ? known_.count(*id) == 0
                       : name != log_name_ && wanted.count(name) == 0) {
      shelf_.Unwant(name);
    }
  }
}

void Storing::Commit() {
  absl::Status status = log_->Commit();
  if (status.ok() && !first_ && log_->wasteful()) {
    auto compacted = log_->Compacted(MonotonicNanos());
    status = compacted.status();
    if (status.ok()) UseLog(*std::move(compacted));
  }
  if (status.ok()) return;
  // What is in the store stays good as far as the counters prove it.
  Note(absl::StrCat("nothing more is stored: ", status.message()));
  log_ = nullptr;
}

void Storing::Step(absl::Time now) {
  if (running_ && log_ != nullptr) {
    // Closed first: of what has ended by now, the snapshots are there.
    const std::vector<uint64_t> closed = process_.roster->TakeClosed();
    const bool done = process_.groups->StepDone();
    for (GroupSnapshot& snapshot : process_.groups->TakeSnapshots()) {
      for (GroupSnapshot::Item& item : snapshot.items) StoreSession(item);
      for (const v1::KeptSession& kept : snapshot.kept) Leave(kept.id());
      if (!snapshot.status.ok() && said_.insert("snapshot").second) {
        Note(absl::StrCat("a session is not stored: ",
                          snapshot.status.message()));
      }
    }
    for (const uint64_t id : closed) Leave(id);
    if (done && now >= next_round_) StoreBlobs();
    Commit();
    if (log_ != nullptr && done) {
      if (first_) EndFirstRound();
      if (now >= next_round_) {
        next_round_ = now + process_.options->store_limits.interval;
        if (process_.roster->AnyChanged()) {
          process_.groups->StartRound(/*first=*/false);
        }
      }
    }
    if (log_ != nullptr && now >= proven_at_) {
      proven_at_ = absl::InfiniteFuture();
      attempts_ = 0;
      log_->SetAttempts(0).IgnoreError();
    }
  }
  if (absl::Status s = shelf_.Flush(); !s.ok() && said_.insert("keep").second) {
    Note(absl::StrCat("the store does not take everything: ", s.message()));
  }
  if (shelf_.stalled().ok()) {
    moved_at_ = now;
  } else if (now - moved_at_ > kStallTime && said_.insert("stalled").second) {
    Note(absl::StrCat("the store takes nothing: ", shelf_.stalled().message()));
  }
}

absl::Time Storing::NextWake() const {
  absl::Time wake = absl::InfiniteFuture();
  if (running_ && log_ != nullptr) {
    wake = std::min(proven_at_, next_round_);
    // A round that lasts wakes us when it is done.
    if (!process_.groups->StepDone() && next_round_ < MonotonicNow()) {
      wake = proven_at_;
    }
  }
  if (shelf_.busy()) {
    wake = std::min(wake, MonotonicNow() + absl::Milliseconds(10));
  }
  return wake;
}

v1::StoreContents Storing::Contents() const {
  v1::StoreContents contents = shelf_.Contents();
  contents.set_store(process_.options->store->Name());
  return contents;
}

void Storing::ForgetAll() {
  running_ = false;
  log_name_.clear();
  for (const std::string& name : shelf_.names()) shelf_.Unwant(name);
}

void Storing::End() {
  ForgetAll();
  // There is no later. Bounded, where nobody takes anything.
  const absl::Time deadline = MonotonicNow() + absl::Seconds(1);
  while (shelf_.busy() && MonotonicNow() < deadline) {
    shelf_.Flush().IgnoreError();
    if (shelf_.busy()) absl::SleepFor(absl::Milliseconds(1));
  }
}

}  // namespace handoff
