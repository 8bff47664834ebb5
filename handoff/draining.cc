#include "handoff/draining.h"

#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "handoff/query.h"

namespace handoff {
namespace {

// How long telling it may take: the process has nothing else left to do.
constexpr absl::Duration kTellTime = absl::Seconds(2);
// Whoever serves may be about to hand over, or have many questions to answer.
constexpr absl::Duration kTellAgain = absl::Milliseconds(20);

absl::Status TellAll(const std::string& path, const TrustPolicy& trust,
                     const std::vector<v1::DrainedSessions>& reports) {
  const absl::Time deadline = absl::Now() + kTellTime;
  for (const v1::DrainedSessions& report : reports) {
    absl::Status told;
    do {
      if (absl::IsUnavailable(told)) absl::SleepFor(kTellAgain);
      told = TellDrained(path, report, deadline - absl::Now(), trust);
    } while (absl::IsUnavailable(told) && absl::Now() < deadline);
    if (!told.ok()) return told;
  }
  return absl::OkStatus();
}

}  // namespace

Draining::Draining(Process process, uint64_t handoff_id, bool ask_groups,
                   absl::Time now)
    : process_(std::move(process)),
      handoff_id_(handoff_id),
      deadline_(now + process_.options->deadlines.drain) {
  if (ask_groups) process_.groups->Drain();
}

Draining::~Draining() {
  if (teller_.joinable()) teller_.join();
}

bool Draining::Step(absl::Time now) {
  if (!settled_) {
    if (process_.roster->size() > 0 && now < deadline_) return false;
    Settle();
  }
  if (!done_.load()) return false;
  if (teller_.joinable()) {
    teller_.join();
    if (!told_.ok()) {
      (*process_.report)(
          Event::Kind::kNote, handoff_id_,
          absl::StrCat("nobody was told what became of kept sessions: ",
                       told_.ToString()));
    }
  }
  return true;
}

void Draining::End() {
  if (!settled_) Settle();
  if (teller_.joinable()) teller_.join();
  Step(absl::InfinitePast());
}

void Draining::Settle() {
  settled_ = true;
  deadline_ = absl::InfiniteFuture();
  std::vector<v1::DrainedSessions> reports = process_.ledger->TakeAmendments();
  v1::DrainedSessions kept = process_.roster->Kept();
  kept.set_handoff_id(handoff_id_);
  if (kept.ended_size() + kept.cut_off_size() > 0) {
    process_.ledger->Amend(kept);
    (*process_.report)(
        Event::Kind::kDrained, handoff_id_,
        absl::StrCat("of the sessions that were kept ", kept.ended_size(),
                     " have ended, ", kept.cut_off_size(),
                     " are cut off"));
    SplitDrained(kept, reports);
  }
  Tell(std::move(reports));
}

void Draining::Tell(std::vector<v1::DrainedSessions> reports) {
  if (reports.empty()) {
    done_.store(true);
    return;
  }
  try {
    teller_ = std::thread([this, reports = std::move(reports)] {
      told_ = TellAll(process_.options->path, process_.options->trust, reports);
      done_.store(true);
      process_.wake();
    });
  } catch (const std::system_error& error) {
    done_.store(true);
    (*process_.report)(Event::Kind::kNote, handoff_id_,
                       absl::StrCat("nobody was told what became of kept "
                                    "sessions: no thread: ",
                                    error.what()));
  }
}

}  // namespace handoff
