#ifndef HANDOFF_TESTS_FUZZ_SCRIPT_H_
#define HANDOFF_TESTS_FUZZ_SCRIPT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/optional.h"
#include "google/protobuf/message.h"
#include "handoff/fd/unique_fd.h"
#include "proto/handoff.pb.h"
#include "tests/fuzz/script.pb.h"

// What the fuzzers share.

namespace handoff {

// Ends the process where a promise is broken, naming it.
void Require(bool kept, const char* promise);

// An input of this fuzzer, empty.
std::unique_ptr<google::protobuf::Message> NewInput();

// Takes an input apart. False where it is none, or longer than anybody needs.
bool ReadInput(const uint8_t* data, size_t size,
               google::protobuf::Message& input);

// What libFuzzer calls, and NewInput(): `run` is given each `Input`.
#define HANDOFF_FUZZER(Input, run)                                          \
  namespace handoff {                                                       \
  std::unique_ptr<google::protobuf::Message> NewInput() {                   \
    return std::make_unique<Input>();                                       \
  }                                                                         \
  }                                                                         \
  extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) { \
    handoff::Input input;                                                   \
    if (handoff::ReadInput(data, size, input)) handoff::run(input);         \
    return 0;                                                               \
  }

// The descriptors that come with `event`, 7 at the most.
std::vector<UniqueFd> DescriptorsOf(const fuzz::Event& event);

// The frame of an event: as it is where it is one, else what the bytes decode
// to; nothing where they decode to none. `seq` is the number of the next frame.
absl::optional<v1::Frame> FrameOf(const fuzz::Event& event, uint64_t seq);

// A frame that a machine sends must be one that its peer can read.
void RequireReadable(v1::Frame frame, size_t descriptors);

// Declared first: at its end nothing may be open that was not open before.
class NoLeak {
 public:
  NoLeak();
  ~NoLeak();

 private:
  int open_ = 0;
};

}  // namespace handoff

#endif  // HANDOFF_TESTS_FUZZ_SCRIPT_H_
