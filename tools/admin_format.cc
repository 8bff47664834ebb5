#include "tools/admin_format.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "handoff/plain_text.h"

namespace handoff {
namespace {

using admin::v1::GetStatusResponse;
using admin::v1::Handoff;
using admin::v1::LedgerEntry;
using Entries = google::protobuf::RepeatedPtrField<LedgerEntry>;

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

std::string Time(const google::protobuf::Timestamp& time) {
  return FormatUtc(absl::FromUnixSeconds(time.seconds()) +
                   absl::Nanoseconds(time.nanos()));
}

double Seconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(ToDuration(duration));
}

double Milliseconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleMilliseconds(ToDuration(duration));
}

absl::string_view RoleName(GetStatusResponse::Role role) {
  switch (role) {
    case GetStatusResponse::SERVING:
      return "serving";
    case GetStatusResponse::PREDECESSOR:
      return "handing off";
    case GetStatusResponse::WATCHING:
      return "watching";
    case GetStatusResponse::STOPPING:
      return "stopping";
    default:
      return "unknown";
  }
}

std::string FormatBytes(uint64_t bytes) {
  return absl::StrFormat("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

// "10 descriptors of 100, 90 more"; a limit of 0 is none.
std::string OfLimit(std::string what, bool limited, const std::string& limit,
                    const std::string& headroom) {
  if (!limited) return what + ", no limit";
  return absl::StrCat(what, " of ", limit, ", ", headroom, " more");
}

struct Outcome {
  absl::string_view name;
  uint64_t count;  // by the process's own counting; it need not list them all
};

std::array<Outcome, 6> Outcomes(const Handoff& handoff) {
  return {{{"moved", handoff.moved()},
           {"kept", handoff.kept()},
           {"drained", handoff.drained()},
           {"refused", handoff.refused()},
           {"closed", handoff.closed()},
           {"lost", handoff.lost()}}};
}

std::string FormatCounts(const Handoff& handoff) {
  std::vector<std::string> counts;
  for (const Outcome& outcome : Outcomes(handoff)) {
    if (outcome.count == 0) continue;
    counts.push_back(absl::StrCat(outcome.name, " ", outcome.count));
  }
  return absl::StrCat(
      "  ", counts.empty() ? "nothing moved" : absl::StrJoin(counts, ", "),
      "\n");
}

// Begins with its number.
std::string FormatHandoff(const Handoff& handoff) {
  std::string text = absl::StrFormat(
      "%d %s %s, %.3f s, pid %d -> pid %d, generation %d\n", handoff.id(),
      WordOrNothing(handoff.result()), Time(handoff.started_at()),
      Seconds(handoff.took()), handoff.predecessor_pid(),
      handoff.successor_pid(), handoff.generation());
  if (!handoff.reason().empty()) {
    absl::StrAppend(&text, "  reason: ", OnOneLine(handoff.reason()), "\n");
  }
  if (handoff.has_blackout()) {
    absl::StrAppendFormat(&text,
                          "  blackout: p50 %.3f ms, p99 %.3f ms, max %.3f ms\n",
                          Milliseconds(handoff.blackout().p50()),
                          Milliseconds(handoff.blackout().p99()),
                          Milliseconds(handoff.blackout().max()));
  }
  if (!handoff.phases().empty()) {
    absl::StrAppend(
        &text, "  phases: ",
        absl::StrJoin(handoff.phases(), ", ",
                      [](std::string* out, const admin::v1::Phase& phase) {
                        absl::StrAppendFormat(out, "%s %.3f s",
                                              Word(phase.name()),
                                              Seconds(phase.took()));
                      }),
        "\n");
  }
  return text;
}

std::string FormatEntry(const LedgerEntry& entry) {
  std::string line = absl::StrCat("    ", WordOrNothing(entry.category()));
  if (entry.session() != 0) absl::StrAppend(&line, " ", entry.session());
  if (!entry.name().empty()) absl::StrAppend(&line, " ", Word(entry.name()));
  if (!entry.reason().empty()) {
    absl::StrAppend(&line, ": ", OnOneLine(entry.reason()));
  }
  return line + '\n';
}

// By outcome: those that are counted, then any that this code does not know.
std::string FormatEntries(const Handoff& handoff, const Entries& entries) {
  std::map<absl::string_view, std::vector<const LedgerEntry*>> by_outcome;
  for (const LedgerEntry& entry : entries) {
    by_outcome[entry.outcome()].push_back(&entry);
  }
  std::string text;
  const auto append = [&](absl::string_view name, uint64_t count,
                          const std::vector<const LedgerEntry*>& listed) {
    count = std::max<uint64_t>(count, listed.size());
    if (count == 0) return;
    absl::StrAppend(&text, "  ", WordOrNothing(name), " ", count, "\n");
    for (const LedgerEntry* entry : listed) text += FormatEntry(*entry);
    if (!listed.empty() && listed.size() < count) {
      absl::StrAppend(&text, "    and ", count - listed.size(), " more\n");
    }
  };
  for (const Outcome& outcome : Outcomes(handoff)) {
    append(outcome.name, outcome.count, by_outcome[outcome.name]);
    by_outcome.erase(outcome.name);
  }
  for (const auto& [name, listed] : by_outcome) append(name, 0, listed);
  return text;
}

// "tcp 127.0.0.1:80 <- 127.0.0.1:5555"
std::string FormatDescriptor(const admin::v1::Descriptor& descriptor) {
  std::string text = WordOrNothing(descriptor.kind());
  if (!descriptor.local_address().empty()) {
    absl::StrAppend(&text, " ", Word(descriptor.local_address()));
  }
  if (!descriptor.peer_address().empty()) {
    absl::StrAppend(&text, " <- ", Word(descriptor.peer_address()));
  }
  return text;
}

std::string FormatProgress(const admin::v1::HandoffProgress& progress) {
  return absl::StrFormat(
      "handoff:      %d%s, %s since %s, %d of %d sessions, to pid %d, label "
      "%s\n",
      progress.handoff_id(), progress.rehearsal() ? ", a rehearsal" : "",
      WordOrNothing(progress.phase()), Time(progress.phase_started_at()),
      progress.sessions_sent(), progress.sessions_total(),
      progress.successor_pid(), WordOrNothing(progress.successor_label()));
}

}  // namespace

std::string FormatStatus(const GetStatusResponse& status) {
  std::string text = absl::StrFormat(
      "pid:          %d\n"
      "label:        %s\n"
      "build:        %s\n"
      "executable:   %s\n"
      "generation:   %d\n"
      "state:        %s\n"
      "uptime:       %s\n"
      "accepting:    %s\n"
      "listeners:    %d\n"
      "descriptors:  %d\n"
      "blobs:        %d\n"
      "sessions:     %d\n"
      "open:         %s\n"
      "memory:       %s\n",
      status.pid(), WordOrNothing(status.label()),
      WordOrNothing(status.build()), WordOrNothing(status.executable()),
      status.generation(), RoleName(status.role()),
      FormatAge(ToDuration(status.uptime())), status.accepting() ? "yes" : "no",
      status.listeners(), status.other_descriptors(), status.blobs(),
      status.sessions(),
      OfLimit(absl::StrCat(status.open_descriptors(), " descriptors"),
              status.descriptor_limit() != 0,
              absl::StrCat(status.descriptor_limit()),
              absl::StrCat(status.descriptor_headroom())),
      OfLimit(FormatBytes(status.resident_bytes()), status.memory_limit() != 0,
              FormatBytes(status.memory_limit()),
              FormatBytes(status.memory_headroom())));
  if (status.has_lock()) {
    absl::StrAppend(&text, "locked until: ", FormatLock(status.lock()));
  }
  if (status.has_handoff()) text += FormatProgress(status.handoff());
  text += "last handoff: ";
  if (!status.has_last_handoff()) return text + "none\n";
  return absl::StrCat(text, FormatHandoff(status.last_handoff()),
                      FormatCounts(status.last_handoff()));
}

std::string FormatResult(const admin::v1::StartHandoffResponse& response) {
  const Handoff& result = response.result();
  const bool rehearsal =
      result.result() == "passed" || result.result() == "failed";
  return absl::StrCat(rehearsal ? "rehearsal " : "handoff ",
                      FormatHandoff(result),
                      rehearsal ? FormatEntries(result, response.refused())
                                : FormatCounts(result));
}

std::string FormatDrained(const admin::v1::DrainResponse& response) {
  return absl::StrCat("asked ", response.asked(), ", ended ", response.ended(),
                      ", cut off ", response.cut_off(), "\n");
}

std::string FormatLock(const admin::v1::LockState& lock) {
  return absl::StrCat(Time(lock.expires_at()), ": ", OnOneLine(lock.reason()),
                      "\n");
}

std::string FormatEvent(const admin::v1::Event& event) {
  std::string line = absl::StrCat(
      event.sequence(), " ", Time(event.at()), " ", WordOrNothing(event.kind()),
      " pid ", event.pid(), " generation ", event.generation());
  if (event.handoff_id() != 0) {
    absl::StrAppend(&line, " handoff ", event.handoff_id());
  }
  if (!event.text().empty()) {
    absl::StrAppend(&line, ": ", OnOneLine(event.text()));
  }
  return line + '\n';
}

std::string FormatMissed(const admin::v1::Missed& missed) {
  return absl::StrCat("missed: some events up to ", missed.up_to(),
                      " are gone\n");
}

void InventoryText::Fit(const Columns& row) {
  for (size_t i = 0; i < row.size(); ++i) {
    widths_[i] = std::max(widths_[i], row[i].size());
  }
}

std::string InventoryText::Begin() {
  if (begun_) return "";
  begun_ = true;
  const auto columns = [](const admin::v1::Descriptor& descriptor) {
    const std::string nothing(kNothing);
    return Columns{WordOrNothing(descriptor.category()),
                   WordOrNothing(descriptor.name()), nothing, nothing, nothing};
  };
  const Columns headings = {"CATEGORY", "NAME", "SESSION", "AGE", "HANDOFFS"};
  Fit(headings);
  for (const auto& descriptor : descriptors_) Fit(columns(descriptor));
  std::string text;
  Append(headings, "DESCRIPTORS", text);
  for (const admin::v1::Descriptor& descriptor : descriptors_) {
    Append(columns(descriptor), FormatDescriptor(descriptor), text);
    AppendDetails(descriptor.name(), descriptor, text);
  }
  descriptors_.Clear();
  return text;
}

void InventoryText::Append(const Columns& row, absl::string_view last,
                           std::string& text) {
  for (size_t i = 0; i < row.size(); ++i) {
    text += row[i];
    text.append(widths_[i] - row[i].size() + 2, ' ');
  }
  absl::StrAppend(&text, last, "\n");
}

void InventoryText::AppendDetails(absl::string_view name,
                                  const admin::v1::Descriptor& descriptor,
                                  std::string& text) const {
  if (!details_) return;
  // In an order of their own: a map has none.
  const std::map<std::string, int64_t> options(descriptor.options().begin(),
                                               descriptor.options().end());
  absl::StrAppend(&text, "    ", WordOrNothing(name), ": queues ",
                  descriptor.receive_queue(), " in, ", descriptor.send_queue(),
                  " out; consumed ", descriptor.bytes_consumed(), ", written ",
                  descriptor.bytes_written());
  if (descriptor.socket_cookie() != 0) {
    absl::StrAppend(&text, "; cookie ", descriptor.socket_cookie());
  } else {
    absl::StrAppend(&text, "; device ", descriptor.device(), ", inode ",
                    descriptor.inode());
  }
  for (const auto& [option, value] : options) {
    absl::StrAppend(&text, options.begin()->first == option ? "; " : " ",
                    Word(option), "=", value);
  }
  text += '\n';
}

std::string InventoryText::Add(const admin::v1::ListDescriptorsResponse& page) {
  descriptors_.MergeFrom(page.descriptors());
  return "";
}

std::string InventoryText::Add(const admin::v1::ListSessionsResponse& page) {
  if (page.sessions().empty()) return "";
  const auto columns = [](const admin::v1::Session& session) {
    return Columns{
        "session", WordOrNothing(session.type()), absl::StrCat(session.id()),
        FormatAge(ToDuration(session.age())), absl::StrCat(session.handoffs())};
  };
  for (const admin::v1::Session& session : page.sessions()) {
    Fit(columns(session));
  }
  std::string text = Begin();
  for (const admin::v1::Session& session : page.sessions()) {
    const std::string descriptors = absl::StrJoin(
        session.descriptors(), ", ",
        [](std::string* out, const admin::v1::Descriptor& descriptor) {
          if (!descriptor.name().empty()) {
            absl::StrAppend(out, Word(descriptor.name()), "=");
          }
          absl::StrAppend(out, FormatDescriptor(descriptor));
        });
    Append(columns(session),
           descriptors.empty() ? kNothing : absl::string_view(descriptors),
           text);
    if (!session.keep_reason().empty()) {
      absl::StrAppend(
          &text, "    cannot move: ", OnOneLine(session.keep_reason()), "\n");
    }
    for (const admin::v1::Descriptor& descriptor : session.descriptors()) {
      AppendDetails(descriptor.name(), descriptor, text);
    }
  }
  return text;
}

std::string InventoryText::End() {
  if (begun_) return "";
  return descriptors_.empty() ? "nothing to hand over\n" : Begin();
}

std::string LedgerText::Flush() {
  if (!has_head_) return "";
  has_head_ = false;
  std::string text = absl::StrCat("handoff ", FormatHandoff(head_),
                                  FormatEntries(head_, entries_));
  entries_.Clear();
  return text;
}

std::string LedgerText::Add(const admin::v1::GetLedgerResponse& part) {
  std::string text;
  if (part.has_handoff()) {
    text = Flush();
    head_ = part.handoff();
    has_head_ = any_ = true;
  }
  entries_.MergeFrom(part.entries());
  return text;
}

std::string LedgerText::End() { return any_ ? Flush() : "no handoff yet\n"; }

}  // namespace handoff
