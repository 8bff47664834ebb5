#include "handoff/protocol/staged_inventory.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_table.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

using Numbers = std::vector<uint64_t>;

// A frame that grows by one entry a call.
class FrameOf {
 public:
  FrameOf& Named(v1::Descriptors::Role role, const std::string& name) {
    auto* entry = frame_.mutable_descriptors_batch()->add_entries();
    entry->set_role(role);
    entry->set_name(name);
    entry->set_address("tcp:" + name);
    return *this;
  }
  FrameOf& Blob(const std::string& name, const std::string& value,
                uint32_t value_in = 0) {
    auto* entry = frame_.mutable_blobs()->add_entries();
    entry->set_name(name);
    if (!value.empty()) entry->mutable_value()->set_value(value);
    entry->set_value_in(value_in);
    return *this;
  }
  // `descriptors`: names, each with its sent_in.
  FrameOf& Session(
      uint64_t id,
      const std::vector<std::pair<std::string, uint32_t>>& descriptors,
      const std::string& state = "", uint32_t state_in = 0,
      const std::string& type = "chat") {
    auto* record = frame_.mutable_sessions()->add_records();
    record->set_id(id);
    record->set_type(type);
    for (const auto& [name, sent_in] : descriptors) {
      auto* d = record->add_descriptors();
      d->set_name(name);
      d->set_sent_in(sent_in);
    }
    if (!state.empty()) record->mutable_state()->set_value(state);
    record->set_state_in(state_in);
    return *this;
  }
  FrameOf& Closed(uint64_t id) {
    frame_.mutable_sessions()->add_closed(id);
    return *this;
  }
  FrameOf& Kept(uint64_t id) {
    auto* kept = frame_.mutable_sessions()->add_kept();
    kept->set_id(id);
    kept->set_type("chat");
    kept->set_reason("TLS");
    return *this;
  }
  v1::Frame frame() const { return frame_; }

 private:
  v1::Frame frame_;
};

class StagedInventoryTest : public testing::Test {
 protected:
  absl::Status Apply(const FrameOf& frame, const Numbers& descriptors = {}) {
    v1::Frame applied = frame.frame();
    return staged_.Apply(applied, NumberedFds(descriptors));
  }
  void ApplyOk(const FrameOf& frame, const Numbers& descriptors = {}) {
    const absl::Status status = Apply(frame, descriptors);
    EXPECT_TRUE(status.ok()) << status;
  }
  // "name=number ..." of a session's descriptors.
  std::string Descriptors(uint64_t id) {
    const StagedInventory::Session& session = staged_.sessions().at(id);
    std::string text;
    for (size_t i = 0; i < session.descriptors.size(); ++i) {
      text += session.record.descriptors(static_cast<int>(i)).name() + "=" +
              std::to_string(NumberOf(session.descriptors[i]->get())) + " ";
    }
    return text;
  }
  static Limits SmallLimits() {
    Limits limits;
    limits.sessions = 4;
    limits.named_descriptors = 3;
    limits.blobs = 3;
    limits.session_descriptors = 2;
    limits.state_bytes = 100;
    limits.total_state_bytes = 250;
    return limits;
  }

  const NoDescriptorLeak no_leak_;
  StagedInventory staged_{Limits()};
};

// What a limit or a contradiction gives, on an inventory of its own, after
// frames that are in order.
struct Step {
  FrameOf frame;
  Numbers descriptors;
};
struct BadCase {
  const char* what;
  std::vector<Step> before;
  Step bad;
};

void ExpectRefused(const std::vector<BadCase>& cases, const Limits& limits,
                   absl::StatusCode code) {
  for (const BadCase& c : cases) {
    SCOPED_TRACE(c.what);
    const NoDescriptorLeak no_leak;
    StagedInventory staged(limits);
    for (const Step& step : c.before) {
      v1::Frame frame = step.frame.frame();
      const absl::Status status =
          staged.Apply(frame, NumberedFds(step.descriptors));
      EXPECT_TRUE(status.ok()) << "a frame before it: " << status;
    }
    v1::Frame bad = c.bad.frame.frame();
    const absl::Status status =
        staged.Apply(bad, NumberedFds(c.bad.descriptors));
    EXPECT_EQ(status.code(), code) << status;
  }
}

TEST_F(StagedInventoryTest, NamedDescriptorsKeepTheirOrderAndTheirNames) {
  ApplyOk(FrameOf()
              .Named(v1::Descriptors::HANDOFF_LISTENER, "handoff")
              .Named(v1::Descriptors::LISTENER, "http"),
          {11, 12});
  ApplyOk(FrameOf()
              .Named(v1::Descriptors::LISTENER, "http")
              .Named(v1::Descriptors::OTHER, "log"),
          {13, 14});
  ASSERT_EQ(staged_.named().size(), 4u);
  const char* const names[] = {"handoff", "http", "http", "log"};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(staged_.named()[i].name, names[i]);
    EXPECT_EQ(staged_.named()[i].address, std::string("tcp:") + names[i]);
    EXPECT_EQ(NumberOf(staged_.named()[i].fd->get()), 11 + i) << names[i];
  }
}

TEST_F(StagedInventoryTest, AMalformedBatchOfDescriptorsIsRefused) {
  const auto listener = v1::Descriptors::HANDOFF_LISTENER;
  const auto other = v1::Descriptors::OTHER;
  const Step first = {FrameOf().Named(listener, "handoff"), {1}};
  ExpectRefused(
      {{"the handoff listener does not come first",
        {},
        {FrameOf().Named(other, "log").Named(listener, "h"), {1, 2}}},
       {"two handoff listeners in a frame",
        {},
        {FrameOf().Named(listener, "h").Named(listener, "h"), {1, 2}}},
       {"a second handoff listener later",
        {first},
        {FrameOf().Named(listener, "handoff"), {2}}},
       {"no role",
        {first},
        {FrameOf().Named(v1::Descriptors::ROLE_UNSPECIFIED, "log"), {2}}},
       {"a role of a later version",
        {first},
        {FrameOf().Named(static_cast<v1::Descriptors::Role>(9), "log"), {2}}},
       {"no name", {first}, {FrameOf().Named(other, ""), {2}}},
       {"an entry without a descriptor",
        {first},
        {FrameOf().Named(other, "a").Named(other, "b"), {2}}},
       {"a descriptor without an entry",
        {first},
        {FrameOf().Named(other, "a"), {2, 3}}}},
      Limits(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StagedInventoryTest, AFrameThatIsNoBatchIsRefused) {
  for (const NamedFrame& f : EveryFrame()) {
    StagedInventory staged{Limits()};
    v1::Frame frame = f.frame;
    const absl::Status status = staged.Apply(frame, {});
    const bool batch =
        f.name == "descriptors" || f.name == "blobs" || f.name == "sessions";
    EXPECT_EQ(status.ok(), batch) << f.name << ": " << status;
    frame = f.frame;
    const absl::Status with_fd = staged.Apply(frame, NumberedFds({1}));
    EXPECT_TRUE(absl::IsInvalidArgument(with_fd)) << f.name << ": " << with_fd;
  }
}

TEST_F(StagedInventoryTest, ASessionOwnsTheDescriptorsThatItsFrameNamesForIt) {
  ApplyOk(FrameOf()
              .Session(7, {{"client", 2}, {"upstream", 1}}, "seven")
              .Session(8, {{"client", 3}}, "eight")
              .Session(9, {}, "nine"),
          {11, 12, 13});
  EXPECT_EQ(Descriptors(7), "client=12 upstream=11 ");
  EXPECT_EQ(Descriptors(8), "client=13 ");
  EXPECT_EQ(Descriptors(9), "");
  EXPECT_EQ(staged_.sessions().at(8).record.state().value(), "eight");
}

TEST_F(StagedInventoryTest, EachDescriptorIsNamedExactlyOnce) {
  ExpectRefused(
      {{"a descriptor that nothing names",
        {},
        {FrameOf().Session(7, {{"client", 1}}), {1, 2}}},
       {"only descriptors", {}, {FrameOf().Closed(7), {1}}},
       {"two sessions name one",
        {},
        {FrameOf().Session(7, {{"c", 1}}).Session(8, {{"c", 1}}), {1}}},
       {"a session names one twice",
        {},
        {FrameOf().Session(7, {{"c", 1}, {"d", 1}}), {1}}},
       {"a session's state is its descriptor",
        {},
        {FrameOf().Session(7, {{"c", 1}}, "", 1), {1}}},
       {"the index is out of range",
        {},
        {FrameOf().Session(7, {{"c", 2}}), {1}}},
       {"the index is far out of range",
        {},
        {FrameOf().Session(7, {{"c", ~uint32_t{0}}}), {1}}},
       {"a state's index is out of range",
        {},
        {FrameOf().Session(7, {{"c", 1}}, "", 2), {1}}},
       {"two blobs name one",
        {},
        {FrameOf().Blob("a", "", 1).Blob("b", "", 1), {1}}},
       {"a blob's index is out of range",
        {},
        {FrameOf().Blob("a", "", 2), {1}}}},
      Limits(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StagedInventoryTest, AMalformedSessionIsRefused) {
  const Step seven = {FrameOf().Session(7, {{"client", 1}}), {1}};
  ExpectRefused({{"no id", {}, {FrameOf().Session(0, {{"client", 1}}), {1}}},
                 {"no type", {}, {FrameOf().Session(7, {}, "", 0, ""), {}}},
                 {"another type than before",
                  {seven},
                  {FrameOf().Session(7, {{"client", 0}}, "", 0, "proxy"), {}}},
                 {"a descriptor without a name",
                  {},
                  {FrameOf().Session(7, {{"", 1}}), {1}}},
                 {"two descriptors of one name",
                  {},
                  {FrameOf().Session(7, {{"c", 1}, {"c", 2}}), {1, 2}}},
                 {"two descriptors of one name, one of them sent before",
                  {seven},
                  {FrameOf().Session(7, {{"client", 0}, {"client", 1}}), {2}}},
                 {"a new session whose descriptor was sent before",
                  {},
                  {FrameOf().Session(7, {{"client", 0}}), {}}},
                 {"another session's descriptor",
                  {seven},
                  {FrameOf().Session(8, {{"client", 0}}), {}}},
                 {"a descriptor of a name that was not sent before",
                  {seven},
                  {FrameOf().Session(7, {{"upstream", 0}}), {}}}},
                Limits(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StagedInventoryTest, AnUpdateKeepsAddsReplacesAndRemovesDescriptors) {
  ApplyOk(FrameOf().Session(7, {{"client", 1}, {"upstream", 2}}, "one"),
          {11, 12});
  const size_t open = OpenDescriptors().size();

  ApplyOk(FrameOf().Session(7, {{"client", 0}, {"upstream", 0}}, "two"));
  EXPECT_EQ(Descriptors(7), "client=11 upstream=12 ");
  EXPECT_EQ(staged_.sessions().at(7).record.state().value(), "two");

  ApplyOk(FrameOf().Session(7, {{"cache", 1}, {"upstream", 0}, {"client", 0}}),
          {13});
  EXPECT_EQ(Descriptors(7), "cache=13 upstream=12 client=11 ");
  EXPECT_EQ(OpenDescriptors().size(), open + 1);

  ApplyOk(FrameOf().Session(7, {{"client", 0}, {"upstream", 1}}), {14});
  EXPECT_EQ(Descriptors(7), "client=11 upstream=14 ");
  EXPECT_EQ(OpenDescriptors().size(), open)
      << "what was removed or replaced is still open";

  ApplyOk(FrameOf().Session(7, {{"client", 0}}));
  EXPECT_EQ(Descriptors(7), "client=11 ");
  EXPECT_EQ(OpenDescriptors().size(), open - 1);
}

TEST_F(StagedInventoryTest, LargeStateTravelsAsOneMoreDescriptor) {
  ApplyOk(FrameOf().Session(7, {{"client", 1}}, "", 2), {11, 21});
  ASSERT_NE(staged_.sessions().at(7).state_memfd, nullptr);
  EXPECT_EQ(NumberOf(staged_.sessions().at(7).state_memfd->get()), 21u);
  EXPECT_EQ(Descriptors(7), "client=11 ");
  const size_t open = OpenDescriptors().size();

  ApplyOk(FrameOf().Session(7, {{"client", 0}}, "", 1), {22});
  EXPECT_EQ(NumberOf(staged_.sessions().at(7).state_memfd->get()), 22u);
  EXPECT_EQ(OpenDescriptors().size(), open) << "the old state is still open";

  ApplyOk(FrameOf().Session(7, {{"client", 0}}, "small"));
  EXPECT_EQ(staged_.sessions().at(7).state_memfd, nullptr)
      << "the state is inline now, but an older one is there";
  EXPECT_EQ(OpenDescriptors().size(), open - 1);
}

TEST_F(StagedInventoryTest, TheStatesOfOneFrameMayShareAMemfd) {
  const size_t open = OpenDescriptors().size();
  ApplyOk(FrameOf()
              .Session(7, {{"client", 1}}, "", 3)
              .Session(8, {{"client", 2}}, "", 3),
          {11, 12, 21});
  EXPECT_EQ(staged_.sessions().at(7).state_memfd,
            staged_.sessions().at(8).state_memfd);
  EXPECT_EQ(NumberOf(staged_.sessions().at(7).state_memfd->get()), 21u);
  ApplyOk(FrameOf().Closed(7));
  EXPECT_EQ(OpenDescriptors().size(), open + 2) << "8 still needs it";
  ApplyOk(FrameOf().Closed(8));
  EXPECT_EQ(OpenDescriptors().size(), open);
}

TEST_F(StagedInventoryTest, WhereAStateIsNamedWrongTheFrameIsRefused) {
  ExpectRefused(
      {{"a descriptor that is not there",
        {},
        {FrameOf().Session(7, {{"c", 1}}, "", 2), {11}}},
       {"the session's own",
        {},
        {FrameOf().Session(7, {{"c", 1}}, "", 1), {11}}},
       {"another session's",
        {},
        {FrameOf().Session(7, {{"c", 1}}, "", 2).Session(8, {{"c", 2}}),
         {11, 12}}}},
      Limits(), absl::StatusCode::kInvalidArgument);
  v1::Frame frame = FrameOf().Session(7, {{"c", 1}}, "", 2).frame();
  frame.mutable_sessions()->mutable_records(0)->set_state_size(UINT64_MAX - 5);
  StagedInventory staged{Limits()};
  EXPECT_TRUE(
      absl::IsResourceExhausted(staged.Apply(frame, NumberedFds({11, 12}))))
      << "a size that wraps around";
}

TEST_F(StagedInventoryTest, StateThatIsSentAgainCountsOnce) {
  Limits limits;
  limits.total_state_bytes = 1000;
  StagedInventory staged(limits);
  const auto apply = [&staged](uint64_t id, uint64_t state_size) {
    v1::Frame frame = FrameOf().Session(id, {}, "", 1).frame();
    frame.mutable_sessions()->mutable_records(0)->set_state_size(state_size);
    return staged.Apply(frame, NumberedFds({21}));
  };
  for (int round = 0; round < 10; ++round) {
    EXPECT_TRUE(apply(7, 600).ok()) << round;
  }
  EXPECT_TRUE(apply(8, 300).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(apply(9, 100))) << "all together";
}

// What a driver may still ask of it, though it is only good for its end.
TEST_F(StagedInventoryTest, AFrameThatFailsInTheMiddleLeavesWhatCameBefore) {
  ApplyOk(FrameOf().Session(7, {{"client", 1}}, "old"), {11});
  EXPECT_TRUE(absl::IsInvalidArgument(
      Apply(FrameOf().Session(7, {{"client", 0}, {"b", 1}, {"c", 9}}), {12})));
  const auto changes = staged_.TakeSessionChanges();
  ASSERT_EQ(changes.arrived.size(), 1u);
  EXPECT_EQ(changes.arrived[0].descriptors.size(), 1u);
  EXPECT_EQ(changes.arrived[0].state.value(), "old");
}

TEST_F(StagedInventoryTest, ABlobIsReplacedByTheNextOfItsName) {
  ApplyOk(FrameOf().Blob("config", "one").Blob("cache", "", 1), {21});
  const size_t open = OpenDescriptors().size();
  EXPECT_EQ(staged_.blobs().at("config").value.value(), "one");
  EXPECT_EQ(NumberOf(staged_.blobs().at("cache").memfd->get()), 21u);

  ApplyOk(FrameOf().Blob("config", "", 1).Blob("cache", "small"), {22});
  EXPECT_EQ(NumberOf(staged_.blobs().at("config").memfd->get()), 22u);
  EXPECT_EQ(staged_.blobs().at("cache").memfd, nullptr);
  EXPECT_EQ(staged_.blobs().at("cache").value.value(), "small");
  EXPECT_EQ(staged_.blobs().size(), 2u);
  EXPECT_EQ(OpenDescriptors().size(), open);
  EXPECT_TRUE(absl::IsInvalidArgument(Apply(FrameOf().Blob("", "x"))));
}

TEST_F(StagedInventoryTest, AClosedSessionIsGoneWithItsDescriptors) {
  ApplyOk(FrameOf().Session(7, {{"c", 1}}).Session(8, {{"c", 2}}), {1, 2});
  const size_t open = OpenDescriptors().size();
  ApplyOk(FrameOf().Closed(7));
  EXPECT_EQ(staged_.sessions().count(7), 0u);
  EXPECT_EQ(staged_.closed(), std::set<uint64_t>({7}));
  EXPECT_EQ(OpenDescriptors().size(), open - 1);
  ApplyOk(FrameOf().Session(9, {{"c", 1}}).Closed(9), {3});
  EXPECT_EQ(staged_.closed(), std::set<uint64_t>({7, 9}))
      << "opened and closed within a round";
}

TEST_F(StagedInventoryTest, AKeptSessionStaysWithThePredecessor) {
  ApplyOk(FrameOf().Session(7, {{"c", 1}}), {1});
  const size_t open = OpenDescriptors().size();
  ApplyOk(FrameOf().Kept(7).Kept(8));
  EXPECT_TRUE(staged_.sessions().empty());
  EXPECT_EQ(OpenDescriptors().size(), open - 1);
  ASSERT_EQ(staged_.kept().size(), 2u) << "sent before, and never sent";
  EXPECT_EQ(staged_.kept().at(8).reason(), "TLS");
  ApplyOk(FrameOf().Kept(7));
  EXPECT_EQ(staged_.kept().size(), 2u) << "said twice";
  ApplyOk(FrameOf().Session(9, {{"c", 1}}).Kept(9), {2});
  EXPECT_EQ(staged_.sessions().size(), 0u) << "kept in the frame that sends it";
}

TEST_F(StagedInventoryTest, WhatIsGoneDoesNotComeBack) {
  const Step seven = {FrameOf().Session(7, {{"c", 1}}), {1}};
  const Step again = {FrameOf().Session(7, {{"c", 1}}), {2}};
  const Step closed = {FrameOf().Closed(7), {}};
  const Step kept = {FrameOf().Kept(7), {}};
  ExpectRefused({{"closed, never sent", {}, closed},
                 {"closed, then closed", {seven, closed}, closed},
                 {"closed twice in a frame",
                  {seven},
                  {FrameOf().Closed(7).Closed(7), {}}},
                 {"closed, then sent", {seven, closed}, again},
                 {"closed, then kept", {seven, closed}, kept},
                 {"closed and kept in a frame",
                  {seven},
                  {FrameOf().Closed(7).Kept(7), {}}},
                 {"kept, then sent", {seven, kept}, again},
                 {"kept without being sent, then sent", {kept}, seven},
                 {"kept, then closed", {seven, kept}, closed}},
                Limits(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StagedInventoryTest, EveryLimitHoldsAndWhatIsAtItPasses) {
  const std::string state(80, 's');
  const auto other = v1::Descriptors::OTHER;
  const Step listeners = {FrameOf()
                              .Named(v1::Descriptors::HANDOFF_LISTENER, "h")
                              .Named(other, "a")
                              .Named(other, "b"),
                          {1, 2, 3}};
  const Step four = {
      FrameOf().Session(1, {}).Session(2, {}).Session(3, {}).Session(4, {}),
      {}};
  const Step close_four = {FrameOf().Closed(1).Closed(2).Closed(3).Closed(4),
                           {}};
  const Step blobs = {FrameOf().Blob("a", "x").Blob("b", "x").Blob("c", "x"),
                      {}};
  ExpectRefused(
      {{"named descriptors", {listeners}, {FrameOf().Named(other, "c"), {4}}},
       {"sessions", {four}, {FrameOf().Session(5, {}), {}}},
       {"sessions and kept ones", {four}, {FrameOf().Kept(5), {}}},
       {"kept sessions",
        {{FrameOf().Kept(1).Kept(2).Kept(3).Kept(4), {}}},
        {FrameOf().Kept(5), {}}},
       {"sessions that come and go",
        {four, close_four},
        {FrameOf().Session(5, {}).Closed(5), {}}},
       {"blobs", {blobs}, {FrameOf().Blob("d", "x"), {}}},
       {"one blob's state",
        {},
        {FrameOf().Blob("a", std::string(101, 's')), {}}},
       {"one session's state",
        {},
        {FrameOf().Session(1, {{"c", 1}}, std::string(101, 's')), {1}}},
       {"all state",
        {{FrameOf().Blob("a", state).Blob("b", state), {}}},
        {FrameOf().Session(1, {{"c", 1}}, state), {1}}},
       {"all state, in versions of one blob",
        {{FrameOf().Blob("a", state), {}},
         {FrameOf().Blob("a", state), {}},
         {FrameOf().Blob("a", state), {}}},
        {FrameOf().Blob("a", state), {}}}},
      SmallLimits(), absl::StatusCode::kResourceExhausted);
  ExpectRefused(
      {{"descriptors of a session",
        {},
        {FrameOf().Session(1, {{"a", 1}, {"b", 2}, {"c", 3}}), {1, 2, 3}}}},
      SmallLimits(), absl::StatusCode::kInvalidArgument);
}

TEST_F(StagedInventoryTest, CountsAreOfNamedDescriptorsBlobsAndLiveSessions) {
  EXPECT_TRUE(staged_.CheckCounts(0, 0, 0).ok());
  ApplyOk(FrameOf()
              .Named(v1::Descriptors::HANDOFF_LISTENER, "h")
              .Named(v1::Descriptors::OTHER, "a"),
          {1, 2});
  ApplyOk(FrameOf().Blob("a", "x").Blob("a", "y").Blob("b", "", 1), {3});
  ApplyOk(FrameOf()
              .Session(7, {{"c", 1}}, "", 2)
              .Session(8, {})
              .Session(9, {})
              .Session(10, {})
              .Closed(9)
              .Kept(10),
          {4, 5});
  EXPECT_TRUE(staged_.CheckCounts(2, 2, 2).ok())
      << staged_.CheckCounts(2, 2, 2);
  EXPECT_TRUE(absl::IsInvalidArgument(staged_.CheckCounts(3, 2, 2)));
  EXPECT_TRUE(absl::IsInvalidArgument(staged_.CheckCounts(2, 1, 2)));
  const absl::Status status = staged_.CheckCounts(2, 2, 4);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(),
            "the predecessor counts 2 descriptors, 2 blobs and 4 sessions; 2, "
            "2 and 2 have come");
}

std::vector<uint64_t> IdsOf(
    const std::vector<StagedInventory::Arrival>& arrived) {
  std::vector<uint64_t> ids;
  for (const StagedInventory::Arrival& arrival : arrived) {
    ids.push_back(arrival.id);
  }
  return ids;
}

TEST_F(StagedInventoryTest, ChangesAreWhatCameChangedOrWentSinceTheLastCall) {
  using Ids = std::vector<uint64_t>;
  ApplyOk(FrameOf().Session(9, {}).Session(8, {}).Session(7, {}).Kept(5));
  ApplyOk(FrameOf().Blob("a", "x"));
  StagedInventory::SessionChanges changes = staged_.TakeSessionChanges();
  EXPECT_EQ(IdsOf(changes.arrived), Ids({9, 8, 7})) << "as they came";
  EXPECT_EQ(changes.gone, Ids()) << "5 was never here";
  EXPECT_EQ(staged_.TakeBlobChanges(), std::set<std::string>({"a"}));

  ApplyOk(FrameOf()
              .Session(7, {}, "two")
              .Session(8, {}, "two")
              .Session(9, {}, "two"));
  ApplyOk(FrameOf().Session(10, {}).Session(11, {}).Session(7, {}, "three"));
  ApplyOk(FrameOf().Closed(8).Closed(11).Kept(9));
  ApplyOk(FrameOf().Blob("b", "x"));
  changes = staged_.TakeSessionChanges();
  EXPECT_EQ(IdsOf(changes.arrived), Ids({7, 10})) << "each once";
  EXPECT_EQ(changes.arrived[0].state.value(), "three");
  EXPECT_EQ(changes.gone, Ids({8, 11, 9}));
  EXPECT_EQ(staged_.TakeBlobChanges(), std::set<std::string>({"b"}));

  changes = staged_.TakeSessionChanges();
  EXPECT_TRUE(changes.arrived.empty() && changes.gone.empty());
  EXPECT_TRUE(staged_.TakeBlobChanges().empty());
}

TEST_F(StagedInventoryTest, AnArrivalHasTheStateAndTheInventoryWhatIsLeft) {
  ApplyOk(FrameOf()
              .Session(7, {{"client", 1}}, "small")
              .Session(8, {{"client", 2}}, "", 3),
          {11, 12, 21});
  auto changes = staged_.TakeSessionChanges();
  ASSERT_EQ(IdsOf(changes.arrived), std::vector<uint64_t>({7, 8}));
  const StagedInventory::Arrival& small = changes.arrived[0];
  EXPECT_EQ(small.type, "chat");
  EXPECT_EQ(small.state.value(), "small");
  EXPECT_EQ(small.state_memfd, nullptr);
  ASSERT_EQ(small.descriptors.size(), 1u);
  EXPECT_EQ(small.descriptors[0].name, "client");
  EXPECT_EQ(NumberOf(small.descriptors[0].fd->get()), 11u);
  EXPECT_EQ(NumberOf(changes.arrived[1].state_memfd->get()), 21u);
  EXPECT_FALSE(staged_.sessions().at(7).record.has_state());
  EXPECT_EQ(staged_.sessions().at(8).state_memfd, nullptr);
  EXPECT_EQ(Descriptors(8), "client=12 ");
}

TEST_F(StagedInventoryTest, ItsEndClosesWhatNobodyTook) {
  SharedFd taken;
  {
    StagedInventory staged{Limits()};
    v1::Frame frame = FrameOf().Session(7, {{"c", 1}, {"d", 2}}).frame();
    ASSERT_TRUE(staged.Apply(frame, NumberedFds({31, 32})).ok());
    taken = staged.sessions().at(7).descriptors[0];
  }
  EXPECT_EQ(NumberOf(taken->get()), 31u)
      << "a session's new owner lost its descriptor";
}

}  // namespace
}  // namespace handoff
