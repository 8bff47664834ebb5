#include "tools/progress_bar.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
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

// In their order.
constexpr absl::string_view kPhases[] = {"pre-copy", "staging", "changes",
                                         "frozen"};
// Comes behind them, once the handoff is done.
constexpr absl::string_view kWatch = "watch";
constexpr absl::string_view kRehearsal = "rehearsal: ";

std::string PhaseName(bool rehearsal, absl::string_view phase) {
  return absl::StrCat(rehearsal ? kRehearsal : "", WordOrNothing(phase));
}

std::string Count(const HandoffProgress& progress) {
  return absl::StrCat(progress.sessions_sent(), " of ",
                      progress.sessions_total(), " sessions");
}

double Part(const HandoffProgress& progress) {
  if (progress.sessions_total() == 0) return 1;
  return std::min(1.0, static_cast<double>(progress.sessions_sent()) /
                           static_cast<double>(progress.sessions_total()));
}

// As much of it as the terminal has room for.
std::string BarLine(const std::string& phase, double part,
                    absl::string_view behind, size_t width) {
  // All of a handoff begin in one column, and all of a rehearsal.
  const int column = absl::StartsWith(phase, kRehearsal) ? 20 : 9;
  const std::string before = absl::StrFormat("%-*s ", column, phase);
  // A terminal may go to the next line as soon as its last column is full.
  const size_t room = width - 1;
  const size_t taken = before.size() + behind.size() + 3;
  const size_t size = taken < room ? std::min(room - taken, kLongestBar) : 0;
  const auto full = static_cast<size_t>(part * static_cast<double>(size));
  const std::string bar =
      absl::StrCat("[", std::string(full, '#'), std::string(size - full, '-'),
                   behind.empty() ? "]" : "] ");
  return absl::StrCat(before, size < kShortestBar ? "" : bar, behind)
      .substr(0, room);
}

}  // namespace

std::string ProgressBar::Line(absl::Time now) const {
  const std::string behind = absl::StrFormat(
      "%s %.1f s", Count(shown_), absl::ToDoubleSeconds(now - phase_began_));
  return BarLine(PhaseName(shown_.rehearsal(), shown_.phase()), Part(shown_),
                 behind, width_);
}

std::string ProgressBar::PassedLine(absl::string_view phase,
                                    absl::string_view time) {
  if (!seen_.emplace(phase).second) return "";
  const std::string name = PhaseName(shown_.rehearsal(), phase);
  if (width_ > 0) return absl::StrCat(BarLine(name, 1, time, width_), "\n");
  return absl::StrCat(name, ", done", time.empty() ? "" : " in ", time, "\n");
}

std::string ProgressBar::Show(const HandoffProgress& progress, size_t width,
                              absl::Time now) {
  if (progress.phase() == kWatch) return "";
  const bool another = progress.handoff_id() != shown_.handoff_id();
  const bool new_phase =
      seen_.empty() || another || progress.phase() != shown_.phase();
  std::string text;
  if (new_phase) {
    // It went on to its end, whatever was the last that was said of it.
    if (!another) shown_.set_sessions_sent(shown_.sessions_total());
    text = End(now);
    phase_began_ = now;
  }
  if (another) seen_.clear();
  shown_ = progress;
  width_ = width;
  const auto* const phase =
      std::find(std::begin(kPhases), std::end(kPhases), progress.phase());
  if (new_phase && phase != std::end(kPhases)) {
    for (const auto* before = kPhases; before != phase; ++before) {
      text += PassedLine(*before, "");
    }
  }
  seen_.insert(progress.phase());
  if (width == 0) {
    if (new_phase) {
      absl::StrAppend(&text, PhaseName(progress.rehearsal(), progress.phase()),
                      ", ", Count(progress), "\n");
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

std::string ProgressBar::End(const admin::v1::Handoff& result, size_t width,
                             absl::Time now) {
  const bool whole =
      result.result() == "committed" || result.result() == "passed";
  std::string rest;
  width_ = width;
  shown_.set_rehearsal(result.result() == "passed" ||
                       result.result() == "failed");
  // The phase that it was aborted in, the last one, is none that was done.
  const int done = whole ? result.phases_size() : result.phases_size() - 1;
  for (int i = 0; i < done; ++i) {
    const admin::v1::Phase& phase = result.phases(i);
    const absl::Duration took = absl::Seconds(phase.took().seconds()) +
                                absl::Nanoseconds(phase.took().nanos());
    if (open_ && phase.name() == shown_.phase()) {
      shown_.set_sessions_sent(shown_.sessions_total());
      phase_began_ = now - took;
    }
    rest += PassedLine(phase.name(),
                       absl::StrFormat("%.3f s", absl::ToDoubleSeconds(took)));
  }
  return End(now) + rest;
}

}  // namespace handoff
