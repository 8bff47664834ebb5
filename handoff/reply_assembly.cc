#include "handoff/reply_assembly.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff {
namespace {

absl::Status RefusalStatus(const v1::Refuse& refuse) {
  const std::string text = absl::StrCat(
      "the process refused: ", refuse.detail().empty()
                                   ? v1::Refuse::Reason_Name(refuse.reason())
                                   : refuse.detail());
  switch (refuse.reason()) {
    case v1::Refuse::BUSY:
      return absl::UnavailableError(text);
    case v1::Refuse::CREDENTIALS:
      return absl::PermissionDeniedError(text);
    case v1::Refuse::VERSION:
    case v1::Refuse::SCHEMA:
      return absl::FailedPreconditionError(text);
    case v1::Refuse::LIMITS:
      return absl::ResourceExhaustedError(text);
    case v1::Refuse::MALFORMED:
      return absl::InvalidArgumentError(text);
    default:
      return absl::UnknownError(text);
  }
}

}  // namespace

absl::Status ReplyAssembly::Add(v1::Frame frame) {
  bytes_ += frame.ByteSizeLong();
  if (bytes_ > limits_.bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the reply is larger than ", limits_.bytes, " bytes"));
  }
  if (frame.has_refuse()) return RefusalStatus(frame.refuse());
  if (frame.has_query_reply()) {
    return AddPart(std::move(*frame.mutable_query_reply()));
  }
  if (frame.must_understand() || frame.body_case() != v1::Frame::BODY_NOT_SET) {
    return absl::InvalidArgumentError(
        "the reply is malformed: a frame that answers no question");
  }
  return absl::OkStatus();
}

absl::Status ReplyAssembly::Count(int more) {
  items_ += static_cast<size_t>(more);
  if (items_ <= limits_.items) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the reply has more than ", limits_.items, " items"));
}

absl::Status ReplyAssembly::AddHandoff(v1::LedgerHandoff& part) {
  auto& handoffs = *whole_.mutable_handoffs();
  if (!handoffs.empty() &&
      handoffs[handoffs.size() - 1].handoff_id() == part.handoff_id()) {
    v1::LedgerHandoff& begun = handoffs[handoffs.size() - 1];
    for (v1::LedgerEntry& entry : *part.mutable_entries()) {
      begun.mutable_entries()->Add(std::move(entry));
    }
    return Count(part.entries_size());
  }
  const int more = 1 + part.entries_size();
  handoffs.Add(std::move(part));
  return Count(more);
}

absl::Status ReplyAssembly::AddPart(v1::QueryReply part) {
  if (part.has_status() && !whole_.has_status()) {
    *whole_.mutable_status() = std::move(*part.mutable_status());
  }
  if (auto status = Count(part.items_size()); !status.ok()) return status;
  for (v1::InventoryItem& item : *part.mutable_items()) {
    whole_.mutable_items()->Add(std::move(item));
  }
  for (v1::LedgerHandoff& handoff : *part.mutable_handoffs()) {
    if (auto status = AddHandoff(handoff); !status.ok()) return status;
  }
  if (part.has_progress()) {
    *whole_.mutable_progress() = std::move(*part.mutable_progress());
  }
  if (part.has_failure()) {
    *whole_.mutable_failure() = std::move(*part.mutable_failure());
  }
  whole_.set_last(part.last());
  return absl::OkStatus();
}

}  // namespace handoff
