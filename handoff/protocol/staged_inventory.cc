#include "handoff/protocol/staged_inventory.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

// Takes the descriptor at 1-based `index` out of a frame's. Each can be taken
// once.
absl::StatusOr<SharedFd> Take(std::vector<SharedFd>& fds, uint32_t index,
                              absl::string_view what) {
  if (index == 0 || index > fds.size() || fds[index - 1] == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " names descriptor ", index, " of ", fds.size(),
                     ", which is not there or is taken"));
  }
  return std::move(fds[index - 1]);
}

}  // namespace

absl::Status StagedInventory::Apply(v1::Frame& frame,
                                    std::vector<UniqueFd> descriptors) {
  std::vector<SharedFd> fds;
  fds.reserve(descriptors.size());
  for (UniqueFd& fd : descriptors) {
    fds.push_back(std::make_shared<UniqueFd>(std::move(fd)));
  }
  absl::Status status;
  if (frame.has_descriptors_batch()) {
    status = ApplyDescriptors(frame.descriptors_batch(), fds);
  } else if (frame.has_blobs()) {
    status = ApplyBlobs(frame.blobs(), fds);
  } else if (frame.has_sessions()) {
    status = ApplySessions(*frame.mutable_sessions(), fds);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("frame \"", BodyName(frame), "\" is no batch"));
  }
  if (!status.ok()) return status;
  for (const SharedFd& fd : fds) {
    if (fd != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("frame ", frame.seq(),
                       " carries a descriptor that it does not name"));
    }
  }
  return absl::OkStatus();
}

absl::Status StagedInventory::CheckCounts(uint64_t descriptors, uint64_t blobs,
                                          uint64_t sessions) const {
  if (descriptors == named_.size() && blobs == blobs_.size() &&
      sessions == sessions_.size()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "the predecessor counts ", descriptors, " descriptors, ", blobs,
      " blobs and ", sessions, " sessions; ", named_.size(), ", ",
      blobs_.size(), " and ", sessions_.size(), " have come"));
}

StagedInventory::Arrival StagedInventory::TakeArrival(Session& session) {
  v1::SessionRecord& record = session.record;
  Arrival arrival;
  arrival.id = record.id();
  arrival.type = record.type();
  arrival.handoffs = record.handoffs();
  arrival.opened_at = record.opened_at();
  arrival.state.Swap(record.mutable_state());
  record.clear_state();
  arrival.descriptors.resize(session.descriptors.size());
  for (size_t i = 0; i < session.descriptors.size(); ++i) {
    v1::SessionDescriptor& d = *record.mutable_descriptors(static_cast<int>(i));
    arrival.descriptors[i] = {d.name(), session.descriptors[i],
                              std::move(*d.mutable_input()),
                              std::move(*d.mutable_output())};
    d.clear_input();
    d.clear_output();
  }
  arrival.state_memfd = std::move(session.state_memfd);
  arrival.state_at = record.state_at();
  arrival.state_size = record.state_size();
  return arrival;
}

StagedInventory::SessionChanges StagedInventory::TakeSessionChanges() {
  SessionChanges changes;
  changes.arrived.reserve(fresh_.size());
  for (const uint64_t id : std::exchange(fresh_, {})) {
    const auto it = sessions_.find(id);
    if (it == sessions_.end()) continue;
    if (std::exchange(it->second.fresh, false)) {
      changes.arrived.push_back(TakeArrival(it->second));
    }
  }
  changes.gone = std::exchange(gone_, {});
  return changes;
}

std::set<std::string> StagedInventory::TakeBlobChanges() {
  return std::exchange(changed_blobs_, {});
}

absl::Status StagedInventory::ApplyDescriptors(const v1::Descriptors& batch,
                                               std::vector<SharedFd>& fds) {
  if (static_cast<size_t>(batch.entries_size()) != fds.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(batch.entries_size(), " entries for ", fds.size(),
                     " descriptors"));
  }
  if (named_.size() + fds.size() > limits_.named_descriptors) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "more than ", limits_.named_descriptors, " named descriptors"));
  }
  for (size_t i = 0; i < fds.size(); ++i) {
    const v1::Descriptors::Entry& entry = batch.entries(i);
    const bool first = named_.empty();
    if (first != (entry.role() == v1::Descriptors::HANDOFF_LISTENER)) {
      return absl::InvalidArgumentError(
          "the handoff listener must be the first descriptor, once");
    }
    if (entry.role() == v1::Descriptors::ROLE_UNSPECIFIED ||
        entry.role() > v1::Descriptors::OTHER) {
      return absl::InvalidArgumentError("a descriptor without a role");
    }
    if (absl::Status s = CheckName("descriptor", entry.name()); !s.ok()) {
      return s;
    }
    if (entry.address().size() > kMaxTextBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("descriptor \"", entry.name(), "\" has an address of ",
                       entry.address().size(), " bytes"));
    }
    named_.push_back(
        {entry.role(), entry.name(), entry.address(), std::move(fds[i])});
  }
  return absl::OkStatus();
}

absl::Status StagedInventory::CountState(uint64_t bytes) {
  state_bytes_ += bytes;
  if (bytes > limits_.state_bytes || state_bytes_ > limits_.total_state_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("state of ", bytes, " bytes, ", state_bytes_,
                     " in all; the limits are ", limits_.state_bytes, " and ",
                     limits_.total_state_bytes));
  }
  return absl::OkStatus();
}

absl::Status StagedInventory::ApplyBlobs(const v1::Blobs& batch,
                                         std::vector<SharedFd>& fds) {
  for (const v1::Blobs::Entry& entry : batch.entries()) {
    if (absl::Status s = CheckName("blob", entry.name()); !s.ok()) return s;
    if (absl::Status s = CountState(entry.value().ByteSizeLong()); !s.ok()) {
      return s;
    }
    Blob blob;
    blob.value = entry.value();
    if (entry.value_in() != 0) {
      auto fd = Take(fds, entry.value_in(), "a blob");
      if (!fd.ok()) return fd.status();
      blob.memfd = *std::move(fd);
    }
    blobs_[entry.name()] = std::move(blob);
    changed_blobs_.insert(entry.name());
  }
  if (blobs_.size() > limits_.blobs) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.blobs, " blobs"));
  }
  return absl::OkStatus();
}

absl::Status StagedInventory::ApplySessions(v1::Sessions& batch,
                                            std::vector<SharedFd>& fds) {
  // Those that hold states stay until the last record has been looked at.
  std::vector<bool> shared(fds.size());
  for (const v1::SessionRecord& record : batch.records()) {
    const uint32_t in = record.state_in();
    if (in == 0) continue;
    if (in > fds.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the state of session ", record.id(),
                       " is in descriptor ", in, " of ", fds.size()));
    }
    shared[in - 1] = true;
  }
  std::vector<SharedFd> memfds(fds.size());
  for (size_t i = 0; i < fds.size(); ++i) {
    if (shared[i]) memfds[i] = std::move(fds[i]);
  }
  for (v1::SessionRecord& record : *batch.mutable_records()) {
    if (absl::Status s = ApplyRecord(record, fds, memfds); !s.ok()) return s;
  }
  for (const uint64_t id : batch.closed()) {
    if (sessions_.erase(id) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("session ", id, " was closed but never sent"));
    }
    closed_.insert(id);
    gone_.push_back(id);
  }
  for (const v1::KeptSession& kept : batch.kept()) {
    if (closed_.count(kept.id()) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("session ", kept.id(), " is kept but was closed"));
    }
    if (absl::Status s = CheckName("session type", kept.type()); !s.ok()) {
      return s;
    }
    if (kept.id() == 0 || kept.reason().size() > kMaxTextBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("session ", kept.id(), " is kept for a reason of ",
                       kept.reason().size(), " bytes"));
    }
    if (sessions_.erase(kept.id()) > 0) gone_.push_back(kept.id());
    kept_[kept.id()] = kept;
  }
  if (sessions_.size() + kept_.size() > limits_.sessions ||
      closed_.size() > limits_.sessions) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", limits_.sessions, " sessions"));
  }
  return absl::OkStatus();
}

absl::Status StagedInventory::ApplyRecord(v1::SessionRecord& record,
                                          std::vector<SharedFd>& fds,
                                          const std::vector<SharedFd>& memfds) {
  const auto malformed = [&record](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("session ", record.id(), " ", why));
  };
  if (record.id() == 0) return malformed("has no id");
  if (absl::Status s = CheckName("session type", record.type()); !s.ok()) {
    return s;
  }
  if (kept_.count(record.id()) != 0) return malformed("was said to be kept");
  if (closed_.count(record.id()) != 0) return malformed("was closed");
  if (static_cast<uint64_t>(record.descriptors_size()) >
      limits_.session_descriptors) {
    return malformed(absl::StrCat("has more than ",
                                  limits_.session_descriptors, " descriptors"));
  }
  const auto [old, is_new] = sessions_.try_emplace(record.id());
  Session& session = old->second;
  if (!is_new && session.record.type() != record.type()) {
    return malformed("changed its type");
  }
  // A record that replaces another counts in its place. What is in a memfd has
  // its own limit when it is read; here a peer's number must not wrap around.
  state_bytes_ -= std::exchange(session.counted, 0);
  if (absl::Status s = CountState(record.ByteSizeLong()); !s.ok()) return s;
  if (record.state_size() > limits_.total_state_bytes - state_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "state of ", record.state_size(), " bytes and ", state_bytes_,
        " in all before; the limit is ", limits_.total_state_bytes));
  }
  state_bytes_ += record.state_size();
  session.counted = record.ByteSizeLong() + record.state_size();
  std::vector<SharedFd> descriptors;
  for (int i = 0; i < record.descriptors_size(); ++i) {
    const v1::SessionDescriptor& d = record.descriptors(i);
    if (absl::Status s = CheckName("session's descriptor", d.name()); !s.ok()) {
      return s;
    }
    for (int j = 0; j < i; ++j) {
      if (record.descriptors(j).name() == d.name()) {
        return malformed("has two descriptors of one name");
      }
    }
    SharedFd fd;
    if (d.sent_in() != 0) {
      auto taken = Take(fds, d.sent_in(), "a session");
      if (!taken.ok()) return taken.status();
      fd = *std::move(taken);
    } else {
      for (size_t j = 0; j < session.descriptors.size(); ++j) {
        if (session.record.descriptors(static_cast<int>(j)).name() ==
            d.name()) {
          fd = session.descriptors[j];
        }
      }
    }
    if (fd == nullptr) return malformed("lacks a descriptor");
    descriptors.push_back(std::move(fd));
  }
  session.descriptors = std::move(descriptors);
  session.state_memfd =
      record.state_in() == 0 ? nullptr : memfds[record.state_in() - 1];
  session.record.Swap(&record);
  if (!std::exchange(session.fresh, true)) {
    fresh_.push_back(session.record.id());
  }
  return absl::OkStatus();
}

}  // namespace handoff
