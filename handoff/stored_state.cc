#include "handoff/stored_state.h"

#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/event_log.h"
#include "handoff/fd/fd_description.h"
#include "handoff/ledger.h"
#include "handoff/protocol/frame.h"
#include "handoff/staged_state.h"
#include "handoff/store_shelf.h"

namespace handoff {
namespace {

using Given = std::multimap<std::string, UniqueFd>;

// Not of one that was reset: the kernel does not count for it any more.
bool Connected(const StagedInventory::Session& session) {
  for (int i = 0; i < session.record.descriptors_size(); ++i) {
    sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    if (session.record.descriptors(i).has_counters() &&
        ::getpeername(session.descriptors[static_cast<size_t>(i)]->get(),
                      reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
      return false;
    }
  }
  return true;
}

// Carries out TakeStored().
class Adoption {
 public:
  Adoption(const Options& options, UniqueFd& listener)
      : options_(options),
        listener_(listener),
        state_(std::make_unique<StoredState>(options.limits)) {}

  std::unique_ptr<StoredState> Run() {
    TakeGiven();
    if (ReadNewestLog()) {
      state_->adopts = true;
      Adopt();
    }
    ResetTheRest();
    return std::move(state_);
  }

 private:
  void Hold(const std::string& name,
            absl::Span<const v1::DescriptorInfo> infos) {
    v1::StoreContents::Item* item = state_->holds.add_items();
    item->set_name(name);
    item->set_fingerprint(Fingerprint(infos));
  }

  void TakeGiven() {
    for (const GivenDescriptor& given : options_.given) {
      if (given.name.empty() || given.name.front() != kStorePrefix) continue;
      (IsStoredLogName(given.name) ? logs_ : sessions_)
          .emplace(given.name, std::move(*given.fd));
    }
    std::string last;
    for (const Given* all : {&logs_, &sessions_}) {
      for (const auto& [name, fd] : *all) {
        if (std::exchange(last, name) != name) Hold(name, {});
      }
    }
  }

  // Of several the last one: a process died while it replaced the other.
  bool ReadNewestLog() {
    for (auto& [name, fd] : logs_) {
      auto content = ReadStoreLog(fd.get(), options_.limits.total_state_bytes);
      if (!content.ok()) {
        state_->notes.push_back(
            absl::StrCat("what was stored as \"", name,
                         "\" cannot be read: ", content.status().message()));
        continue;
      }
      if (log_ == nullptr || content->head.made_at > log_->head.made_at) {
        log_ = std::make_unique<StoreLogContent>(*std::move(content));
        log_fd_ = &fd;
      }
    }
    if (log_ == nullptr) return false;
    state_->head = log_->head;
    if (!log_->rest.ok()) {
      state_->notes.push_back(absl::StrCat(
          "what was stored can be read in part: ", log_->rest.message()));
    }
    return true;
  }

  void Fold() {
    for (v1::StoredEntry& entry : log_->entries) {
      if (entry.has_process()) {
        state_->pid = entry.process().pid();
        for (const v1::NegotiatedType& type : entry.process().writes()) {
          written_[type.name()] = type.version();
        }
      } else if (entry.has_named()) {
        named_.push_back(std::move(*entry.mutable_named()));
      } else if (entry.has_blob()) {
        if (entry.blob().has_value()) {
          blobs_[entry.blob().name()] = std::move(*entry.mutable_blob());
        } else {
          blobs_.erase(entry.blob().name());
        }
      } else if (entry.has_session()) {
        stored_[entry.session().record().id()] =
            std::move(*entry.mutable_session());
      } else if (entry.ended() != 0) {
        stored_.erase(entry.ended());
      }
    }
  }

  void Adopt() {
    Fold();
    for (const StateType& type : options_.state_types) {
      const auto it = written_.find(type.name);
      if (it != written_.end() && it->second >= type.lowest &&
          it->second <= type.highest) {
        state_->versions[type.name] = it->second;
      }
    }
    AdoptNamed();
    const uint32_t attempts = state_->head.attempts;
    if (attempts >= StoredState::kMaxAttempts) {
      state_->notes.push_back(absl::StrCat(
          attempts,
          " processes in a row died with what was stored: only the "
          "listeners and descriptors of it are taken"));
      state_->head.attempts = 0;
      for (const auto& [id, session] : stored_) {
        state_->lost[id] = {session.record().type(),
                            "who adopted it before has died"};
      }
      return;
    }
    state_->head.attempts = attempts + 1;
    SetStoreLogAttempts(log_fd_->get(), attempts + 1).IgnoreError();
    for (auto& [name, blob] : blobs_) {
      const bool ours = name == kLedgerBlob;
      v1::Frame frame;
      if (!ours && state_->versions.count(name) == 0) {
        state_->notes.push_back(absl::StrCat(
            "blob \"", name, "\" was stored in a version that cannot be read"));
        continue;
      }
      *frame.mutable_blobs()->add_entries() = std::move(blob);
      Apply(frame, {});
    }
    for (auto& [id, session] : stored_) AdoptSession(id, session);
  }

  // Those of which the log does not know stay in Options::given: a manager may
  // have bound them.
  void AdoptNamed() {
    v1::Descriptors::Entry first;
    first.set_role(v1::Descriptors::HANDOFF_LISTENER);
    first.set_name("handoff");
    first.set_address(options_.path);
    ApplyNamed(first, listener_);
    std::map<std::string, std::vector<v1::DescriptorInfo>> held;
    for (v1::StoredDescriptor& named : named_) {
      for (const GivenDescriptor& given : options_.given) {
        if (given.name != named.entry().name() || !given.fd->valid() ||
            !CheckDescriptor(given.fd->get(), named.info()).ok()) {
          continue;
        }
        held[named.entry().name()].push_back(named.info());
        ApplyNamed(named.entry(), *given.fd);
        break;
      }
    }
    for (const auto& [name, infos] : held) Hold(name, infos);
  }

  void ApplyNamed(const v1::Descriptors::Entry& entry, UniqueFd& fd) {
    v1::Frame frame;
    *frame.mutable_descriptors_batch()->add_entries() = entry;
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(fd));
    Apply(frame, std::move(fds));
  }

  // Its descriptors in the order of the record; empty where one is missing:
  // then the others are reset, or their clients would be told of a clean end.
  std::vector<UniqueFd> TakeDescriptors(const std::string& name,
                                        const v1::StoredSession& session) {
    std::vector<UniqueFd> fds;
    for (const v1::DescriptorInfo& info : session.descriptors()) {
      const auto range = sessions_.equal_range(name);
      auto it = range.first;
      while (it != range.second &&
             !CheckDescriptor(it->second.get(), info).ok()) {
        ++it;
      }
      if (it == range.second) {
        for (const UniqueFd& fd : fds) ResetConnection(fd.get());
        return {};
      }
      fds.push_back(std::move(it->second));
      sessions_.erase(it);
    }
    return fds;
  }

  void AdoptSession(uint64_t id, v1::StoredSession& session) {
    std::string why;
    v1::SessionRecord& record = *session.mutable_record();
    const std::string name = StoredSessionName(id);
    StagedInventory::Session staged;
    if (state_->versions.count(record.type()) == 0) {
      why = "this program does not read its state";
    } else if (session.descriptors().empty() ||
               session.descriptors_size() != record.descriptors_size()) {
      why = "its record is malformed";
    }
    std::vector<UniqueFd> fds;
    if (why.empty()) {
      fds = TakeDescriptors(name, session);
      if (fds.empty()) why = "its connection has ended meanwhile";
    }
    if (why.empty()) {
      record.clear_frozen();  // nobody was frozen, and no word tells
      staged.record = record;
      for (UniqueFd& fd : fds) {
        staged.descriptors.push_back(std::make_shared<UniqueFd>(std::move(fd)));
      }
      if (!Connected(staged)) {
        why = "its connection has ended meanwhile";
      } else if (!Untouched(staged)) {
        why = "it was touched since it was stored";
      }
    }
    if (!why.empty()) {
      for (const SharedFd& fd : staged.descriptors) ResetConnection(fd->get());
      for (const UniqueFd& fd : fds) ResetConnection(fd.get());
      state_->lost[id] = {record.type(), std::move(why)};
      return;
    }
    const std::vector<v1::DescriptorInfo> infos(session.descriptors().begin(),
                                                session.descriptors().end());
    for (v1::StoreContents::Item& item : *state_->holds.mutable_items()) {
      if (item.name() == name) item.set_fingerprint(Fingerprint(infos));
    }
    v1::Frame frame;
    v1::SessionRecord* sent = frame.mutable_sessions()->add_records();
    sent->Swap(&record);
    fds.clear();
    for (int i = 0; i < sent->descriptors_size(); ++i) {
      sent->mutable_descriptors(i)->set_sent_in(static_cast<uint32_t>(i + 1));
      fds.push_back(std::move(*staged.descriptors[static_cast<size_t>(i)]));
    }
    const std::string type = sent->type();
    if (!Apply(frame, std::move(fds))) {
      state_->lost[id] = {type, "its record is malformed"};
    }
  }

  // What the log does not name, or not as it came.
  void ResetTheRest() {
    for (const auto& [name, fd] : sessions_) {
      ResetConnection(fd.get());
      const auto id = StoredSessionOf(name);
      if (id.has_value() && state_->lost.count(*id) == 0 &&
          state_->inventory.sessions().count(*id) == 0) {
        state_->lost[*id] = {"", "its state was not stored yet, or had ended"};
      }
    }
    sessions_.clear();
  }

  bool Apply(v1::Frame& frame, std::vector<UniqueFd> fds) {
    const absl::Status status = state_->inventory.Apply(frame, std::move(fds));
    if (!status.ok()) {
      state_->notes.push_back(
          absl::StrCat("of what was stored: ", status.message()));
    }
    return status.ok();
  }

  const Options& options_;
  UniqueFd& listener_;
  std::unique_ptr<StoredState> state_;
  Given logs_;
  Given sessions_;
  std::unique_ptr<StoreLogContent> log_;
  const UniqueFd* log_fd_ = nullptr;
  std::map<std::string, uint32_t> written_;
  std::vector<v1::StoredDescriptor> named_;
  std::map<std::string, v1::Blobs::Entry> blobs_;
  std::map<uint64_t, v1::StoredSession> stored_;
};

}  // namespace

void ResetConnection(int fd) {
  sockaddr unspecified = {};
  unspecified.sa_family = AF_UNSPEC;
  if (::connect(fd, &unspecified, sizeof(unspecified)) != 0) {
    ::shutdown(fd, SHUT_RDWR);
  }
}

std::unique_ptr<StoredState> TakeStored(const Options& options,
                                        UniqueFd& listener) {
  return Adoption(options, listener).Run();
}

}  // namespace handoff
