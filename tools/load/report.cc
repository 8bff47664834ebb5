#include "tools/load/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace handoff::load {
namespace {

// 12345 -> "12,345".
std::string Grouped(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(at, ",");
  }
  return text;
}

absl::Duration LongestGap(const Tally& tally) {
  return std::max(tally.longest_answer_wait, tally.longest_pace_gap);
}

void AppendRow(std::string* text, absl::string_view name,
               absl::string_view value) {
  absl::StrAppendFormat(text, "  %-34s %s\n", name, value);
}

std::string Milliseconds(absl::Duration duration) {
  return absl::StrFormat("%.1f ms", absl::ToDoubleMilliseconds(duration));
}

}  // namespace

bool Report::Passed() const {
  return handoffs.size() >= handoffs_wanted && tally.problems.empty() &&
         tally.requests_failed == 0 && tally.messages_ok > 0 &&
         tally.messages_lost == 0 && tally.messages_doubled == 0 && lost == 0 &&
         kept > 0;
}

std::string FormatTable(const Report& report) {
  std::string text = absl::StrFormat(
      "  %-8s %-20s %10s %10s %12s %13s %10s\n", "handoff", "successor started",
      "from pid", "to pid", "ready after", "mid-message", "blackout");
  for (size_t i = 0; i < report.handoffs.size(); ++i) {
    const HandoffReport& handoff = report.handoffs[i];
    absl::StrAppendFormat(
        &text, "  %-8d %-20s %10d %10d %12s %13s %10s\n", i + 1,
        handoff.by_signal ? "by SIGUSR2" : "separately", handoff.predecessor,
        handoff.successor, Milliseconds(handoff.took),
        absl::StrCat(handoff.cut, "/", handoff.connections),
        absl::StrFormat("%.1f ms", handoff.blackout));
  }
  const Tally& tally = report.tally;
  absl::StrAppend(&text, "\n");
  AppendRow(
      &text, "handoffs committed",
      absl::StrCat(report.handoffs.size(), " of ", report.handoffs_wanted));
  AppendRow(&text, "requests",
            absl::StrCat(Grouped(tally.requests_ok), " ok, ",
                         Grouped(tally.requests_failed), " failed"));
  AppendRow(&text, "messages in rooms",
            absl::StrCat(Grouped(tally.messages_ok), " ok, ",
                         Grouped(tally.messages_lost), " lost, ",
                         Grouped(tally.messages_doubled), " doubled"));
  AppendRow(&text, "connections through every handoff",
            absl::StrCat(Grouped(report.kept), " kept, ", Grouped(report.lost),
                         " lost"));
  AppendRow(&text, "cut in the middle of a message",
            absl::StrCat(Grouped(report.mid_message),
                         " (connections, summed over the handoffs)"));
  AppendRow(&text, "bytes checked", Grouped(tally.bytes_checked));
  AppendRow(&text, "blackout, by the library's count",
            absl::StrFormat("p50 %.2f ms, p99 %.2f ms, max %.2f ms",
                            report.blackout_p50, report.blackout_p99,
                            report.blackout_max));
  AppendRow(
      &text, "longest wait, as clients saw it",
      absl::StrCat(Milliseconds(tally.longest_answer_wait), " for an answer, ",
                   Milliseconds(tally.longest_pace_gap), " within a stream"));
  AppendRow(&text, "time",
            absl::StrFormat("%.1f s", absl::ToDoubleSeconds(report.took)));
  if (!tally.problems.empty()) absl::StrAppend(&text, "\nwhat went wrong:\n");
  for (const Tally::Problem& problem : tally.problems) {
    absl::StrAppend(&text, "  ", problem.text);
    if (problem.times > 1) {
      absl::StrAppend(&text, ", ", Grouped(problem.times), " times");
    }
    absl::StrAppend(&text, "\n");
  }
  if (tally.further_problems > 0) {
    absl::StrAppend(&text, "  and ", Grouped(tally.further_problems),
                    " more\n");
  }
  return text;
}

std::string FormatJson(const Report& report) {
  return absl::StrFormat(
      "{\"handoffs\": %d, \"requests_ok\": %d, \"requests_failed\": %d, "
      "\"messages_ok\": %d, \"messages_lost\": %d, "
      "\"messages_doubled\": %d, \"connections_kept\": %d, "
      "\"connections_lost\": %d, "
      "\"mid_message\": %d, \"bytes_checked\": %d, \"blackout_ms\": "
      "{\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}, \"longest_gap_ms\": "
      "%.1f}",
      report.handoffs.size(), report.tally.requests_ok,
      report.tally.requests_failed, report.tally.messages_ok,
      report.tally.messages_lost, report.tally.messages_doubled, report.kept,
      report.lost, report.mid_message, report.tally.bytes_checked,
      report.blackout_p50, report.blackout_p99, report.blackout_max,
      absl::ToDoubleMilliseconds(LongestGap(report.tally)));
}

}  // namespace handoff::load
