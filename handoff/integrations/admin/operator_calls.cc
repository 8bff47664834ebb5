#include "handoff/integrations/admin/operator_calls.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "handoff/integrations/admin/admin_messages.h"
#include "handoff/integrations/admin/problem.h"

namespace handoff {
namespace {

constexpr absl::Duration kAbortPatience = absl::Seconds(10);
constexpr absl::Duration kDrainDefault = absl::Seconds(30);
constexpr absl::Duration kLongestDrain = absl::Hours(1);
constexpr absl::Duration kLockDefault = absl::Hours(1);
constexpr absl::Duration kLongestLock = absl::Hours(24 * 7);
constexpr size_t kMostQuoted = 200;
constexpr int kMostSessions = 10'000;
constexpr int kNamedInAudit = 8;

absl::Status Wrong(absl::string_view what, absl::string_view remedy) {
  return Problem(absl::StatusCode::kInvalidArgument, "ARGUMENT", what, remedy);
}

// `given`, or the default where there is none.
template <typename Request>
absl::StatusOr<absl::Duration> Within(bool given, const Request& duration,
                                      absl::Duration otherwise,
                                      absl::Duration most,
                                      absl::string_view field) {
  if (!given) return otherwise;
  const absl::Duration asked = FromProto(duration);
  if (asked > absl::ZeroDuration() && asked <= most) return asked;
  return Wrong(absl::StrCat(field, " of ", absl::FormatDuration(asked)),
               absl::StrCat("give more than 0 and at most ",
                            absl::FormatDuration(most)));
}

std::string Sessions(const admin::v1::DrainRequest& request) {
  if (request.all()) return "all";
  std::vector<std::string> named;
  for (const uint64_t id : request.sessions()) {
    if (named.size() == kNamedInAudit) break;
    named.push_back(absl::StrFormat("%016x", id));
  }
  return absl::StrCat(request.sessions_size(),
                      " sessions: ", absl::StrJoin(named, " "),
                      request.sessions_size() > kNamedInAudit ? " ..." : "");
}

// Whom to drain: our own connections are none of those.
absl::StatusOr<std::vector<uint64_t>> ToDrain(
    const Control& control, absl::string_view own_type,
    const admin::v1::DrainRequest& request) {
  const absl::flat_hash_set<uint64_t> asked(request.sessions().begin(),
                                            request.sessions().end());
  std::vector<uint64_t> ids;
  for (const v1::InventoryItem& item : control.GetInventory()) {
    if (item.category() != "session") continue;
    const bool wanted = request.all() || asked.contains(item.session());
    if (!wanted) continue;
    if (item.name() != own_type) {
      ids.push_back(item.session());
    } else if (!request.all()) {
      return Wrong(absl::StrFormat("session %016x is a connection to the admin "
                                   "endpoint",
                                   item.session()),
                   "name other sessions; it ends when its client leaves");
    }
  }
  return ids;
}

}  // namespace

std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kMostQuoted;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMostQuoted)),
                      cut ? "...\"" : "\"");
}

absl::Status CheckOperator(const Caller& caller, absl::string_view call) {
  if (caller.role == AdminRole::kOperator) return absl::OkStatus();
  return Problem(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
                 absl::StrCat(call, " is for operators, and ", caller.name,
                              " may only read"),
                 "call as an operator, or have this one made an operator");
}

absl::Status Audited(Control& control, const Caller& caller,
                     absl::string_view call, absl::string_view arguments,
                     const std::function<absl::Status()>& run) {
  const absl::Status status = WithRemedy(run(), call);
  control.Audit(absl::StrCat(
      caller.name, ": ", call, arguments.empty() ? "" : " ", arguments, ": ",
      status.ok() ? "OK" : absl::StatusCodeToString(status.code())));
  return status;
}

absl::Status AbortHandoff(Control& control, const Caller& caller,
                          const admin::v1::AbortHandoffRequest& request,
                          absl::Time deadline) {
  return Audited(
      control, caller, "AbortHandoff", Quoted(request.reason()), [&] {
        const std::string reason = absl::StrCat(
            caller.name, request.reason().empty() ? "" : ": ",
            request.reason().empty() ? "" : Quoted(request.reason()));
        return control.Abort(reason,
                             std::min(deadline, absl::Now() + kAbortPatience));
      });
}

absl::Status Drain(Control& control, const Caller& caller,
                   absl::string_view own_type,
                   const admin::v1::DrainRequest& request,
                   admin::v1::DrainResponse& response) {
  return Audited(control, caller, "Drain", Sessions(request),
                 [&]() -> absl::Status {
                   if (request.all() == !request.sessions().empty()) {
                     return Wrong("neither sessions nor all of them, or both",
                                  "name sessions, or set all");
                   }
                   if (request.sessions_size() > kMostSessions) {
                     return Wrong("too many sessions",
                                  absl::StrCat("name at most ", kMostSessions));
                   }
                   const absl::StatusOr<absl::Duration> patience =
                       Within(request.has_deadline(), request.deadline(),
                              kDrainDefault, kLongestDrain, "a deadline");
                   if (!patience.ok()) return patience.status();
                   const auto ids = ToDrain(control, own_type, request);
                   if (!ids.ok()) return ids.status();
                   if (ids->empty() && request.all()) return absl::OkStatus();
                   const auto drained =
                       control.Drain(*ids, false, absl::Now() + *patience);
                   if (!drained.ok()) return drained.status();
                   response.set_asked(drained->asked);
                   response.set_ended(drained->ended);
                   response.set_cut_off(drained->cut_off);
                   return absl::OkStatus();
                 });
}

absl::Status SetAccepting(Control& control, const Caller& caller,
                          const admin::v1::SetAcceptingRequest& request) {
  return Audited(control, caller, "SetAccepting",
                 request.accepting() ? "on" : "off",
                 [&] { return control.SetAccepting(request.accepting()); });
}

absl::Status Lock(Control& control, const Caller& caller,
                  const admin::v1::LockRequest& request,
                  admin::v1::LockResponse& response) {
  return Audited(
      control, caller, "Lock", Quoted(request.reason()), [&]() -> absl::Status {
        if (request.reason().empty() || request.reason().size() > kMostQuoted) {
          return Wrong(
              "a lock without a reason, or with a long one",
              absl::StrCat("say why, in at most ", kMostQuoted, " bytes"));
        }
        const absl::StatusOr<absl::Duration> expiry =
            Within(request.has_expiry(), request.expiry(), kLockDefault,
                   kLongestLock, "an expiry");
        if (!expiry.ok()) return expiry.status();
        const absl::Status locked =
            control.Lock(request.reason(), absl::Now() + *expiry);
        if (!locked.ok()) return locked;
        const admin::v1::GetStatusResponse status =
            ToAdmin(control.GetStatus(), {}, absl::Now());
        *response.mutable_lock() = status.lock();
        return absl::OkStatus();
      });
}

absl::Status Unlock(Control& control, const Caller& caller) {
  return Audited(control, caller, "Unlock", "",
                 [&] { return control.Unlock(); });
}

}  // namespace handoff
