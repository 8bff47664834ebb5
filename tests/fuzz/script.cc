#include "tests/fuzz/script.h"

#include <fcntl.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "google/protobuf/stubs/logging.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/frame.h"

namespace handoff {
namespace {

// Inputs beyond this only take time: a few frames of the largest size fit.
constexpr size_t kMaxInput = 512 * 1024;
constexpr uint32_t kMaxDescriptors = 7;
// The lowest free number is always taken first: one that leaks is below, unless
// very many are open.
constexpr int kDescriptors = 256;

// What every descriptor is a duplicate of.
int Null() {
  static const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  return null;
}

}  // namespace

void Require(bool kept, const char* promise) {
  if (kept) return;
  std::fprintf(stderr, "broken: %s\n", promise);
  std::abort();
}

bool ReadInput(const uint8_t* data, size_t size,
               google::protobuf::Message& input) {
  // It says of each bad string that it is one.
  static auto* const silent = google::protobuf::SetLogHandler(nullptr);
  (void)silent;
  return size <= kMaxInput &&
         input.ParseFromArray(data, static_cast<int>(size));
}

std::vector<UniqueFd> DescriptorsOf(const fuzz::Event& event) {
  std::vector<UniqueFd> descriptors;
  for (uint32_t i = event.descriptors() % (kMaxDescriptors + 1); i > 0; --i) {
    descriptors.emplace_back(::fcntl(Null(), F_DUPFD_CLOEXEC, 0));
  }
  return descriptors;
}

absl::optional<v1::Frame> FrameOf(const fuzz::Event& event, uint64_t seq) {
  const uint32_t count = event.descriptors() % (kMaxDescriptors + 1);
  std::string bytes = event.message();
  if (event.has_frame()) {
    v1::Frame frame = event.frame();
    frame.set_seq(seq);
    frame.set_descriptor_count(count);
    frame.clear_descriptors();
    for (uint32_t i = 0; i < count; ++i) frame.add_descriptors();
    bytes = frame.SerializeAsString();
  }
  if (bytes.size() > kMaxMessageBytes) return absl::nullopt;
  auto decoded = DecodeFrame(bytes, seq, count);
  if (!decoded.ok()) return absl::nullopt;
  Require(decoded->seq() == seq && decoded->descriptor_count() == count &&
              static_cast<uint32_t>(decoded->descriptors_size()) == count,
          "a frame has the number and the descriptors that it says");
  return *std::move(decoded);
}

void RequireReadable(v1::Frame frame, size_t descriptors) {
  frame.set_seq(1);
  frame.set_descriptor_count(static_cast<uint32_t>(descriptors));
  for (size_t i = 0; i < descriptors; ++i) frame.add_descriptors();
  const std::string bytes = frame.SerializeAsString();
  Require(bytes.size() <= kMaxMessageBytes, "a frame that is sent fits");
  Require(DecodeFrame(bytes, 1, descriptors).ok(),
          "a frame that is sent can be read");
}

NoLeak::NoLeak() {
  Null();  // stays open
  open_ = OpenDescriptorsBelow(kDescriptors);
}

NoLeak::~NoLeak() {
  Require(OpenDescriptorsBelow(kDescriptors) == open_, "no descriptor leaks");
}

}  // namespace handoff
