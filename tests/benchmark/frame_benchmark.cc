// A Sessions frame: from the state of sessions to bytes, and back to records.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "benchmark/benchmark.h"
#include "handoff/batch_builder.h"
#include "handoff/protocol/frame.h"
#include "handoff/roster.h"
#include "proto/handoff.pb.h"
#include "tests/benchmark/part.h"
#include "tests/benchmark/sample_sessions.h"

namespace handoff {
namespace {

struct Shape {
  int records;
  size_t state_bytes;
};

// Of the descriptor of record i, as its session would say.
v1::DescriptorInfo InfoOf(int i) {
  v1::DescriptorInfo info;
  info.set_kind(v1::DescriptorInfo::TCP);
  info.set_socket_cookie(static_cast<uint64_t>(i) + 1);
  return info;
}

// As Group::Snapshot and a channel do it; to find out what the descriptors are
// is another part.
absl::StatusOr<std::string> Encode(const Shape& shape,
                                   const std::string& state) {
  BatchBuilder builder;
  for (int i = 0; i < shape.records; ++i) {
    GroupSnapshot::Item item;
    FillRecord(static_cast<uint64_t>(i) + 1, 1, state, item.record);
    item.descriptors.emplace_back();
    item.infos.push_back(InfoOf(i));
    builder.AddSession(std::move(item));
  }
  absl::StatusOr<std::vector<OutgoingFrame>> frames = builder.Take();
  if (!frames.ok()) return frames.status();
  if (frames->size() != 1) {
    return absl::InternalError(
        absl::StrCat(frames->size(), " frames, where one was expected"));
  }
  frames->front().frame.set_seq(1);
  frames->front().frame.set_descriptor_count(
      static_cast<uint32_t>(shape.records));
  return frames->front().frame.SerializeAsString();
}

void BuildFrame(const Shape& shape, const std::string& state,
                v1::Frame& frame) {
  frame.set_seq(1);
  frame.set_descriptor_count(static_cast<uint32_t>(shape.records));
  for (int i = 0; i < shape.records; ++i) {
    *frame.add_descriptors() = InfoOf(i);
    FillRecord(static_cast<uint64_t>(i) + 1, static_cast<uint32_t>(i) + 1,
               state, *frame.mutable_sessions()->add_records());
  }
}

absl::Status CheckSize(size_t size, size_t expected) {
  if (size == expected) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(size, " bytes, where ", expected, " were expected"));
}

absl::Status Serialize(const v1::Frame& frame, std::string& buffer) {
  const size_t size = frame.ByteSizeLong();
  if (size > buffer.size() ||
      !frame.SerializeToArray(buffer.data(), static_cast<int>(size))) {
    return absl::InternalError("SerializeToArray failed");
  }
  benchmark::DoNotOptimize(buffer.data());
  benchmark::ClobberMemory();
  return CheckSize(size, buffer.size());
}

void Copy(const std::string& bytes, Measure& measure) {
  std::string buffer(bytes.size(), '\0');
  measure.Run([&]() -> absl::Status {
    std::memcpy(buffer.data(), bytes.data(), bytes.size());
    benchmark::DoNotOptimize(buffer.data());
    benchmark::ClobberMemory();
    return absl::OkStatus();
  });
}

void RegisterEncode(const Shape& shape, absl::string_view name) {
  const Part part(absl::StrCat("frame: encode ", name), "record",
                  shape.records);
  const std::string state(shape.state_bytes, 'x');
  v1::Frame built;
  BuildFrame(shape, state, built);
  const std::string bytes = built.SerializeAsString();
  part.Handoff([=](Measure& measure) {
    measure.Run([&]() -> absl::Status {
      const absl::StatusOr<std::string> encoded = Encode(shape, state);
      if (!encoded.ok()) return encoded.status();
      return CheckSize(encoded->size(), bytes.size());
    });
  });
  part.Bound("the same message built and serialized by protobuf",
             [=](Measure& measure) {
               std::string buffer(bytes.size(), '\0');
               measure.Run([&] {
                 v1::Frame frame;
                 BuildFrame(shape, state, frame);
                 return Serialize(frame, buffer);
               });
             });
  part.Bound("SerializeToArray of the message", [=](Measure& measure) {
    std::string buffer(bytes.size(), '\0');
    measure.Run([&] { return Serialize(built, buffer); });
  });
  part.Bound("memcpy of the bytes",
             [=](Measure& measure) { Copy(bytes, measure); });
}

void RegisterDecode(const Shape& shape, absl::string_view name) {
  const Part part(absl::StrCat("frame: decode ", name), "record",
                  shape.records);
  v1::Frame built;
  BuildFrame(shape, std::string(shape.state_bytes, 'x'), built);
  const std::string bytes = built.SerializeAsString();
  part.Handoff([=](Measure& measure) {
    measure.Run([&]() -> absl::Status {
      const absl::StatusOr<v1::Frame> frame =
          DecodeFrame(bytes, 1, static_cast<size_t>(shape.records));
      if (!frame.ok()) return frame.status();
      return CheckSize(static_cast<size_t>(frame->sessions().records_size()),
                       static_cast<size_t>(shape.records));
    });
  });
  part.Bound("ParseFromArray of the bytes", [=](Measure& measure) {
    measure.Run([&]() -> absl::Status {
      v1::Frame frame;
      if (!frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return absl::InternalError("ParseFromArray failed");
      }
      return CheckSize(static_cast<size_t>(frame.sessions().records_size()),
                       static_cast<size_t>(shape.records));
    });
  });
  part.Bound("memcpy of the bytes",
             [=](Measure& measure) { Copy(bytes, measure); });
}

const bool kRegistered = [] {
  // As many as go into one frame: kBatchBytes, with kDescriptorBytes for each.
  for (const Shape& shape : {Shape{100, 64}, Shape{64, 256}, Shape{10, 4000}}) {
    const std::string name = absl::StrCat(shape.records, " records with ",
                                          shape.state_bytes, " bytes of state");
    RegisterEncode(shape, name);
    RegisterDecode(shape, name);
  }
  return true;
}();

}  // namespace
}  // namespace handoff
