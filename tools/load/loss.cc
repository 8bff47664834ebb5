#include "tools/load/loss.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "tools/load/event_loop.h"

namespace handoff::load {
namespace {

// A session's number has the generation of the process that accepted it above
// these bits.
constexpr int kGenerationShift = 40;

absl::StatusOr<v1::QueryReply> ParseReply(absl::string_view json) {
  v1::QueryReply reply;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      absl::StrCat(json), &reply, options);
  if (parsed.ok()) return reply;
  return absl::InvalidArgumentError(
      absl::StrCat("not the handoff command's JSON: ", parsed.ToString()));
}

}  // namespace

absl::StatusOr<ServingStatus> ParseStatus(absl::string_view json) {
  const absl::StatusOr<v1::QueryReply> reply = ParseReply(json);
  if (!reply.ok()) return reply.status();
  return ServingStatus{static_cast<pid_t>(reply->status().pid()),
                       reply->status().state()};
}

absl::Status Accounts::Add(absl::string_view json, const Killing& killing) {
  const absl::StatusOr<v1::QueryReply> reply = ParseReply(json);
  if (!reply.ok()) return reply.status();
  for (const v1::LedgerHandoff& handoff : reply->handoffs()) {
    if (handoff.predecessor_pid() == killing.predecessor &&
        handoff.successor_pid() == killing.successor) {
      AddHandoff(handoff, killing);
      return absl::OkStatus();
    }
  }
  for (const v1::LedgerHandoff& handoff : reply->handoffs()) {
    // The predecessor was watched itself: who served before it has rolled back.
    if (!killing.of_successor &&
        handoff.successor_pid() == killing.predecessor) {
      Killing earlier = killing;
      earlier.of_successor = true;
      AddHandoff(handoff, earlier);
      return absl::OkStatus();
    }
  }
  // Nothing had travelled: a successor had nothing to lose, and with the
  // predecessor everything went, the listener included. Generations count anew.
  if (!killing.of_successor) {
    *this = Accounts();
    nothing_before_ = MonotonicNow();
  }
  return absl::OkStatus();
}

void Accounts::AddHandoff(const v1::LedgerHandoff& handoff,
                          const Killing& killing) {
  const bool committed = handoff.result() == "committed";
  if (killing.of_successor && !committed) return;
  unknown_until_ = killing.at;
  if (killing.of_successor) {
    killed_.insert(handoff.generation());
  } else {
    unsent_until_ = killing.at;
    sent_.clear();
  }
  for (const v1::LedgerEntry& entry : handoff.entries()) {
    if (!killing.of_successor) sent_.insert(entry.session());
    if (entry.outcome() == v1::LedgerEntry::LOST && entry.session() != 0) {
      lost_.insert(entry.session());
    }
  }
}

bool Accounts::Excuse(const SoakClients::Loss& loss) const {
  if (loss.opened < nothing_before_) return true;
  if (loss.refused) return false;
  if (loss.session == 0) return loss.opened < unknown_until_;
  if (loss.opened < unsent_until_ && sent_.count(loss.session) == 0)
    return true;
  return lost_.count(loss.session) != 0 ||
         killed_.count(loss.session >> kGenerationShift) != 0;
}

}  // namespace handoff::load
