#include "handoff/session.h"

#include <utility>

#include "handoff/roster.h"

namespace handoff {

int Session::fd(absl::string_view name) const {
  for (const Descriptor& d : descriptors_) {
    if (d.name == name) return d.fd->get();
  }
  return -1;
}

void Session::Changed() {
  if (!changed_) roster_->NoteChanged(*this);
}

absl::Status Session::AddDescriptor(absl::string_view name, UniqueFd fd) {
  return roster_->AddDescriptor(*this, name, std::move(fd));
}

absl::Status Session::CloseDescriptor(absl::string_view name) {
  return roster_->CloseDescriptor(*this, name);
}

void Session::Keep(absl::string_view reason) {
  roster_->Keep(*this, reason.empty() ? "cannot move" : reason);
  Changed();
}

void Session::Close() { roster_->EndSession(*this, Roster::End::kClose); }

void Session::Reset() { roster_->EndSession(*this, Roster::End::kReset); }

SessionWriter::Bytes& SessionWriter::Find(absl::string_view descriptor) {
  for (Bytes& b : bytes_) {
    if (b.descriptor == descriptor) return b;
  }
  bytes_.push_back({std::string(descriptor), "", ""});
  return bytes_.back();
}

void SessionWriter::Input(absl::string_view descriptor,
                          absl::string_view bytes) {
  Find(descriptor).input = std::string(bytes);
}

void SessionWriter::Output(absl::string_view descriptor,
                           absl::string_view bytes) {
  Find(descriptor).output = std::string(bytes);
}

void SessionWriter::Refuse(absl::string_view reason) {
  refusal_ = std::string(reason.empty() ? "cannot move" : reason);
}

absl::string_view SessionSnapshot::input(absl::string_view descriptor) const {
  for (const Bytes& b : bytes) {
    if (b.descriptor == descriptor) return b.input;
  }
  return "";
}

absl::string_view SessionSnapshot::output(absl::string_view descriptor) const {
  for (const Bytes& b : bytes) {
    if (b.descriptor == descriptor) return b.output;
  }
  return "";
}

}  // namespace handoff
