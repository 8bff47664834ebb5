#include "handoff/query_format.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "google/protobuf/util/json_util.h"
#include "handoff/fd/fd_description.h"
#include "handoff/plain_text.h"

namespace handoff {
namespace {

using v1::LedgerEntry;

std::string FormatNanoseconds(uint64_t unix_nanoseconds) {
  return FormatUtc(absl::FromUnixNanos(static_cast<int64_t>(unix_nanoseconds)));
}

// How long a session was frozen, over all sessions: a group counts as often as
// it has sessions. Empty where none was.
std::string FormatBlackout(const v1::LedgerHandoff& handoff) {
  std::vector<std::pair<double, double>> groups;  // milliseconds, sessions
  double total = 0;
  for (const v1::Blackout& group : handoff.blackouts()) {
    // Not a time, or of nobody. A NaN would have no place in the order.
    if (!(group.milliseconds() >= 0) || group.sessions() == 0) continue;
    const auto sessions = static_cast<double>(group.sessions());
    groups.emplace_back(group.milliseconds(), sessions);
    total += sessions;
  }
  if (groups.empty()) return "";
  std::sort(groups.begin(), groups.end());
  const auto percentile = [&](double fraction) {
    double up_to_here = 0;
    for (const auto& [milliseconds, sessions] : groups) {
      up_to_here += sessions;
      if (up_to_here >= fraction * total) return milliseconds;
    }
    return groups.back().first;
  };
  return absl::StrFormat(
      "  blackout: p50 %.3f ms, p99 %.3f ms, max %.3f ms (%.0f sessions)\n",
      percentile(0.50), percentile(0.99), groups.back().first, total);
}

std::string FormatProgress(const v1::HandoffProgress& progress) {
  return absl::StrFormat(
      "handoff:      %d%s, %s since %s, %d of %d sessions, to pid %d, label "
      "%s\n",
      progress.handoff_id(), progress.rehearsal() ? ", a rehearsal" : "",
      WordOrNothing(progress.phase()),
      FormatNanoseconds(progress.phase_started_at()), progress.sessions_sent(),
      progress.sessions_total(), progress.successor_pid(),
      WordOrNothing(progress.successor_label()));
}

// What both FormatStatus and FormatLedger say of a handoff.
std::string FormatHandoff(const v1::LedgerHandoff& handoff) {
  std::string text = absl::StrFormat(
      "%d %s %s, %.3f s, pid %d -> pid %d, generation %d\n",
      handoff.handoff_id(), WordOrNothing(handoff.result()),
      FormatNanoseconds(handoff.started_at()), handoff.seconds(),
      handoff.predecessor_pid(), handoff.successor_pid(), handoff.generation());
  if (!handoff.reason().empty()) {
    absl::StrAppend(&text, "  reason: ", OnOneLine(handoff.reason()), "\n");
  }
  return text + FormatBlackout(handoff);
}

struct Outcome {
  LedgerEntry::Outcome outcome;
  absl::string_view name;
  uint64_t count;  // by the process's own counting; it need not list them all
};

std::array<Outcome, 6> Outcomes(const v1::LedgerHandoff& handoff) {
  return {{{LedgerEntry::MOVED, "moved", handoff.moved()},
           {LedgerEntry::KEPT, "kept", handoff.kept()},
           {LedgerEntry::DRAINED, "drained", handoff.drained()},
           {LedgerEntry::REFUSED, "refused", handoff.refused()},
           {LedgerEntry::CLOSED, "closed", handoff.closed()},
           {LedgerEntry::LOST, "lost", handoff.lost()}}};
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

std::string FormatEntries(const v1::LedgerHandoff& handoff) {
  const std::array<Outcome, 6> outcomes = Outcomes(handoff);
  // One more group for an outcome that this code does not know.
  std::array<std::vector<const LedgerEntry*>, outcomes.size() + 1> groups;
  for (const LedgerEntry& entry : handoff.entries()) {
    size_t group = 0;
    while (group < outcomes.size() &&
           outcomes[group].outcome != entry.outcome()) {
      ++group;
    }
    groups[group].push_back(&entry);
  }
  std::string text;
  for (size_t i = 0; i < groups.size(); ++i) {
    const bool known = i < outcomes.size();
    const uint64_t listed = groups[i].size();
    const uint64_t count = known ? std::max(outcomes[i].count, listed) : listed;
    if (count == 0) continue;
    absl::StrAppend(&text, "  ", known ? outcomes[i].name : "unknown outcome",
                    " ", count, "\n");
    for (const LedgerEntry* entry : groups[i]) text += FormatEntry(*entry);
    if (listed != 0 && listed < count) {
      absl::StrAppend(&text, "    and ", count - listed, " more\n");
    }
  }
  return text;
}

// "client=tcp 127.0.0.1:80 <- 127.0.0.1:5555, upstream=..."
std::string FormatDescriptors(const v1::InventoryItem& item) {
  std::vector<std::string> parts;
  for (int i = 0; i < item.descriptors_size(); ++i) {
    const v1::DescriptorInfo& info = item.descriptors(i);
    std::string part;
    // A listener's descriptor has the listener's name: said already.
    if (i < item.descriptor_names_size() && !item.descriptor_names(i).empty() &&
        item.descriptor_names(i) != item.name()) {
      part = Word(item.descriptor_names(i)) + "=";
    }
    absl::StrAppend(&part, KindName(info.kind()));
    if (!info.local_address().empty()) {
      absl::StrAppend(&part, " ", Word(info.local_address()));
    }
    if (!info.peer_address().empty()) {
      absl::StrAppend(&part, " <- ", Word(info.peer_address()));
    }
    parts.push_back(std::move(part));
  }
  return parts.empty() ? std::string(kNothing) : absl::StrJoin(parts, ", ");
}

// The columns before the last one, which needs no width.
using Columns = std::array<std::string, 5>;

Columns InventoryColumns(const v1::InventoryItem& item) {
  Columns columns = {WordOrNothing(item.category()), WordOrNothing(item.name()),
                     absl::StrCat(item.session()),
                     FormatAge(absl::Seconds(item.age_seconds())),
                     absl::StrCat(item.handoffs())};
  // Of anything but sessions, nobody keeps the age.
  if (item.session() == 0) {
    columns[2] = std::string(kNothing);
    if (item.age_seconds() == 0) {
      columns[3] = columns[4] = std::string(kNothing);
    }
  }
  return columns;
}

}  // namespace

std::string FormatStatus(const v1::Status& status) {
  std::string text = absl::StrFormat(
      "pid:          %d\n"
      "label:        %s\n"
      "generation:   %d\n"
      "state:        %s\n"
      "uptime:       %s\n"
      "listeners:    %d\n"
      "descriptors:  %d\n"
      "blobs:        %d\n"
      "sessions:     %d\n"
      "open:         %d descriptors of %d\n",
      status.pid(), WordOrNothing(status.label()), status.generation(),
      OnOneLine(status.state()),
      FormatAge(absl::Seconds(status.uptime_seconds())), status.listeners(),
      status.descriptors(), status.blobs(), status.sessions(),
      status.open_descriptors(), status.descriptor_limit());
  if (status.has_accepting() && !status.accepting()) {
    text += "accepting:    no\n";
  }
  if (status.has_lock()) {
    absl::StrAppend(&text, "locked until: ",
                    FormatNanoseconds(status.lock().expires_at()), ": ",
                    OnOneLine(status.lock().reason()), "\n");
  }
  if (status.has_handoff()) text += FormatProgress(status.handoff());
  text += "last handoff: ";
  if (!status.has_last_handoff()) return text + "none\n";
  const v1::LedgerHandoff& last = status.last_handoff();
  std::vector<std::string> counts;
  for (const Outcome& outcome : Outcomes(last)) {
    if (outcome.count == 0) continue;
    counts.push_back(absl::StrCat(outcome.name, " ", outcome.count));
  }
  absl::StrAppend(
      &text, FormatHandoff(last), "  ",
      counts.empty() ? "nothing moved" : absl::StrJoin(counts, ", "), "\n");
  return text;
}

std::string FormatInventory(const v1::QueryReply& reply) {
  if (reply.items().empty()) return "nothing to hand over\n";
  const Columns headings = {"CATEGORY", "NAME", "SESSION", "AGE", "HANDOFFS"};
  std::array<size_t, headings.size()> widths;
  for (size_t i = 0; i < widths.size(); ++i) widths[i] = headings[i].size();
  // Twice over the items, because a million rows are not worth keeping.
  for (const v1::InventoryItem& item : reply.items()) {
    const Columns row = InventoryColumns(item);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  const auto append = [&](const Columns& row, absl::string_view last) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      text.append(widths[i] - row[i].size() + 2, ' ');
    }
    absl::StrAppend(&text, last, "\n");
  };
  append(headings, "DESCRIPTORS");
  for (const v1::InventoryItem& item : reply.items()) {
    append(InventoryColumns(item), FormatDescriptors(item));
  }
  return text;
}

std::string FormatLedger(const v1::QueryReply& reply) {
  if (reply.handoffs().empty()) return "no handoff yet\n";
  std::string text;
  for (const v1::LedgerHandoff& handoff : reply.handoffs()) {
    absl::StrAppend(&text, "handoff ", FormatHandoff(handoff),
                    FormatEntries(handoff));
  }
  return text;
}

std::string FormatRehearsal(const v1::LedgerHandoff& report) {
  return absl::StrCat("rehearsal ", FormatHandoff(report),
                      FormatEntries(report));
}

absl::StatusOr<std::string> FormatJson(const google::protobuf::Message& reply) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status =
      google::protobuf::util::MessageToJsonString(reply, &text, options);
  if (!status.ok()) return absl::InternalError(status.ToString());
  return text + '\n';
}

}  // namespace handoff
