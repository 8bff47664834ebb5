#include "handoff/integrations/admin/admin_messages.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"

namespace handoff {
namespace {

using admin::v1::GetStatusResponse;

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(static_cast<int32_t>((time - absl::FromUnixSeconds(seconds)) /
                                       absl::Nanoseconds(1)));
  return proto;
}

google::protobuf::Timestamp ToTimestamp(uint64_t nanoseconds) {
  return ToTimestamp(absl::FromUnixNanos(static_cast<int64_t>(nanoseconds)));
}

GetStatusResponse::Role RoleOf(absl::string_view state) {
  if (state == "serving") return GetStatusResponse::SERVING;
  if (state == "handing off") return GetStatusResponse::PREDECESSOR;
  if (state == "watching") return GetStatusResponse::WATCHING;
  if (state == "stopping") return GetStatusResponse::STOPPING;
  return GetStatusResponse::ROLE_UNSPECIFIED;
}

// TCP_LISTENER: "tcp-listener".
std::string KindName(v1::DescriptorInfo::Kind kind) {
  return absl::StrReplaceAll(
      absl::AsciiStrToLower(v1::DescriptorInfo::Kind_Name(kind)), {{"_", "-"}});
}

// What this part of all sessions stood still for at the most.
double Percentile(const std::vector<v1::Blackout>& sorted, double part) {
  uint64_t all = 0;
  for (const v1::Blackout& blackout : sorted) all += blackout.sessions();
  const auto wanted =
      static_cast<uint64_t>(std::ceil(part * static_cast<double>(all)));
  uint64_t so_far = 0;
  for (const v1::Blackout& blackout : sorted) {
    so_far += blackout.sessions();
    if (so_far >= wanted) return blackout.milliseconds();
  }
  return 0;
}

void SetBlackout(const v1::LedgerHandoff& handoff, admin::v1::Handoff& result) {
  std::vector<v1::Blackout> sorted;
  for (const v1::Blackout& blackout : handoff.blackouts()) {
    if (blackout.sessions() > 0) sorted.push_back(blackout);
  }
  if (sorted.empty()) return;
  std::sort(sorted.begin(), sorted.end(),
            [](const v1::Blackout& a, const v1::Blackout& b) {
              return a.milliseconds() < b.milliseconds();
            });
  const auto duration = [&sorted](double part) {
    return ToProto(absl::Milliseconds(Percentile(sorted, part)));
  };
  *result.mutable_blackout()->mutable_p50() = duration(0.50);
  *result.mutable_blackout()->mutable_p99() = duration(0.99);
  *result.mutable_blackout()->mutable_max() = duration(1.00);
}

}  // namespace

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(rest / absl::Nanoseconds(1)));
  return proto;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

GetStatusResponse ToAdmin(const v1::Status& status, const ProcessFacts& facts,
                          absl::Time now) {
  GetStatusResponse result;
  result.set_role(RoleOf(status.state()));
  result.set_pid(status.pid());
  result.set_generation(status.generation());
  result.set_label(status.label());
  result.set_build(facts.build);
  result.set_executable(facts.executable);
  result.set_last_event(facts.last_event);
  const absl::Duration uptime = absl::Seconds(status.uptime_seconds());
  *result.mutable_started_at() = ToTimestamp(now - uptime);
  *result.mutable_uptime() = ToProto(uptime);
  result.set_accepting(status.accepting());
  result.set_listeners(status.listeners());
  result.set_other_descriptors(status.descriptors());
  result.set_blobs(status.blobs());
  result.set_sessions(status.sessions());
  result.set_open_descriptors(status.open_descriptors());
  result.set_descriptor_limit(status.descriptor_limit());
  if (status.descriptor_limit() > status.open_descriptors()) {
    result.set_descriptor_headroom(status.descriptor_limit() -
                                   status.open_descriptors());
  }
  result.set_resident_bytes(status.resident_bytes());
  result.set_memory_limit(status.memory_limit());
  if (status.memory_limit() > status.resident_bytes()) {
    result.set_memory_headroom(status.memory_limit() - status.resident_bytes());
  }
  if (status.has_handoff()) {
    *result.mutable_handoff() = ToAdmin(status.handoff());
  }
  if (status.has_last_handoff()) {
    *result.mutable_last_handoff() = ToAdmin(status.last_handoff());
  }
  if (status.has_lock()) {
    result.mutable_lock()->set_reason(status.lock().reason());
    *result.mutable_lock()->mutable_expires_at() =
        ToTimestamp(status.lock().expires_at());
  }
  return result;
}

admin::v1::HandoffProgress ToAdmin(const v1::HandoffProgress& progress) {
  admin::v1::HandoffProgress result;
  result.set_handoff_id(progress.handoff_id());
  result.set_phase(progress.phase());
  result.set_rehearsal(progress.rehearsal());
  result.set_successor_pid(progress.successor_pid());
  result.set_successor_label(progress.successor_label());
  *result.mutable_started_at() = ToTimestamp(progress.started_at());
  *result.mutable_phase_started_at() = ToTimestamp(progress.phase_started_at());
  result.set_sessions_sent(progress.sessions_sent());
  result.set_sessions_total(progress.sessions_total());
  return result;
}

admin::v1::Handoff ToAdmin(const v1::LedgerHandoff& handoff) {
  admin::v1::Handoff result;
  result.set_id(handoff.handoff_id());
  result.set_result(handoff.result());
  result.set_reason(handoff.reason());
  result.set_predecessor_pid(handoff.predecessor_pid());
  result.set_successor_pid(handoff.successor_pid());
  result.set_generation(handoff.generation());
  *result.mutable_started_at() = ToTimestamp(handoff.started_at());
  *result.mutable_took() = ToProto(absl::Seconds(handoff.seconds()));
  for (const v1::Phase& phase : handoff.phases()) {
    admin::v1::Phase* added = result.add_phases();
    added->set_name(phase.name());
    *added->mutable_took() = ToProto(absl::Seconds(phase.seconds()));
  }
  SetBlackout(handoff, result);
  result.set_moved(handoff.moved());
  result.set_kept(handoff.kept());
  result.set_drained(handoff.drained());
  result.set_refused(handoff.refused());
  result.set_closed(handoff.closed());
  result.set_lost(handoff.lost());
  return result;
}

admin::v1::LedgerEntry ToAdmin(const v1::LedgerEntry& entry) {
  admin::v1::LedgerEntry result;
  result.set_outcome(
      absl::AsciiStrToLower(v1::LedgerEntry::Outcome_Name(entry.outcome())));
  result.set_category(entry.category());
  result.set_name(entry.name());
  result.set_session(entry.session());
  result.set_reason(entry.reason());
  return result;
}

admin::v1::Event ToAdmin(const v1::EventRecord& event) {
  admin::v1::Event result;
  result.set_sequence(event.sequence());
  *result.mutable_at() = ToTimestamp(event.at());
  result.set_kind(event.kind());
  result.set_handoff_id(event.handoff_id());
  result.set_text(event.text());
  result.set_pid(event.pid());
  result.set_generation(event.generation());
  return result;
}

admin::v1::Descriptor DescriptorOf(const v1::InventoryItem& item, int index,
                                   bool details) {
  admin::v1::Descriptor result;
  const bool of_session = item.category() == "session";
  if (!of_session) result.set_category(item.category());
  if (of_session && index < item.descriptor_names_size()) {
    result.set_name(item.descriptor_names(index));
  } else {
    result.set_name(item.name());
  }
  const v1::DescriptorInfo& info = item.descriptors(index);
  result.set_kind(KindName(info.kind()));
  result.set_local_address(info.local_address());
  result.set_peer_address(info.peer_address());
  result.set_socket_cookie(info.socket_cookie());
  result.set_device(info.device());
  result.set_inode(info.inode());
  if (!details || index >= item.details_size()) return result;
  const v1::DescriptorDetails& more = item.details(index);
  for (const v1::DescriptorDetails::Option& option : more.options()) {
    (*result.mutable_options())[option.name()] = option.value();
  }
  result.set_receive_queue(more.receive_queue());
  result.set_send_queue(more.send_queue());
  result.set_bytes_consumed(more.tcp().consumed());
  result.set_bytes_written(more.tcp().written());
  return result;
}

admin::v1::Session SessionOf(const v1::InventoryItem& item, bool details) {
  admin::v1::Session result;
  result.set_id(item.session());
  result.set_type(item.name());
  *result.mutable_age() = ToProto(absl::Seconds(item.age_seconds()));
  result.set_handoffs(item.handoffs());
  result.set_group(item.group());
  result.set_keep_reason(item.keep_reason());
  for (int i = 0; i < item.descriptors_size(); ++i) {
    *result.add_descriptors() = DescriptorOf(item, i, details);
  }
  return result;
}

}  // namespace handoff
