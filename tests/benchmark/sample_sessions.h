#ifndef TESTS_BENCHMARK_SAMPLE_SESSIONS_H_
#define TESTS_BENCHMARK_SAMPLE_SESSIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "proto/handoff.pb.h"

namespace handoff {

// Fills in `record` as it is of a session of type "chat" with one TCP
// connection, which is descriptor `sent_in` of its frame, and `state`.
inline void FillRecord(uint64_t id, uint32_t sent_in, absl::string_view state,
                       v1::SessionRecord& record) {
  record.set_id(id);
  record.set_type("chat");
  record.set_opened_at(1'800'000'000'000'000'000);
  record.set_handoffs(1);
  v1::SessionDescriptor* connection = record.add_descriptors();
  connection->set_name("client");
  connection->set_sent_in(sent_in);
  connection->mutable_counters()->set_consumed(123'456);
  connection->mutable_counters()->set_written(7'654'321);
  record.mutable_state()->set_type_url("type.googleapis.com/chat.v1.Member");
  record.mutable_state()->set_value(state.data(), state.size());
}

}  // namespace handoff

#endif  // TESTS_BENCHMARK_SAMPLE_SESSIONS_H_
