#include "handoff/named_descriptors.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "handoff/fd/fd_description.h"
#include "handoff/protocol/frame.h"
#include "handoff/transport/listen.h"

namespace handoff {
namespace {

// Where it can be mended, and not in the middle of a handoff.
absl::Status CanBePassed(int fd) {
  const auto info = DescribeDescriptor(fd);
  return info.ok() ? CheckPassable(info->kind()) : info.status();
}

absl::Status Taken(absl::string_view name) {
  return absl::AlreadyExistsError(
      absl::StrCat("\"", name, "\" is taken; names are unique"));
}

// Listeners whose connections the kernel shares out have one address. Unix
// sockets have none in common, whatever getsockname(2) says.
std::string PlaceOf(int listener) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) <
          0 ||
      address.ss_family == AF_UNIX) {
    return absl::StrCat("descriptor ", listener);
  }
  return std::string(reinterpret_cast<const char*>(&address), size);
}

// In a rehearsal: it could be bound, which is all that was to be known, and
// nobody is to find it.
void Withdraw(int listener, absl::string_view address) {
  if (absl::ConsumePrefix(&address, "unix:")) {
    ::unlink(std::string(address).c_str());
  } else {
    ::shutdown(listener, SHUT_RDWR);
  }
}

}  // namespace

void NamedDescriptors::Inherit(
    const std::vector<StagedInventory::Named>* inherited) {
  inherited_ = inherited;
  claimed_.assign(inherited->size(), false);
  const StagedInventory::Named& listener = inherited->front();
  named_.push_back(
      {listener.role, listener.name, listener.address, listener.fd});
  claimed_[0] = true;
}

int NamedDescriptors::Add(v1::Descriptors::Role role, absl::string_view name,
                          absl::string_view address, SharedFd fd) {
  names_.emplace(name, role);
  named_.push_back(
      {role, std::string(name), std::string(address), std::move(fd)});
  return named_.back().fd->get();
}

bool NamedDescriptors::IsTaken(const GivenDescriptor& given) const {
  return std::any_of(
      named_.begin(), named_.end(),
      [&](const NamedDescriptor& named) { return named.fd == given.fd; });
}

// What was given under this name and is not taken yet; null where there is
// none.
absl::StatusOr<SharedFd> NamedDescriptors::FindGiven(
    v1::Descriptors::Role role, absl::string_view name) const {
  for (const GivenDescriptor& given : options_.given) {
    if (given.name != name || IsTaken(given)) continue;
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

absl::StatusOr<int> NamedDescriptors::Claim(v1::Descriptors::Role role,
                                            absl::string_view name) {
  bool had_some = false;
  for (size_t i = 0; inherited_ != nullptr && i < inherited_->size(); ++i) {
    const StagedInventory::Named& inherited = (*inherited_)[i];
    if (inherited.role != role || inherited.name != name) continue;
    had_some = true;
    if (claimed_[i]) continue;
    claimed_[i] = true;
    return Add(role, name, inherited.address, inherited.fd);
  }
  if (absl::Status s = CheckName("descriptor", name); !s.ok()) return s;
  const auto taken = names_.find(std::string(name));
  if (taken != names_.end() &&
      (role == v1::Descriptors::OTHER || taken->second != role)) {
    return Taken(name);
  }
  if (had_some) return absl::NotFoundError("not inherited");
  auto given = FindGiven(role, name);
  if (!given.ok()) return given.status();
  if (*given == nullptr) return absl::NotFoundError("not given");
  // The kernel knows its address: it need not be the one that we would bind.
  return Add(role, name, "", *std::move(given));
}

absl::StatusOr<int> NamedDescriptors::Listen(absl::string_view name,
                                             absl::string_view address) {
  if (sharded_.count(std::string(name)) != 0) return Taken(name);
  auto claimed = Claim(v1::Descriptors::LISTENER, name);
  if (claimed.ok() || !absl::IsNotFound(claimed.status())) return claimed;
  auto bound = BindListener(address);
  if (!bound.ok()) return bound.status();
  if (options_.rehearse) Withdraw(bound->get(), address);
  return Add(v1::Descriptors::LISTENER, name, address,
             std::make_shared<UniqueFd>(*std::move(bound)));
}

absl::Status NamedDescriptors::BindShards(absl::string_view name,
                                          absl::string_view address,
                                          int workers) {
  if (absl::StartsWith(address, "unix:")) return Listen(name, address).status();
  ListenOptions options;
  options.listen = false;
  // With SO_REUSEPORT this service could bind, and take a part of the
  // connections, where another one of this user listens: without, it cannot.
  if (auto alone = BindListener(address, options); !alone.ok()) {
    return alone.status();
  }
  options.reuse_port = true;
  auto first = BindListener(address, options);
  if (!first.ok()) return first.status();
  std::vector<SharedFd> shards = {
      std::make_shared<UniqueFd>(*std::move(first))};
  while (shards.size() < static_cast<size_t>(workers)) {
    auto next = BindBeside(shards.front()->get());
    if (!next.ok()) return next.status();
    shards.push_back(std::make_shared<UniqueFd>(*std::move(next)));
  }
  for (const SharedFd& shard : shards) {
    // In a rehearsal nobody is to find it.
    if (!options_.rehearse && ::listen(shard->get(), options.backlog) < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("listen at ", address));
    }
  }
  for (SharedFd& shard : shards) {
    Add(v1::Descriptors::LISTENER, name, address, std::move(shard));
  }
  return absl::OkStatus();
}

void NamedDescriptors::AddShards(std::vector<SharedFd>& at_one_address,
                                 absl::string_view name, size_t workers) {
  while (at_one_address.size() < workers) {
    const SharedFd beside = at_one_address.front();
    auto bound = BindBeside(beside->get());
    if (!bound.ok()) {
      report_(
          Event::Kind::kNote, 0,
          absl::StrCat("listener \"", name, "\": ", workers, " workers share ",
                       at_one_address.size(), ": ", bound.status().message()));
      return;
    }
    at_one_address.push_back(std::make_shared<UniqueFd>(*std::move(bound)));
    shards_.push_back({at_one_address.back(), beside});
    Add(v1::Descriptors::LISTENER, name, "", at_one_address.back());
  }
}

absl::StatusOr<Handoff::Shards> NamedDescriptors::ListenSharded(
    absl::string_view name, absl::string_view address, int workers) {
  if (workers < 1 ||
      static_cast<uint64_t>(workers) > options_.limits.named_descriptors) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", name, "\" cannot have ", workers, " workers"));
  }
  if (names_.count(std::string(name)) != 0) return Taken(name);
  const size_t before = named_.size();
  absl::Status status;
  while (status.ok()) status = Claim(v1::Descriptors::LISTENER, name).status();
  if (absl::IsNotFound(status)) status = absl::OkStatus();
  if (status.ok() && named_.size() == before) {
    status = BindShards(name, address, workers);
  }
  if (!status.ok()) return status;
  sharded_.emplace(name);
  std::vector<std::string> places;  // in the order in which they were there
  std::map<std::string, std::vector<SharedFd>> listeners;
  for (size_t i = before; i < named_.size(); ++i) {
    const std::string place = PlaceOf(named_[i].fd->get());
    if (listeners.count(place) == 0) places.push_back(place);
    listeners[place].push_back(named_[i].fd);
  }
  Handoff::Shards shards(static_cast<size_t>(workers));
  for (const std::string& place : places) {
    std::vector<SharedFd>& group = listeners[place];
    AddShards(group, name, shards.size());
    for (size_t i = 0; i < group.size(); ++i) {
      // Where there are too few, every worker has every one.
      for (size_t worker = 0; worker < shards.size(); ++worker) {
        if (group.size() < shards.size() || i % shards.size() == worker) {
          shards[worker].push_back(group[i]->get());
        }
      }
    }
  }
  return shards;
}

void NamedDescriptors::BeginListening(uint64_t handoff_id) {
  for (const Shard& shard : shards_) {
    if (::listen(shard.fd->get(), ListenOptions().backlog) == 0) continue;
    const absl::Status why = absl::ErrnoToStatus(errno, "listen");
    // A worker has its number, which must not become another file's, nor be
    // that of a socket that only reports errors.
    ::dup3(shard.beside->get(), shard.fd->get(), O_CLOEXEC);
    const auto failed = std::find_if(
        named_.begin(), named_.end(),
        [&](const NamedDescriptor& named) { return named.fd == shard.fd; });
    report_(Event::Kind::kNote, handoff_id,
            absl::StrCat(
                "listener \"", failed->name,
                "\": one of its sockets does not listen: ", why.message()));
    named_.erase(failed);
  }
}

absl::StatusOr<int> NamedDescriptors::Descriptor(
    absl::string_view name,
    absl::FunctionRef<absl::StatusOr<UniqueFd>()> make) {
  auto claimed = Claim(v1::Descriptors::OTHER, name);
  if (claimed.ok() || !absl::IsNotFound(claimed.status())) return claimed;
  auto made = make();
  if (!made.ok()) return made.status();
  if (absl::Status s = CanBePassed(made->get()); !s.ok()) return s;
  return Add(v1::Descriptors::OTHER, name, "",
             std::make_shared<UniqueFd>(*std::move(made)));
}

std::vector<std::string> NamedDescriptors::Unclaimed() const {
  std::vector<std::string> unclaimed;
  for (size_t i = 0; inherited_ != nullptr && i < inherited_->size(); ++i) {
    const std::string& name = (*inherited_)[i].name;
    // By name: of several listeners of one name, the predecessor could not tell
    // which to go on with.
    if (!claimed_[i] && names_.count(name) == 0) unclaimed.push_back(name);
  }
  return unclaimed;
}

void NamedDescriptors::Finish() {
  inherited_ = nullptr;
  for (const GivenDescriptor& given : options_.given) {
    if (!IsTaken(given)) given.fd->reset();
  }
}

}  // namespace handoff
