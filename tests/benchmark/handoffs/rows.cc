#include "tests/benchmark/handoffs/rows.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "google/protobuf/any.pb.h"
#include "google/protobuf/wrappers.pb.h"
#include "proto/handoff.pb.h"
#include "tests/benchmark/handoffs/chain.h"

namespace handoff::benchmark {
namespace {

constexpr size_t kMost = 16'000;  // RLIMIT_NOFILE may be 20,000
constexpr size_t kFew = 160;

// How much of everything.
struct Effort {
  size_t pairs;     // of measured and bound
  size_t handoffs;  // of a distribution, in each pair; of 50 p99 is the longest
  size_t divisor;   // of the number of sessions
};
Effort EffortOf(bool quick) {
  return quick ? Effort{2, 2, 16} : Effort{5, 60, 1};
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const size_t rank = static_cast<size_t>(share * (values.size() - 1) + 0.5);
  return values[std::min(rank, values.size() - 1)];
}

Row NewRow(absl::string_view key, absl::string_view unit) {
  Row row;
  row.key = std::string(key);
  row.unit = std::string(unit);
  return row;
}

Row Move(absl::string_view key, size_t sessions, size_t state_bytes,
         size_t workers, const Effort& effort) {
  Row row = NewRow(key, "ms");
  Load load;
  load.sessions = sessions;
  load.state_bytes = state_bytes;
  load.workers = workers;
  Chain chain(load);
  BareLoop bare(sessions, state_bytes);
  // The first of each finds its memory cold.
  chain.HandOver();
  bare.MoveMilliseconds();
  for (size_t i = 0; i < effort.pairs; ++i) {
    row.bound.push_back(bare.MoveMilliseconds());
    row.measured.push_back(chain.HandOver().milliseconds);
  }
  row.facts = {{"sessions", static_cast<double>(sessions)},
               {"state_bytes", static_cast<double>(state_bytes)},
               {"workers", static_cast<double>(workers)}};
  return row;
}

std::vector<double> BlackoutsOf(Chain& chain, size_t handoffs) {
  std::vector<double> blackouts;
  for (size_t i = 0; i < handoffs; ++i) {
    for (const double ms : chain.HandOver().blackouts) blackouts.push_back(ms);
  }
  return blackouts;
}

Row BlackoutOfChanged(absl::string_view key, const Effort& effort) {
  Row row = NewRow(key, "ms");
  Load many;
  many.sessions = kMost / effort.divisor;
  many.changes = many.talking = kFew / effort.divisor;
  Load few = many;
  few.sessions = few.changes;
  Chain of_many(many);
  Chain of_few(few);
  std::vector<double> all;
  std::vector<double> bounds;
  for (size_t i = 0; i < effort.pairs; ++i) {
    const auto bound = BlackoutsOf(of_few, effort.handoffs);
    const auto measured = BlackoutsOf(of_many, effort.handoffs);
    row.bound.push_back(Percentile(bound, 0.99));
    row.measured.push_back(Percentile(measured, 0.99));
    bounds.insert(bounds.end(), bound.begin(), bound.end());
    all.insert(all.end(), measured.begin(), measured.end());
  }
  row.series = {{"blackouts_ms", std::move(all)},
                {"bound_blackouts_ms", std::move(bounds)}};
  return row;
}

// With `changes` of kMost sessions, over the bare loop with their state.
Row BlackoutOf(size_t changes, absl::string_view key, const Effort& effort) {
  Row row = NewRow(key, "ms");
  Load load;
  load.sessions = kMost / effort.divisor;
  load.changes = changes / effort.divisor;
  load.talking = kFew / effort.divisor;
  Chain chain(load);
  BareLoop bare(load.changes, load.state_bytes);
  std::vector<double> all;
  Row longest = NewRow(absl::StrCat(key, "_max"), "ms");
  for (size_t i = 0; i < effort.pairs; ++i) {
    std::vector<double> bound;
    for (size_t j = 0; j < effort.handoffs; ++j) {
      bound.push_back(bare.MoveStateMilliseconds());
    }
    const auto measured = BlackoutsOf(chain, effort.handoffs);
    row.bound.push_back(Percentile(bound, 0.99));
    row.measured.push_back(Percentile(measured, 0.99));
    longest.bound.push_back(Percentile(bound, 1));
    longest.measured.push_back(Percentile(measured, 1));
    all.insert(all.end(), measured.begin(), measured.end());
  }
  row.facts = {{"changes", static_cast<double>(load.changes)}};
  row.series = {{"blackouts_ms", std::move(all)}};
  row.also = {std::move(longest)};
  return row;
}

Row BlackoutOfAll(absl::string_view key, const Effort& effort) {
  Row row = BlackoutOf(kMost, key, effort);
  // Between few and all: less often, for what they are to show.
  const Effort less = {effort.pairs, std::min<size_t>(effort.handoffs, 10),
                       effort.divisor};
  for (const size_t changes : {kMost / 10, kMost / 2}) {
    row.also.push_back(
        BlackoutOf(changes, absl::StrCat("blackout_", changes), less));
    row.also.back().also.clear();
  }
  return row;
}

// What a session's records take on the wire beside its state.
size_t RecordBytes() {
  v1::SessionRecord record;
  record.set_id(uint64_t{1} << 40);
  record.set_type("echo");
  record.set_opened_at(uint64_t{1} << 60);
  v1::SessionDescriptor* descriptor = record.add_descriptors();
  descriptor->set_name("client");
  descriptor->set_sent_in(1);
  descriptor->mutable_counters()->set_written(1);
  record.mutable_state()->PackFrom(google::protobuf::BytesValue());
  v1::DescriptorInfo info;
  info.set_kind(v1::DescriptorInfo::TCP);
  info.set_socket_cookie(uint64_t{1} << 20);
  return record.ByteSizeLong() + info.ByteSizeLong();
}

Row StagingMemory(absl::string_view key, size_t state_bytes,
                  const Effort& effort) {
  Row row = NewRow(key, "MB");
  Load load;
  load.sessions = kMost / effort.divisor;
  load.state_bytes = state_bytes;
  Chain chain(load);
  const double bytes =
      static_cast<double>(load.sessions * (state_bytes + RecordBytes()));
  for (size_t i = 0; i < effort.pairs; ++i) {
    row.bound.push_back(bytes / 1e6);
    row.measured.push_back(chain.HandOver().memory_bytes / 1e6);
  }
  row.facts = {{"sessions", static_cast<double>(load.sessions)},
               {"state_bytes", static_cast<double>(state_bytes)}};
  return row;
}

// Of small states most of what is staged is the library's own.
Row StagingMemories(absl::string_view key, const Effort& effort) {
  Row row = StagingMemory(key, 4096, effort);
  row.also = {StagingMemory(absl::StrCat(key, "_256"), 256, effort)};
  return row;
}

struct Named {
  const char* key;
  Row (*measure)(absl::string_view key, const Effort& effort);
};

template <size_t kSessions, size_t kStateBytes>
Row MoveThese(absl::string_view key, const Effort& effort) {
  return Move(key, kSessions / effort.divisor, kStateBytes, /*workers=*/1,
              effort);
}

// And what more loops do for it.
Row MoveMost(absl::string_view key, const Effort& effort) {
  Row row = MoveThese<kMost, 256>(key, effort);
  for (const size_t workers : {2, 4}) {
    row.also.push_back(Move(absl::StrCat(key, "_workers_", workers),
                            kMost / effort.divisor, 256, workers, effort));
  }
  return row;
}

constexpr Named kRows[] = {
    {"move_256_1000", MoveThese<1000, 256>},
    {"move_256_4000", MoveThese<4000, 256>},
    {"move_256_16000", MoveMost},
    {"move_4k", MoveThese<4000, 4096>},
    {"move_64k", MoveThese<4000, 65536>},
    {"blackout_changed", BlackoutOfChanged},
    {"blackout_all", BlackoutOfAll},
    {"staging_memory", StagingMemories},
};

std::string Numbers(const std::vector<double>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ", "), "]");
}

}  // namespace

std::vector<std::string> RowKeys() {
  std::vector<std::string> keys;
  for (const Named& row : kRows) keys.emplace_back(row.key);
  return keys;
}

absl::StatusOr<Row> Measure(absl::string_view key, bool quick) {
  for (const Named& row : kRows) {
    if (row.key == key) return row.measure(key, EffortOf(quick));
  }
  return absl::NotFoundError(absl::StrCat("no row is called ", key));
}

std::string ToJson(const Row& row) {
  std::vector<double> ratios;
  for (size_t i = 0; i < row.measured.size(); ++i) {
    ratios.push_back(row.measured[i] / row.bound[i]);
  }
  std::string json = absl::StrCat(
      "{\"row\": \"", row.key, "\", \"unit\": \"", row.unit,
      "\", \"measured\": ", Numbers(row.measured),
      ", \"bound\": ", Numbers(row.bound), ", \"ratios\": ", Numbers(ratios));
  for (const auto& [name, number] : row.facts) {
    absl::StrAppend(&json, ", \"", name, "\": ", number);
  }
  for (const auto& [name, numbers] : row.series) {
    absl::StrAppend(&json, ", \"", name, "\": ", Numbers(numbers));
  }
  if (!row.also.empty()) {
    absl::StrAppend(&json, ", \"also\": [",
                    absl::StrJoin(row.also, ", ",
                                  [](std::string* out, const Row& other) {
                                    absl::StrAppend(out, ToJson(other));
                                  }),
                    "]");
  }
  return absl::StrCat(json, "}");
}

}  // namespace handoff::benchmark
