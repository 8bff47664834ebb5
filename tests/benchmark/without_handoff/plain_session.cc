#include "tests/benchmark/without_handoff/plain_session.h"

#include <sys/socket.h>

#include <string>
#include <utility>

namespace handoff {

struct Roster::Owned : Session {
  Owned(uint64_t id, std::vector<NamedFd> fds)
      : Session(nullptr, id, ""), descriptors(std::move(fds)) {}

  static std::vector<NamedFd>& Of(Session& session) {
    return static_cast<Owned&>(session).descriptors;
  }

  std::vector<NamedFd> descriptors;
};

std::shared_ptr<Session> Roster::Open(std::vector<NamedFd> descriptors) {
  return std::make_shared<Owned>(next_id_++, std::move(descriptors));
}

int Roster::Find(const Session& session, absl::string_view name) {
  for (const NamedFd& d : static_cast<const Owned&>(session).descriptors) {
    if (d.name == name) return d.fd.get();
  }
  return -1;
}

absl::Status Roster::Add(Session& session, absl::string_view name,
                         UniqueFd fd) {
  Owned::Of(session).push_back({std::string(name), std::move(fd)});
  return absl::OkStatus();
}

absl::Status Roster::Close(Session& session, absl::string_view name) {
  std::vector<NamedFd>& descriptors = Owned::Of(session);
  for (auto it = descriptors.begin(); it != descriptors.end(); ++it) {
    if (it->name != name) continue;
    descriptors.erase(it);
    return absl::OkStatus();
  }
  return absl::NotFoundError("the session has no descriptor of that name");
}

void Roster::End(Session& session, bool reset) {
  for (const NamedFd& d : Owned::Of(session)) {
    sockaddr unspecified = {};
    unspecified.sa_family = AF_UNSPEC;
    // So that a reset is one here too (connect(2), AF_UNSPEC).
    if (reset &&
        ::connect(d.fd.get(), &unspecified, sizeof(unspecified)) == 0) {
      continue;
    }
    ::shutdown(d.fd.get(), SHUT_RDWR);
  }
  Owned::Of(session).clear();
}

int Session::fd(absl::string_view name) const {
  return Roster::Find(*this, name);
}

// Nobody asks.
void Session::Changed() {}
void Session::Keep(absl::string_view) {}

absl::Status Session::AddDescriptor(absl::string_view name, UniqueFd fd) {
  return Roster::Add(*this, name, std::move(fd));
}

absl::Status Session::CloseDescriptor(absl::string_view name) {
  return Roster::Close(*this, name);
}

void Session::Close() { Roster::End(*this, /*reset=*/false); }

void Session::Reset() { Roster::End(*this, /*reset=*/true); }

// Nobody has a snapshot written, nor gets one to read.
void SessionWriter::Input(absl::string_view, absl::string_view) {}
void SessionWriter::Output(absl::string_view, absl::string_view) {}
void SessionWriter::Refuse(absl::string_view) {}
absl::string_view SessionSnapshot::input(absl::string_view) const { return ""; }
absl::string_view SessionSnapshot::output(absl::string_view) const {
  return "";
}

}  // namespace handoff
