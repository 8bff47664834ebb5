#ifndef HANDOFF_QUERY_FORMAT_H_
#define HANDOFF_QUERY_FORMAT_H_

#include <string>

#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "proto/handoff.pb.h"

// Replies as text; for people, by the rules of plain_text.h. All functions are
// thread-safe.

namespace handoff {

// For people; ends with a newline.
std::string FormatStatus(const v1::Status& status);
// A line for each item, below a line of headings.
std::string FormatInventory(const v1::QueryReply& reply);
// The handoffs in their order, the entries of each by outcome.
std::string FormatLedger(const v1::QueryReply& reply);

// What `handoff rehearse` has found: one handoff, which did not take place.
std::string FormatRehearsal(const v1::LedgerHandoff& report);

// For programs: one line, a newline included, with every field by its JSON name
// (https://protobuf.dev/programming-guides/json/; 64-bit numbers are strings).
// INVALID_ARGUMENT where a string of the reply is not UTF-8, which no reply
// that was received can have.
absl::StatusOr<std::string> FormatJson(const google::protobuf::Message& reply);

}  // namespace handoff

#endif  // HANDOFF_QUERY_FORMAT_H_
