#include "handoff/protocol/frame.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "handoff/protocol/test_frames.h"

namespace handoff {
namespace {

v1::StateType Type(const std::string& name, uint32_t lowest, uint32_t highest) {
  v1::StateType type;
  type.set_name(name);
  type.set_lowest(lowest);
  type.set_highest(highest);
  return type;
}

// "name=version " for each, or the status.
std::string Negotiated(const std::vector<v1::StateType>& writes,
                       const std::vector<v1::StateType>& reads) {
  google::protobuf::RepeatedPtrField<v1::StateType> field(reads.begin(),
                                                          reads.end());
  const auto types = NegotiateTypes(writes, field);
  if (!types.ok()) return types.status().ToString();
  std::string text;
  for (const v1::NegotiatedType& type : *types) {
    text += type.name() + "=" + std::to_string(type.version()) + " ";
  }
  return text;
}

absl::StatusOr<uint32_t> Protocol(uint32_t lowest, uint32_t highest) {
  v1::Hello hello;
  hello.set_lowest_protocol(lowest);
  hello.set_highest_protocol(highest);
  return NegotiateProtocol(hello);
}

TEST(FrameTest, EveryBodyHasANameOfItsOwn) {
  std::set<std::string> names;
  for (const NamedFrame& f : EveryFrame()) {
    const bool known = f.frame.body_case() != v1::Frame::BODY_NOT_SET;
    EXPECT_EQ(BodyName(f.frame) != "unknown", known)
        << f.frame.ShortDebugString();
    EXPECT_TRUE(names.insert(f.name).second) << f.name << " comes twice";
  }
}

TEST(FrameTest, OnlyDescriptorsBlobsAndSessionsAreBatches) {
  for (const NamedFrame& f : EveryFrame()) {
    EXPECT_EQ(IsBatch(f.frame), f.name == "descriptors" || f.name == "blobs" ||
                                    f.name == "sessions")
        << f.name;
  }
}

TEST(FrameTest, ANameHasOneTo255PrintableBytes) {
  EXPECT_TRUE(CheckName("blob", "a").ok());
  EXPECT_TRUE(CheckName("blob", "size \"7\"").ok());
  EXPECT_TRUE(CheckName("blob", std::string(255, 'x')).ok());
  const std::string bad[] = {"",      std::string(256, 'x'),  "a\nb",
                             "a\x7f", std::string("a\0b", 3), "\x1b[2J",
                             "größe"};
  for (const std::string& name : bad) {
    const absl::Status status = CheckName("blob", name);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << '"' << name << '"';
    EXPECT_NE(status.message().find("blob"), std::string::npos) << status;
  }
}

TEST(FrameTest, TextForPeopleTravelsAsPrintableAscii) {
  EXPECT_EQ(Printable("no \"type\" \\ here"), "no \"type\" \\ here");
  EXPECT_EQ(Printable("gr\xc3\xb6\n"), "gr\\xc3\\xb6\\x0a");
  EXPECT_EQ(Printable(std::string(999, 'x') + "\n"), std::string(999, 'x'))
      << "an escape is not cut in two";
  EXPECT_EQ(Printable(std::string(5000, 'x')).size(), kMaxTextBytes);
}

TEST(FrameTest, TheHighestCommonProtocolIsSpoken) {
  EXPECT_EQ(Protocol(kLowestProtocol, kHighestProtocol).value(),
            kHighestProtocol);
  EXPECT_EQ(Protocol(0, kHighestProtocol + 10).value(), kHighestProtocol)
      << "a newer successor that still speaks ours";
  EXPECT_EQ(Protocol(kLowestProtocol, kLowestProtocol).value(), kLowestProtocol)
      << "an older successor";
}

TEST(FrameTest, NoCommonProtocolIsAFailedPreconditionThatNamesBothRanges) {
  const uint32_t ranges[][2] = {{kHighestProtocol + 1, kHighestProtocol + 5},
                                {0, 0},
                                {0, kLowestProtocol - 1},
                                {kHighestProtocol + 4, kHighestProtocol}};
  for (const auto& [lowest, highest] : ranges) {
    const auto version = Protocol(lowest, highest);
    ASSERT_FALSE(version.ok()) << lowest << " to " << highest;
    EXPECT_TRUE(absl::IsFailedPrecondition(version.status()));
    EXPECT_NE(version.status().message().find(std::to_string(lowest) + " to " +
                                              std::to_string(highest)),
              std::string::npos)
        << version.status();
  }
}

TEST(FrameTest, EachTypeIsWrittenInTheHighestVersionThatIsRead) {
  EXPECT_EQ(Negotiated({Type("a", 1, 3)}, {Type("a", 1, 3)}), "a=3 ");
  EXPECT_EQ(Negotiated({Type("a", 1, 3)}, {Type("a", 1, 2)}), "a=2 ")
      << "a downgrade";
  EXPECT_EQ(Negotiated({Type("a", 1, 3)}, {Type("a", 2, 9)}), "a=3 ")
      << "an upgrade";
  EXPECT_EQ(Negotiated({Type("a", 3, 5)}, {Type("a", 1, 3)}), "a=3 ")
      << "one version in common";
  EXPECT_EQ(Negotiated({Type("a", 1, 1), Type("b", 1, 2)},
                       {Type("b", 1, 1), Type("new", 1, 1), Type("a", 1, 1)}),
            "a=1 b=1 ")
      << "in the order of the predecessor, without what it does not write";
  EXPECT_EQ(Negotiated({}, {Type("a", 1, 1)}), "");
}

TEST(FrameTest, ATypeThatTheSuccessorCannotReadIsAFailedPrecondition) {
  const std::vector<v1::StateType> reads[] = {
      {}, {Type("b", 1, 3)}, {Type("a", 4, 5)}, {Type("a", 1, 1)}};
  for (const auto& read : reads) {
    const std::string result = Negotiated({Type("a", 2, 3)}, read);
    EXPECT_NE(result.find("FAILED_PRECONDITION"), std::string::npos) << result;
    EXPECT_NE(result.find("\"a\""), std::string::npos) << result;
  }
}

TEST(FrameTest, AMalformedTypeIsAnInvalidArgumentWhetherItIsWrittenOrNot) {
  const std::vector<v1::StateType> reads[] = {
      {Type("a", 1, 1), Type("a", 1, 1)},
      {Type("a", 1, 1), Type("z", 1, 1), Type("z", 2, 2)},
      {Type("a", 1, 1), Type("z", 2, 1)},
      {Type("a", 1, 1), Type("", 1, 1)},
      {Type("a", 1, 1), Type("z\n", 1, 1)}};
  for (const auto& read : reads) {
    const std::string result = Negotiated({Type("a", 1, 1)}, read);
    EXPECT_NE(result.find("INVALID_ARGUMENT"), std::string::npos) << result;
  }
}

TEST(FrameTest, ARefusalSaysByItsCodeWhatToDoNext) {
  const std::pair<v1::Refuse::Reason, absl::StatusCode> codes[] = {
      {v1::Refuse::REASON_UNSPECIFIED, absl::StatusCode::kFailedPrecondition},
      {v1::Refuse::BUSY, absl::StatusCode::kUnavailable},
      {v1::Refuse::VERSION, absl::StatusCode::kFailedPrecondition},
      {v1::Refuse::SCHEMA, absl::StatusCode::kFailedPrecondition},
      {v1::Refuse::CREDENTIALS, absl::StatusCode::kPermissionDenied},
      {v1::Refuse::LIMITS, absl::StatusCode::kResourceExhausted},
      {v1::Refuse::MALFORMED, absl::StatusCode::kInvalidArgument},
      {static_cast<v1::Refuse::Reason>(99),
       absl::StatusCode::kFailedPrecondition}};
  for (const auto& [reason, code] : codes) {
    v1::Refuse refuse;
    refuse.set_reason(reason);
    refuse.set_detail("the detail");
    const absl::Status status = RefusalStatus(refuse);
    EXPECT_EQ(status.code(), code) << "reason " << reason << ": " << status;
    EXPECT_NE(status.message().find("the detail"), std::string::npos);
  }
}

TEST(FrameTest, AnAbortSaysWhoAbortedAndWhy) {
  v1::Abort abort;
  abort.set_reason(v1::Abort::RESTORE);
  abort.set_detail("session 7 does not parse");
  const absl::Status status = AbortStatus(abort, "the successor");
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(status.message(),
            "the successor aborted: session 7 does not parse (RESTORE)");
  abort.set_reason(static_cast<v1::Abort::Reason>(99));
  EXPECT_TRUE(absl::IsAborted(AbortStatus(abort, "the successor")))
      << "a reason of a later version";
}

}  // namespace
}  // namespace handoff
