#include "handoff/named_descriptors.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

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
    return absl::AlreadyExistsError(
        absl::StrCat("\"", name, "\" is taken; names are unique"));
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
  auto claimed = Claim(v1::Descriptors::LISTENER, name);
  if (claimed.ok() || !absl::IsNotFound(claimed.status())) return claimed;
  auto bound = BindListener(address);
  if (!bound.ok()) return bound.status();
  if (options_.rehearse) Withdraw(bound->get(), address);
  return Add(v1::Descriptors::LISTENER, name, address,
             std::make_shared<UniqueFd>(*std::move(bound)));
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
