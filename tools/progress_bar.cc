#include "tools/progress_bar.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "handoff/plain_text.h"

namespace handoff {
namespace {

using admin::v1::HandoffProgress;

// To the beginning of the line, and all of it away (ECMA-48, EL).
constexpr absl::string_view kAgain = "\r\x1b[K";
constexpr size_t kLongestBar = 30;
// A bar that is shorter says nothing.
constexpr size_t kShortestBar = 5;

std::string Phase(const HandoffProgress& progress) {
  return absl::StrCat(progress.rehearsal() ? "rehearsal: " : "",
                      WordOrNothing(progress.phase()));
}

std::string Count(const HandoffProgress& progress) {
  return absl::StrCat(progress.sessions_sent(), " of ",
                      progress.sessions_total(), " sessions");
}

std::string Bar(const HandoffProgress& progress, size_t size) {
  const uint64_t total = progress.sessions_total();
  const double part = total == 0
                          ? 1
                          : static_cast<double>(progress.sessions_sent()) /
                                static_cast<double>(total);
  const auto full =
      static_cast<size_t>(std::min(1.0, part) * static_cast<double>(size));
  return absl::StrCat("[", std::string(full, '#'),
                      std::string(size - full, '-'), "] ");
}

}  // namespace

std::string ProgressBar::Line(absl::Time now) const {
  const std::string before = absl::StrFormat("%-9s ", Phase(shown_));
  const std::string behind = absl::StrFormat(
      "%s %.1f s", Count(shown_), absl::ToDoubleSeconds(now - phase_began_));
  // A terminal may go to the next line as soon as its last column is full.
  const size_t room = width_ - 1;
  const size_t taken = before.size() + behind.size() + 3;
  const size_t bar = taken < room ? std::min(room - taken, kLongestBar) : 0;
  return absl::StrCat(before, bar < kShortestBar ? "" : Bar(shown_, bar),
                      behind)
      .substr(0, room);
}

std::string ProgressBar::Show(const HandoffProgress& progress, size_t width,
                              absl::Time now) {
  std::string text;
  const bool new_phase = !any_ || progress.phase() != shown_.phase() ||
                         progress.handoff_id() != shown_.handoff_id();
  if (new_phase) {
    text = End(now);
    phase_began_ = now;
  }
  any_ = true;
  shown_ = progress;
  width_ = width;
  if (width == 0) {
    if (new_phase) {
      absl::StrAppend(&text, Phase(progress), ", ", Count(progress), "\n");
    }
    return text;
  }
  open_ = true;
  return absl::StrCat(text, kAgain, Line(now));
}

std::string ProgressBar::End(absl::Time now) {
  if (!open_) return "";
  open_ = false;
  return absl::StrCat(kAgain, Line(now), "\n");
}

}  // namespace handoff
