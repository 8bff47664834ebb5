#include "handoff/process.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/fd/fd_description.h"
#include "handoff/protocol/frame.h"
#include "handoff/staged_state.h"
#include "handoff/transport/listen.h"

namespace handoff {
namespace {

// Ready has to fit into one frame. Where more sessions are refused, all of their
// types are.
constexpr size_t kMaxRefusedByName = 500;
constexpr size_t kMaxRefusalBytes = 150;

bool IsTaken(const GivenDescriptor& given, const Belongings& belongings) {
  return std::any_of(
      belongings.named.begin(), belongings.named.end(),
      [&](const NamedDescriptor& named) { return named.fd == given.fd; });
}

// Where it can be mended, and not in the middle of a handoff.
absl::Status CanBePassed(int fd) {
  const auto info = DescribeDescriptor(fd);
  return info.ok() ? CheckPassable(info->kind()) : info.status();
}

// What was given under this name and is not taken yet; null where there is none.
absl::StatusOr<SharedFd> FindGiven(const Options& options,
                                   const Belongings& belongings,
                                   v1::Descriptors::Role role,
                                   absl::string_view name) {
  for (const GivenDescriptor& given : options.given) {
    if (given.name != name || IsTaken(given, belongings)) continue;
    const int fd = given.fd->get();
    if (absl::Status s = CanBePassed(fd); !s.ok()) return s;
    if (role != v1::Descriptors::LISTENER) return given.fd;
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 ||
        listens == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "what was given as \"", name, "\" is no listening socket"));
    }
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
      return absl::ErrnoToStatus(errno, "fcntl(F_SETFL)");
    }
    return given.fd;
  }
  return nullptr;
}

// What nobody took is in nobody's way.
void CloseUntaken(const Options& options, const Belongings& belongings) {
  for (const GivenDescriptor& given : options.given) {
    if (!IsTaken(given, belongings)) given.fd->reset();
  }
}

}  // namespace

absl::Status Process::CheckType(absl::string_view name) const {
  for (const StateType& type : options_.state_types) {
    if (type.name == name) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is none of Options::state_types"));
}

absl::StatusOr<int> Process::Claim(v1::Descriptors::Role role,
                                   absl::string_view name) {
  bool had_some = false;
  if (taking_ != nullptr) {
    const auto& named = taking_->inventory().named();
    for (size_t i = 0; i < named.size(); ++i) {
      if (named[i].role != role || named[i].name != name) continue;
      had_some = true;
      if (claimed_[i]) continue;
      claimed_[i] = true;
      names_.emplace(name, role);
      belongings_.named.push_back(
          {role, named[i].name, named[i].address, named[i].fd});
      return named[i].fd->get();
    }
  }
  if (absl::Status s = CheckName("descriptor", name); !s.ok()) return s;
  const auto taken = names_.find(std::string(name));
  if (taken != names_.end() &&
      (role == v1::Descriptors::OTHER || taken->second != role)) {
    return absl::AlreadyExistsError(
        absl::StrCat("\"", name, "\" is taken; names are unique"));
  }
  if (had_some) return absl::NotFoundError("not inherited");
  auto given = FindGiven(options_, belongings_, role, name);
  if (!given.ok()) return given.status();
  if (*given == nullptr) return absl::NotFoundError("not given");
  names_.emplace(name, role);
  // The kernel knows its address: it need not be the one that we would bind.
  belongings_.named.push_back({role, std::string(name), "", *given});
  return (*given)->get();
}

absl::StatusOr<int> Process::Listen(absl::string_view name,
                                    absl::string_view address) {
  auto inherited = Claim(v1::Descriptors::LISTENER, name);
  if (inherited.ok()) return inherited;
  if (!absl::IsNotFound(inherited.status())) {
    return Noted("listener", name, inherited.status());
  }
  auto bound = BindListener(address);
  if (!bound.ok()) return Noted("listener", name, bound.status());
  if (rehearsal_ != nullptr) Withdraw(bound->get(), address);
  names_.emplace(name, v1::Descriptors::LISTENER);
  belongings_.named.push_back(
      {v1::Descriptors::LISTENER, std::string(name), std::string(address),
       std::make_shared<UniqueFd>(*std::move(bound))});
  return belongings_.named.back().fd->get();
}

absl::StatusOr<int> Process::Descriptor(
    absl::string_view name,
    absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) {
  auto inherited = Claim(v1::Descriptors::OTHER, name);
  if (inherited.ok()) return inherited;
  if (!absl::IsNotFound(inherited.status())) {
    return Noted("descriptor", name, inherited.status());
  }
  auto made = make();
  if (made.ok()) {
    if (absl::Status s = CanBePassed(made->get()); !s.ok()) made = s;
  }
  if (!made.ok()) return Noted("descriptor", name, made.status());
  names_.emplace(name, v1::Descriptors::OTHER);
  belongings_.named.push_back(
      {v1::Descriptors::OTHER, std::string(name), "",
       std::make_shared<UniqueFd>(*std::move(made))});
  return belongings_.named.back().fd->get();
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
  if (taking_ == nullptr || restore == blob_restorers_.end()) {
    return absl::OkStatus();
  }
  const auto it = taking_->inventory().blobs().find(name);
  if (it == taking_->inventory().blobs().end()) return absl::OkStatus();
  auto value = DecodeBlob(it->second, options_.limits);
  absl::Status status = value.status();
  if (status.ok()) {
    Reach(options_.fault_seam, "hook", "restore-blob");
    status = restore->second(*value, taking_->VersionOf(name));
  }
  if (status.ok()) return status;
  return absl::Status(status.code(),
                      absl::StrCat("blob \"", name, "\" cannot be restored: ",
                                   status.message()));
}

GroupHandle* Process::Register(Group* group) { return groups_.Register(group); }

absl::Status Process::Restore(uint64_t id, StagedInventory::Session& staged,
                              SessionReceiver* receiver) {
  auto snapshot = DecodeSession(
      staged, taking_->VersionOf(staged.record.type()), options_.limits);
  if (!snapshot.ok()) return snapshot.status();
  std::shared_ptr<Session> session =
      roster_.Receive(staged.record, staged.descriptors,
                      staged.record.handoffs() + 1);
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
  taken_[id] = {std::move(session), receiver};
  return absl::OkStatus();
}

absl::Status Process::TakeSessions(absl::string_view type,
                                   SessionReceiver* receiver) {
  if (absl::Status s = CheckType(type); !s.ok()) {
    return Noted("session", type, s);
  }
  if (!receivers_.emplace(std::string(type), receiver).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("sessions of type \"", type, "\" are taken already"));
  }
  if (taking_ == nullptr) return absl::OkStatus();
  for (auto& [id, staged] : taking_->inventory().sessions()) {
    if (staged.record.type() != type) continue;
    const absl::Status status = Restore(id, staged, receiver);
    if (!status.ok()) refused_[id] = std::string(status.message());
  }
  return absl::OkStatus();
}

absl::Status Process::ApplyChanges() {
  StagedInventory& inventory = taking_->inventory();
  const StagedInventory::Changes changes = inventory.TakeChanges();
  for (const uint64_t id : changes.gone) {
    const auto it = taken_.find(id);
    if (it == taken_.end()) continue;
    Drop(it->second);
    taken_.erase(it);
  }
  for (const uint64_t id : changes.sessions) {
    StagedInventory::Session& staged = inventory.sessions().at(id);
    const auto receiver = receivers_.find(staged.record.type());
    // The predecessor learns of what we refuse by Ready, and takes it back.
    if (receiver == receivers_.end() || refused_.count(id) != 0) continue;
    const bool known = taken_.count(id) != 0;
    if (absl::Status s = Restore(id, staged, receiver->second); !s.ok()) {
      if (known) taken_.erase(id);
      return absl::Status(
          s.code(), absl::StrCat("session ", id, " cannot be restored: ",
                                 s.message()));
    }
  }
  for (const std::string& name : changes.blobs) {
    if (absl::Status s = RestoreBlobValue(name); !s.ok()) return s;
    if (name == kEventsTailBlob && !InheritEvents(name)) events_.NoteGap();
  }
  return absl::OkStatus();
}

v1::Ready Process::MakeReady() {
  v1::Ready ready;
  const auto& named = taking_->inventory().named();
  for (size_t i = 0; i < named.size(); ++i) {
    // By name: of several listeners of one name, the predecessor could not tell
    // which to go on with.
    if (!claimed_[i] && names_.count(named[i].name) == 0) {
      ready.add_unclaimed(named[i].name);
    }
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
  CloseUntaken(options_, belongings_);
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
    const absl::Status status =
        taking_->Commit(MakeReady(), [this] { return ApplyChanges(); });
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
    report_(Event::Kind::kCommitted, taking_->offer().handoff_id(),
            "this process serves now");
    if (taking_->adopted()) AdoptUntouched();
    groups_.AfterFirstPoll([this](int group, uint64_t at) {
      std::lock_guard<std::mutex> lock(mu_);
      first_polls_.emplace_back(group, at);
      wake_();
    });
    // The sessions are still frozen: what else is to be done, Run() does.
  }
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
