#include "handoff/integrations/admin/lists.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "handoff/integrations/admin/admin_messages.h"
#include "handoff/integrations/admin/problem.h"

namespace handoff {
namespace {

using admin::v1::GetLedgerResponse;
using admin::v1::ListDescriptorsResponse;
using admin::v1::ListSessionsRequest;
using admin::v1::ListSessionsResponse;

constexpr absl::Duration kStatePatience = absl::Seconds(5);
// Of one reading of states, which are in memory at the same time. With those
// that are shown, a page that was not full yet stays below 4 MiB.
constexpr size_t kSizesAtOnce = 64;
constexpr size_t kStatesAtOnce = 2;
// Of one request.
constexpr int kMostInFilter = 10'000;

absl::Status Wrong(absl::string_view what, absl::string_view remedy) {
  return Problem(absl::StatusCode::kInvalidArgument, "ARGUMENT", what, remedy);
}

absl::StatusOr<uint32_t> PageSize(uint32_t asked) {
  if (asked == 0) return kDefaultPage;
  if (asked <= kMostInPage) return asked;
  return Wrong(absl::StrCat("a page_size of ", asked),
               absl::StrCat("ask for at most ", kMostInPage));
}

absl::Status CheckWords(
    absl::string_view field,
    const google::protobuf::RepeatedPtrField<std::string>& words,
    const std::vector<std::string>& known) {
  for (const std::string& word : words) {
    if (std::find(known.begin(), known.end(), word) == known.end()) {
      return Wrong(absl::StrCat("unknown in ", field),
                   absl::StrCat("use one of: ", absl::StrJoin(known, ", ")));
    }
  }
  return absl::OkStatus();
}

bool AsksFor(const google::protobuf::RepeatedPtrField<std::string>& words,
             absl::string_view word) {
  return words.empty() ||
         std::find(words.begin(), words.end(), word) != words.end();
}

struct Descriptors {
  std::vector<v1::InventoryItem> items;
  size_t next = 0;
};

struct Sessions {
  Control& control;
  ListSessionsRequest request;
  absl::Time deadline;
  uint32_t page;
  std::vector<v1::InventoryItem> items;
  size_t next = 0;
};

bool Matches(const v1::InventoryItem& item, const ListSessionsRequest& request,
             const absl::flat_hash_set<uint64_t>& ids) {
  if (item.category() != "session") return false;
  if (!AsksFor(request.types(), item.name())) return false;
  if (!ids.empty() && !ids.contains(item.session())) return false;
  if (request.kept_only() && item.keep_reason().empty()) return false;
  if (request.has_older_than() &&
      absl::Seconds(item.age_seconds()) <= FromProto(request.older_than())) {
    return false;
  }
  if (request.peer_prefix().empty()) return true;
  return std::any_of(item.descriptors().begin(), item.descriptors().end(),
                     [&](const v1::DescriptorInfo& info) {
                       return absl::StartsWith(info.peer_address(),
                                               request.peer_prefix());
                     });
}

void SetState(const Control::SessionState& state, bool show,
              admin::v1::Session& session) {
  if (!state.status.ok()) {
    session.set_state_problem(std::string(state.status.message()));
    return;
  }
  const size_t size = state.snapshot.state.ByteSizeLong();
  session.set_state_bytes(size);
  if (!show) return;
  if (size > kMaxShownState) {
    session.set_state_problem(
        absl::StrCat("larger than what is shown, ", kMaxShownState, " bytes"));
    return;
  }
  *session.mutable_state() = state.snapshot.state;
}

// Of `first` and those after it in the page.
absl::Status AddStates(Sessions& sessions, int first,
                       ListSessionsResponse& page) {
  std::vector<uint64_t> ids;
  for (int i = first; i < page.sessions_size(); ++i) {
    ids.push_back(page.sessions(i).id());
  }
  auto states = sessions.control.ReadState(
      ids, std::min(sessions.deadline, absl::Now() + kStatePatience));
  if (!states.ok()) return WithRemedy(states.status(), "reading state");
  // Both in the order of ids, but for those that have ended.
  auto state = states->begin();
  for (int i = first; i < page.sessions_size(); ++i) {
    admin::v1::Session& session = *page.mutable_sessions(i);
    state = std::find_if(states->begin(), states->end(),
                         [&session](const Control::SessionState& one) {
                           return one.session == session.id();
                         });
    if (state == states->end()) {
      session.set_state_problem("the session has ended");
    } else {
      SetState(*state, sessions.request.state(), session);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> NextSessions(Sessions& sessions,
                                  ListSessionsResponse* page) {
  page->Clear();
  const bool states = sessions.request.state() || sessions.request.state_size();
  size_t bytes = 0;
  while (sessions.next < sessions.items.size() && bytes < kMaxPageBytes &&
         static_cast<uint32_t>(page->sessions_size()) < sessions.page) {
    const int first = page->sessions_size();
    const size_t at_once = sessions.request.state() ? kStatesAtOnce
                           : states                 ? kSizesAtOnce
                                                    : 1;
    const size_t most =
        std::min<size_t>(at_once, sessions.page - static_cast<uint32_t>(first));
    for (size_t i = 0; i < most && sessions.next < sessions.items.size(); ++i) {
      *page->add_sessions() =
          SessionOf(sessions.items[sessions.next], sessions.request.details());
      sessions.items[sessions.next++].Clear();
    }
    if (states) {
      const absl::Status read = AddStates(sessions, first, *page);
      if (!read.ok()) return read;
    }
    for (int i = first; i < page->sessions_size(); ++i) {
      bytes += page->sessions(i).ByteSizeLong();
    }
  }
  return page->sessions_size() > 0;
}

struct LedgerPart {
  v1::Ledger ledger;
  std::vector<std::string> outcomes;
  int handoff = 0;
  int entry = 0;
  bool head_sent = false;
};

bool NextOfLedger(LedgerPart& part, GetLedgerResponse* page) {
  page->Clear();
  if (part.handoff == part.ledger.handoffs_size()) return false;
  const v1::LedgerHandoff& handoff = part.ledger.handoffs(part.handoff);
  page->set_handoff_id(handoff.handoff_id());
  if (!part.head_sent) *page->mutable_handoff() = ToAdmin(handoff);
  part.head_sent = true;
  size_t bytes = 0;
  while (part.entry < handoff.entries_size() && bytes < kMaxPageBytes &&
         page->entries_size() < static_cast<int>(kMostInPage)) {
    admin::v1::LedgerEntry entry = ToAdmin(handoff.entries(part.entry++));
    if (!part.outcomes.empty() &&
        std::find(part.outcomes.begin(), part.outcomes.end(),
                  entry.outcome()) == part.outcomes.end()) {
      continue;
    }
    bytes += entry.ByteSizeLong();
    *page->add_entries() = std::move(entry);
  }
  if (part.entry == handoff.entries_size()) {
    ++part.handoff;
    part.entry = 0;
    part.head_sent = false;
  }
  return true;
}

}  // namespace

absl::StatusOr<NextMessage<ListDescriptorsResponse>> ListDescriptors(
    const Control& control, const admin::v1::ListDescriptorsRequest& request) {
  const absl::StatusOr<uint32_t> page = PageSize(request.page_size());
  if (!page.ok()) return page.status();
  const std::vector<std::string> known = {"handoff-listener", "listener",
                                          "descriptor"};
  absl::Status words = CheckWords("categories", request.categories(), known);
  if (!words.ok()) return words;
  auto found = std::make_shared<Descriptors>();
  for (v1::InventoryItem& item : control.GetInventory()) {
    if (std::find(known.begin(), known.end(), item.category()) != known.end() &&
        AsksFor(request.categories(), item.category()) &&
        absl::StartsWith(item.name(), request.name_prefix())) {
      found->items.push_back(std::move(item));
    }
  }
  return [found, page = *page](ListDescriptorsResponse* response) {
    response->Clear();
    for (uint32_t i = 0; i < page && found->next < found->items.size(); ++i) {
      const v1::InventoryItem& item = found->items[found->next++];
      for (int j = 0; j < item.descriptors_size(); ++j) {
        *response->add_descriptors() = DescriptorOf(item, j, true);
      }
    }
    return absl::StatusOr<bool>(response->descriptors_size() > 0);
  };
}

absl::StatusOr<NextMessage<ListSessionsResponse>> ListSessions(
    Control& control, const ListSessionsRequest& request, absl::Time deadline) {
  const absl::StatusOr<uint32_t> page = PageSize(request.page_size());
  if (!page.ok()) return page.status();
  if (request.types_size() > kMostInFilter ||
      request.ids_size() > kMostInFilter) {
    return Wrong("too many types or ids",
                 absl::StrCat("ask for at most ", kMostInFilter));
  }
  auto found = std::make_shared<Sessions>(
      Sessions{control, request, deadline, *page, {}});
  const absl::flat_hash_set<uint64_t> ids(request.ids().begin(),
                                          request.ids().end());
  for (v1::InventoryItem& item : control.GetInventory()) {
    if (Matches(item, request, ids)) found->items.push_back(std::move(item));
  }
  return [found](ListSessionsResponse* response) {
    return NextSessions(*found, response);
  };
}

absl::StatusOr<NextMessage<GetLedgerResponse>> ListLedger(
    const Control& control, const admin::v1::GetLedgerRequest& request) {
  absl::Status words =
      CheckWords("outcomes", request.outcomes(),
                 {"moved", "kept", "drained", "refused", "closed", "lost"});
  if (!words.ok()) return words;
  auto part = std::make_shared<LedgerPart>();
  part->outcomes.assign(request.outcomes().begin(), request.outcomes().end());
  v1::Ledger ledger = control.GetLedger();
  for (v1::LedgerHandoff& handoff : *ledger.mutable_handoffs()) {
    if (request.handoff_id() == 0 ||
        request.handoff_id() == handoff.handoff_id()) {
      *part->ledger.add_handoffs() = std::move(handoff);
    }
  }
  if (request.handoff_id() != 0 && part->ledger.handoffs().empty()) {
    return Problem(absl::StatusCode::kNotFound, "NO_SUCH_HANDOFF",
                   absl::StrCat("the ledger has no handoff ",
                                absl::Hex(request.handoff_id())),
                   "ListHandoffs has those that there are");
  }
  return [part](GetLedgerResponse* response) {
    return absl::StatusOr<bool>(NextOfLedger(*part, response));
  };
}

admin::v1::ListHandoffsResponse ListHandoffs(
    const Control& control, const admin::v1::ListHandoffsRequest& request) {
  const v1::Ledger ledger = control.GetLedger();
  admin::v1::ListHandoffsResponse response;
  const int all = ledger.handoffs_size();
  const int first =
      request.last() == 0 || request.last() >= static_cast<uint32_t>(all)
          ? 0
          : all - static_cast<int>(request.last());
  for (int i = first; i < all; ++i) {
    *response.add_handoffs() = ToAdmin(ledger.handoffs(i));
  }
  return response;
}

}  // namespace handoff
