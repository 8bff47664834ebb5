// A process that takes everything, finds out whether it could serve it, and
// lets go of it.

#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/process.h"
#include "handoff/protocol/frame.h"
#include "handoff/rehearsal_report.h"

namespace handoff {
namespace {

// What a status can say on one line; the report has all.
constexpr uint64_t kMaxNamed = 5;

// "3 of 204 would not move: listener "admin": ...; and 2 more".
std::string Verdict(const v1::LedgerHandoff& report) {
  if (report.refused() == 0) {
    return report.kept() == 0
               ? "everything would move"
               : absl::StrCat("everything would move but ", report.kept(),
                              " that the predecessor keeps");
  }
  std::string text =
      absl::StrCat(report.refused(), " of ", report.refused() + report.moved(),
                   " would not move: ");
  uint64_t named = 0;
  for (const v1::LedgerEntry& entry : report.entries()) {
    if (entry.outcome() != v1::LedgerEntry::REFUSED) continue;
    if (named++ == kMaxNamed) break;
    absl::StrAppend(&text, named == 1 ? "" : "; ", entry.category(), " ");
    if (entry.session() != 0) absl::StrAppend(&text, entry.session(), " ");
    absl::StrAppend(&text, "\"", entry.name(), "\": ", entry.reason());
  }
  if (report.refused() > kMaxNamed) {
    absl::StrAppend(&text, "; and ", report.refused() - kMaxNamed, " more");
  }
  return text;
}

}  // namespace

absl::Status Process::Noted(absl::string_view category, absl::string_view name,
                            absl::Status status) {
  if (rehearsal_ != nullptr && !status.ok()) {
    rehearsal_->failed[{std::string(category), Printable(name)}] =
        Printable(status.message());
  }
  return status;
}

void Process::NoteMet(Taking& taking) {
  v1::LedgerHandoff& report = rehearsal_->report;
  report.set_predecessor_pid(taking.predecessor());
  report.set_handoff_id(taking.offer().handoff_id());
  if (report.handoff_id() != 0) {
    report.set_generation(taking.offer().generation() + 1);
  }
}

absl::Status Process::Rehearse() {
  v1::LedgerHandoff& report = rehearsal_->report;
  AddTaken(report);
  for (const auto& [id, staged] : taking_->inventory().sessions()) {
    if (taken_.count(id) != 0) continue;
    const auto why = refused_.find(id);
    AddEntry(report, v1::LedgerEntry::REFUSED, "session", staged.record.type(),
             id,
             why != refused_.end() ? Printable(why->second)
                                   : "nobody takes sessions of this type");
  }
  for (const auto& [id, kept] : taking_->inventory().kept()) {
    AddEntry(report, v1::LedgerEntry::KEPT, "session", kept.type(), id,
             kept.reason());
  }
  // A blob that cannot be restored was claimed all the same.
  for (v1::LedgerEntry& entry : *report.mutable_entries()) {
    if (entry.category() != "blob") continue;
    const auto failed = rehearsal_->failed.find({"blob", entry.name()});
    if (failed == rehearsal_->failed.end()) continue;
    entry.set_outcome(v1::LedgerEntry::REFUSED);
    entry.set_reason(failed->second);
    rehearsal_->failed.erase(failed);
  }
  AddFailed();
  const std::string how = Verdict(report);
  absl::Status status = taking_->Rehearse(how);
  taking_->phases().AddTo(report);
  if (status.ok() && report.refused() == 0) {
    report.set_result("passed");
    status = absl::CancelledError(how);
  } else if (status.ok()) {
    report.set_result("failed");
    status = absl::FailedPreconditionError(how);
  }
  DropTaken();
  taking_.reset();
  return EndRehearsal(status);
}

void Process::AddFailed() {
  v1::LedgerHandoff& report = rehearsal_->report;
  for (const auto& [what, why] : std::exchange(rehearsal_->failed, {})) {
    AddEntry(report, v1::LedgerEntry::REFUSED, what.first, what.second, 0, why);
  }
  CountEntries(report);
}

absl::Status Process::EndRehearsal(const absl::Status& status) {
  rehearsal_->ended = true;
  if (taking_ != nullptr) taking_->StopReceiving();
  // Where the service gave up: what was found until then.
  for (const auto& [id, why] : refused_) {
    if (taking_ == nullptr) break;
    const auto& sessions = taking_->inventory().sessions();
    const auto refused = sessions.find(id);
    if (refused == sessions.end()) continue;
    AddEntry(rehearsal_->report, v1::LedgerEntry::REFUSED, "session",
             refused->second.record.type(), id, Printable(why));
  }
  AddFailed();
  v1::LedgerHandoff& report = rehearsal_->report;
  if (report.result().empty()) {
    report.set_result("failed");
    report.set_reason(Printable(status.message()));
  }
  report.set_successor_pid(::getpid());
  report.set_started_at(static_cast<uint64_t>(absl::ToUnixNanos(started_)));
  report.set_seconds(absl::ToDoubleSeconds(absl::Now() - started_));
  ledger_.Add(report);
  absl::Status sent;
  if (rehearsal_->report_to) {
    sent = SendReport(rehearsal_->report_to.get(), report);
    rehearsal_->report_to.reset();
  }
  report_(Event::Kind::kRehearsed, report.handoff_id(),
          absl::StrCat(status.message(),
                       sent.ok() ? "" : "; the report cannot be sent: ",
                       sent.message()));
  return absl::Status(status.code(),
                      absl::StrCat("a rehearsal: ", status.message()));
}

}  // namespace handoff
