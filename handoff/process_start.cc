// How a process begins: it meets its predecessor, or finds that there is none.

#include <stdlib.h>

#include <atomic>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/process.h"
#include "handoff/protocol/frame.h"
#include "handoff/staged_state.h"
#include "handoff/transport/rendezvous.h"

namespace handoff {
namespace {

// What a full log of events can come to.
constexpr uint64_t kMaxEventsBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<Handoff>> Handoff::Start(Options options) {
  auto process = Process::Start(std::move(options));
  if (!process.ok()) return process.status();
  return *std::move(process);
}

Process::Process(Options options, Wake wake,
                 std::unique_ptr<Rehearsal> rehearsal)
    : rehearsal_(std::move(rehearsal)),
      options_(std::move(options)),
      report_(options_.observer, &events_),
      wake_(std::move(wake)),
      groups_(&roster_, wake_, options_.fault_seam) {}

absl::StatusOr<std::unique_ptr<Process>> Process::Start(Options options) {
  // For good: a service that tries again must not take over in earnest then.
  static std::atomic<bool> told_to_rehearse{false};
  if (::getenv(kRehearsalVariable) != nullptr) told_to_rehearse = true;
  // First: what goes wrong from here on is part of the answer.
  auto report_to = TakeInheritedSocket(kRehearsalVariable);
  if (!report_to.ok()) return report_to.status();
  auto wake = Wake::Create();
  if (!wake.ok()) return wake.status();
  std::unique_ptr<Rehearsal> rehearsal;
  options.rehearse |= told_to_rehearse;
  if (options.rehearse) rehearsal = std::make_unique<Rehearsal>();
  if (report_to->has_value()) rehearsal->report_to = *std::move(*report_to);
  std::unique_ptr<Process> process(new Process(
      std::move(options), *std::move(wake), std::move(rehearsal)));
  absl::Status status = process->CheckOptions();
  if (status.ok()) status = process->Meet();
  if (status.ok()) return process;
  if (process->rehearsal_ != nullptr) return process->EndRehearsal(status);
  return status;
}

absl::Status Process::CheckOptions() const {
  if (!options_.label.empty()) {
    if (absl::Status s = CheckName("label", options_.label); !s.ok()) return s;
  }
  for (const GivenDescriptor& given : options_.given) {
    if (given.fd == nullptr || !given.fd->valid()) {
      return absl::InvalidArgumentError(
          absl::StrCat("what was given as \"", given.name, "\" is not open"));
    }
  }
  std::set<std::string> names;
  for (const StateType& type : options_.state_types) {
    if (absl::Status s = CheckName("state type", type.name); !s.ok()) return s;
    if (absl::StartsWith(type.name, "handoff.")) {
      return absl::InvalidArgumentError(
          absl::StrCat("state type \"", type.name,
                       "\": names that begin with \"handoff.\" are the "
                       "library's"));
    }
    if (type.lowest > type.highest || !names.insert(type.name).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "state type \"", type.name,
          "\" comes twice or has its lowest version above its highest"));
    }
  }
  return absl::OkStatus();
}

absl::Status Process::Meet() {
  absl::StatusOr<absl::optional<UniqueFd>> inherited = TakeInheritedSocket();
  if (!inherited.ok()) return inherited.status();
  UniqueFd socket;
  if (inherited->has_value()) socket = *std::move(*inherited);
  while (true) {
    if (!socket && rehearsal_ != nullptr) {
      // Where nobody serves there is nothing to rehearse, nor to be made.
      auto connected = ConnectTo(options_.path);
      if (absl::IsNotFound(connected.status())) {
        return absl::NotFoundError(
            absl::StrCat("nobody serves at ", options_.path));
      }
      if (!connected.ok()) return connected.status();
      socket = *std::move(connected);
    }
    if (!socket) {
      auto met = handoff::Meet(options_.path,
                               absl::Now() + options_.deadlines.hello);
      if (!met.ok()) return met.status();
      if (met->listener) {
        return StartFresh(std::move(met->listener));
      }
      socket = std::move(met->predecessor);
    }
    auto channel = Channel::Create(std::move(socket),
                                   {options_.trust, options_.use_scm_pidfd});
    if (!channel.ok()) return channel.status();
    auto taking = Taking::Create(options_, report_, *std::move(channel));
    if (!taking.ok()) return taking.status();
    const absl::Status staged = (*taking)->Stage();
    if (rehearsal_ != nullptr) NoteMet(**taking);
    if (!staged.ok()) return staged;
    // It died before its first descriptor: there is nothing to adopt, and
    // nobody at the path any more.
    if ((*taking)->inventory().named().empty()) {
      if ((*taking)->adopted()) continue;
      return absl::InvalidArgumentError(
          "the predecessor offered not even its handoff socket");
    }
    taking_ = *std::move(taking);
    return Inherit();
  }
}

absl::Status Process::StartFresh(UniqueFd listener) {
  if (absl::Status s = EnableSenderIdentity(listener.get()); !s.ok()) return s;
  if (store_.Inherit(listener)) return absl::OkStatus();
  belongings_.named.push_back({v1::Descriptors::HANDOFF_LISTENER, "handoff",
                               options_.path,
                               std::make_shared<UniqueFd>(std::move(listener))});
  generation_ = highest_generation_ = 1;
  roster_.SetGeneration(generation_);
  events_.SetEpoch(EpochOf(generation_), generation_);
  report_(Event::Kind::kStarted, 0, "nobody served there");
  return absl::OkStatus();
}

bool Process::InheritEvents(const std::string& blob) {
  const auto& blobs = taking_->inventory().blobs();
  const auto it = blobs.find(blob);
  if (it == blobs.end()) return false;
  Limits limits;
  limits.state_bytes = kMaxEventsBytes;
  auto value = DecodeBlob(it->second, limits);
  v1::EventHistory history;
  if (value.ok() && value->UnpackTo(&history)) {
    events_.Inherit(history);
    return true;
  }
  report_(Event::Kind::kNote, taking_->offer().handoff_id(),
          "the predecessor's events cannot be read");
  return false;
}

absl::Status Process::Inherit() {
  took_over_ = true;
  generation_ = highest_generation_ = taking_->offer().generation() + 1;
  roster_.SetGeneration(generation_);
  StagedInventory& inventory = taking_->inventory();
  descriptors_.Inherit(&inventory.named());
  inventory.TakeBlobChanges();  // AddBlob looks at all of them
  InheritLedger();
  if (!InheritEvents(kEventsBlob)) events_.NoteGap();
  return absl::OkStatus();
}

void Process::InheritLedger() {
  const auto blob = inherited()->blobs().find(kLedgerBlob);
  if (blob == inherited()->blobs().end()) return;
  // Not worth a handoff: without it this process begins a new one.
  auto value = DecodeBlob(blob->second, Limits());
  v1::Ledger ledger;
  if (value.ok() && value->UnpackTo(&ledger)) {
    ledger_.Inherit(std::move(ledger));
  } else {
    report_(Event::Kind::kNote,
            taking_ == nullptr ? 0 : taking_->offer().handoff_id(),
            "the predecessor's ledger cannot be read");
  }
}

}  // namespace handoff
