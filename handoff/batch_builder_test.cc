#include "handoff/batch_builder.h"

#include <sys/eventfd.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/wrappers.pb.h"
#include "gtest/gtest.h"
#include "handoff/fd/fd_description.h"
#include "handoff/fd/memfd.h"
#include "handoff/fd/scm_rights.h"
#include "handoff/protocol/settings.h"
#include "handoff/protocol/staged_inventory.h"
#include "handoff/staged_state.h"

namespace handoff {
namespace {

SharedFd Event() {
  return std::make_shared<UniqueFd>(::eventfd(0, EFD_CLOEXEC));
}

GroupSnapshot::Item Item(uint64_t id, int descriptors, size_t state_bytes = 0) {
  GroupSnapshot::Item item;
  item.record.set_id(id);
  item.record.set_type("t");
  for (int i = 0; i < descriptors; ++i) {
    item.descriptors.push_back(Event());
    v1::SessionDescriptor* d = item.record.add_descriptors();
    d->set_name("d" + std::to_string(i));
    d->set_sent_in(static_cast<uint32_t>(item.descriptors.size()));
    item.infos.push_back(*DescribeDescriptor(item.descriptors.back()->get()));
  }
  item.record.mutable_state()->set_value(std::string(state_bytes, 'x'));
  return item;
}

// What a receiver makes of the frames.
StagedInventory Receive(std::vector<OutgoingFrame>& frames) {
  StagedInventory inventory{Limits()};
  for (OutgoingFrame& frame : frames) {
    std::vector<UniqueFd> fds;
    for (SharedFd& fd : frame.descriptors) {
      fds.emplace_back(::dup(fd->get()));
    }
    const absl::Status applied = inventory.Apply(frame.frame, std::move(fds));
    EXPECT_TRUE(applied.ok()) << applied;
  }
  return inventory;
}

TEST(BatchBuilderTest, KeepsToTheLimitsOfAFrame) {
  BatchBuilder builder;
  builder.AddDescriptor(
      {v1::Descriptors::HANDOFF_LISTENER, "handoff", "/h", Event()});
  for (uint64_t id = 1; id <= 1000; ++id) {
    builder.AddSession(Item(id, id % 3 + 1, (id % 7) * 500));
  }
  std::vector<OutgoingFrame> frames = *builder.Take();
  EXPECT_GT(frames.size(), 8u);
  for (const OutgoingFrame& frame : frames) {
    EXPECT_LE(frame.descriptors.size(), kMaxDescriptorsPerMessage);
    EXPECT_LE(frame.frame.ByteSizeLong(), kMaxMessageBytes);
  }
  EXPECT_TRUE(builder.Take()->empty());
}

TEST(BatchBuilderTest, EverySessionArrivesWithItsOwnDescriptors) {
  BatchBuilder builder;
  builder.AddDescriptor(
      {v1::Descriptors::HANDOFF_LISTENER, "handoff", "/h", Event()});
  for (uint64_t id = 1; id <= 300; ++id) {
    builder.AddSession(Item(id, 2));
  }
  std::vector<OutgoingFrame> frames = *builder.Take();
  StagedInventory inventory = Receive(frames);
  ASSERT_EQ(inventory.sessions().size(), 300u);
  for (auto& [id, session] : inventory.sessions()) {
    EXPECT_EQ(session.descriptors.size(), 2u) << id;
  }
}

TEST(BatchBuilderTest, TheLargeStatesOfAFrameShareOneMemfd) {
  BatchBuilder builder;
  for (uint64_t id = 1; id <= 100; ++id) {
    // Every third one is small.
    GroupSnapshot::Item item =
        Item(id, 1, id % 3 == 0 ? 10 : kInlineStateBytes + id);
    item.record.mutable_descriptors(0)->set_input("in" + std::to_string(id));
    builder.AddSession(std::move(item));
  }
  std::vector<OutgoingFrame> frames = *builder.Take();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].descriptors.size(), 101u);
  EXPECT_EQ(frames[0].described, 100u) << "the memfd is not described yet";
  StagedInventory inventory = Receive(frames);
  const Limits limits;
  StateReader reader(limits);
  auto changes = inventory.TakeSessionChanges();
  ASSERT_EQ(changes.arrived.size(), 100u);
  for (StagedInventory::Arrival& arrival : changes.arrived) {
    const auto snapshot = reader.Read(arrival, 1);
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    const uint64_t id = arrival.id;
    EXPECT_EQ(snapshot->state.value().size(),
              id % 3 == 0 ? 10 : kInlineStateBytes + id);
    EXPECT_EQ(snapshot->input("d0"), "in" + std::to_string(id));
  }
}

TEST(BatchBuilderTest, AStateThatIsNotWhereItsRecordSaysIsRefused) {
  const Limits limits;
  for (const auto& [at, size] : std::vector<std::pair<uint64_t, uint64_t>>{
           {1'000'000, 1}, {UINT64_MAX, 1}, {0, 1'000'000}, {3, 5000}}) {
    BatchBuilder builder;
    builder.AddSession(Item(1, 1, 2 * kInlineStateBytes));
    std::vector<OutgoingFrame> frames = *builder.Take();
    auto* record = frames[0].frame.mutable_sessions()->mutable_records(0);
    record->set_state_at(at);
    record->set_state_size(size);
    StagedInventory inventory = Receive(frames);
    auto changes = inventory.TakeSessionChanges();
    ASSERT_EQ(changes.arrived.size(), 1u);
    StateReader reader(limits);
    const auto read = reader.Read(changes.arrived[0], 1);
    EXPECT_TRUE(absl::IsInvalidArgument(read.status()))
        << at << ", " << size << ": " << read.status();
  }
}

TEST(BatchBuilderTest, ALargeBlobTravelsInAMemfdAndASmallOneInline) {
  google::protobuf::StringValue value;
  value.set_value(std::string(kInlineStateBytes * 10, 'b'));
  google::protobuf::Any large;
  large.PackFrom(value);
  value.set_value("s");
  google::protobuf::Any small;
  small.PackFrom(value);
  BatchBuilder builder;
  ASSERT_TRUE(builder.AddBlob("large", large).ok());
  ASSERT_TRUE(builder.AddBlob("small", small).ok());
  std::vector<OutgoingFrame> frames = *builder.Take();
  StagedInventory inventory = Receive(frames);
  ASSERT_NE(inventory.blobs()["large"].memfd, nullptr);
  EXPECT_EQ(*ReadSealedMemfd(inventory.blobs()["large"].memfd->get(), 1 << 20),
            large.SerializeAsString());
  EXPECT_EQ(inventory.blobs()["small"].memfd, nullptr);
  EXPECT_EQ(inventory.blobs()["small"].value.SerializeAsString(),
            small.SerializeAsString());
}

TEST(BatchBuilderTest, KeptAndClosedFollowInTheirOrder) {
  BatchBuilder builder;
  builder.AddSession(Item(1, 1));
  builder.AddSession(Item(2, 1));
  builder.AddClosed(1);
  v1::KeptSession kept;
  kept.set_id(2);
  kept.set_type("t");
  kept.set_reason("TLS");
  builder.AddKept(kept);
  std::vector<OutgoingFrame> frames = *builder.Take();
  StagedInventory inventory = Receive(frames);
  EXPECT_TRUE(inventory.sessions().empty());
  EXPECT_EQ(inventory.closed(), std::set<uint64_t>{1});
  EXPECT_EQ(inventory.kept().at(2).reason(), "TLS");
}

}  // namespace
}  // namespace handoff
