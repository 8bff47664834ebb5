// Whatever comes as a message: it is a frame or it is none, and what the
// protocol makes of the frame's parts holds together.

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "handoff/protocol/frame.h"
#include "handoff/protocol/staged_inventory.h"
#include "tests/fuzz/script.h"

namespace handoff {
namespace {

Limits SmallLimits() {
  Limits limits;
  limits.sessions = 20;
  limits.named_descriptors = 10;
  limits.blobs = 5;
  limits.session_descriptors = 3;
  limits.state_bytes = 1'000;
  limits.total_state_bytes = 5'000;
  return limits;
}

void CheckTexts(const v1::Frame& frame) {
  Require(!BodyName(frame).empty(), "every body has a name");
  const std::string label = Printable(frame.hello().label());
  Require(label.size() <= kMaxTextBytes && Printable(label) == label,
          "a printable text is bounded, and stays as it is");
  if (frame.has_refuse()) {
    Require(!RefusalStatus(frame.refuse()).ok(), "a refusal is an error");
  }
  if (frame.has_abort()) {
    Require(!AbortStatus(frame.abort(), "the peer").ok(), "so is an abort");
  }
}

void CheckNegotiation(const v1::Hello& hello) {
  if (const auto version = NegotiateProtocol(hello); version.ok()) {
    Require(*version >= kLowestProtocol && *version <= kHighestProtocol &&
                *version >= hello.lowest_protocol() &&
                *version <= hello.highest_protocol(),
            "a negotiated version is one that both speak");
  }
  v1::StateType chat;
  chat.set_name("chat");
  chat.set_lowest(1);
  chat.set_highest(2);
  const auto types = NegotiateTypes({chat}, hello.reads());
  if (!types.ok()) return;
  Require(types->size() == 1 && (*types)[0].version() >= 1 &&
              (*types)[0].version() <= 2,
          "a negotiated type is one that both have");
}

void CheckInventory(StagedInventory& inventory, const Limits& limits) {
  Require(inventory.named().size() <= limits.named_descriptors &&
              inventory.blobs().size() <= limits.blobs &&
              inventory.sessions().size() <= limits.sessions &&
              inventory.closed().size() <= limits.sessions,
          "an inventory is within its limits");
  for (size_t i = 0; i < inventory.named().size(); ++i) {
    const StagedInventory::Named& named = inventory.named()[i];
    Require(named.fd != nullptr, "what has a name has a descriptor");
    Require((i == 0) == (named.role == v1::Descriptors::HANDOFF_LISTENER),
            "the handoff listener is the first, once");
  }
  for (const auto& [id, session] : inventory.sessions()) {
    Require(id != 0 && session.record.id() == id, "a session has its id");
    Require(session.descriptors.size() ==
                static_cast<size_t>(session.record.descriptors_size()),
            "a session has the descriptors that it names");
    for (const SharedFd& fd : session.descriptors) {
      Require(fd != nullptr, "and each is there");
    }
    Require(!session.fresh || (session.record.state_in() != 0) ==
                                  (session.state_memfd != nullptr),
            "a session's state is where its record says");
    Require(
        inventory.kept().count(id) == 0 && inventory.closed().count(id) == 0,
        "a session is moved, kept or closed");
  }
  const StagedInventory::SessionChanges changes =
      inventory.TakeSessionChanges();
  for (const StagedInventory::Arrival& arrival : changes.arrived) {
    const auto session = inventory.sessions().find(arrival.id);
    Require(session != inventory.sessions().end(), "what changed is there");
    Require(arrival.descriptors.size() == session->second.descriptors.size() &&
                !session->second.record.has_state() &&
                session->second.state_memfd == nullptr,
            "and has left its state");
  }
  for (const uint64_t id : changes.gone) {
    Require(inventory.sessions().count(id) == 0, "what is gone is not");
  }
}

void Run(const fuzz::Script& script) {
  const NoLeak no_leak;
  const Limits limits = SmallLimits();
  StagedInventory inventory(limits);
  bool good = true;
  uint64_t seq = 1;
  for (const fuzz::Event& event : script.events()) {
    std::vector<UniqueFd> descriptors = DescriptorsOf(event);
    auto frame = FrameOf(event, seq);
    if (!frame.has_value()) continue;
    ++seq;
    CheckTexts(*frame);
    if (frame->has_hello()) CheckNegotiation(frame->hello());
    // After an error it is only good for being destroyed.
    if (!good) continue;
    const bool batch = IsBatch(*frame);
    const absl::Status applied =
        inventory.Apply(*frame, std::move(descriptors));
    good = applied.ok();
    Require(!good || batch, "only batches are applied");
    if (good) {
      CheckInventory(inventory, limits);
    } else {
      inventory.TakeSessionChanges();  // nor does it break when it is asked
    }
  }
}

}  // namespace
}  // namespace handoff

HANDOFF_FUZZER(fuzz::Script, Run)
