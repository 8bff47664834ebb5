#ifndef HANDOFF_TOOLS_ADMIN_FORMAT_H_
#define HANDOFF_TOOLS_ADMIN_FORMAT_H_

#include <array>
#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "proto/admin.pb.h"

// Answers of the admin endpoint as text for people, by the rules of
// handoff/plain_text.h, and looking as those of the handoff socket do
// (handoff/query_format.h). All that is said ends with a newline.

namespace handoff {

std::string FormatStatus(const admin::v1::GetStatusResponse& status);

// What became of a handoff, or of a rehearsal: with what would not have moved.
std::string FormatResult(const admin::v1::StartHandoffResponse& response);

std::string FormatDrained(const admin::v1::DrainResponse& response);
// Until when, and why.
std::string FormatLock(const admin::v1::LockState& lock);

// One line.
std::string FormatEvent(const admin::v1::Event& event);
std::string FormatMissed(const admin::v1::Missed& missed);

// The inventory, a page at a time: a line of headings, then one for each
// descriptor and session. Columns become wider where a page needs that, and
// what was said stays as it is: a million sessions are not worth keeping.
class InventoryText {
 public:
  // With `details`, more lines of each descriptor.
  explicit InventoryText(bool details) : details_(details) {}

  // Descriptors come before sessions.
  std::string Add(const admin::v1::ListDescriptorsResponse& page);
  std::string Add(const admin::v1::ListSessionsResponse& page);
  // Where there was nothing, says so.
  std::string End();

 private:
  // Before the last column, which needs no width.
  using Columns = std::array<std::string, 5>;

  void Fit(const Columns& row);
  // The headings and the descriptors, unless they are said.
  std::string Begin();
  void Append(const Columns& row, absl::string_view last, std::string& text);
  void AppendDetails(absl::string_view name,
                     const admin::v1::Descriptor& descriptor,
                     std::string& text) const;

  const bool details_;
  bool begun_ = false;
  google::protobuf::RepeatedPtrField<admin::v1::Descriptor> descriptors_;
  std::array<size_t, 5> widths_ = {};
};

// The ledger, a part at a time: what was said of a handoff comes once all of
// its entries are there.
class LedgerText {
 public:
  std::string Add(const admin::v1::GetLedgerResponse& part);
  std::string End();

 private:
  std::string Flush();

  bool any_ = false;
  bool has_head_ = false;
  admin::v1::Handoff head_;
  google::protobuf::RepeatedPtrField<admin::v1::LedgerEntry> entries_;
};

}  // namespace handoff

#endif  // HANDOFF_TOOLS_ADMIN_FORMAT_H_
