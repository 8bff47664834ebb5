#include "handoff/query.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/fake_query_server.h"
#include "handoff/fd/fd_table.h"
#include "handoff/fd/peer_identity.h"
#include "handoff/transport/channel.h"

namespace handoff {
namespace {

using ::testing::HasSubstr;

v1::QueryReply Items(const std::vector<std::string>& names) {
  v1::QueryReply part;
  for (const std::string& name : names) part.add_items()->set_name(name);
  return part;
}

v1::LedgerHandoff& AddHandoff(v1::QueryReply& part, uint64_t id,
                              const std::vector<std::string>& entries) {
  v1::LedgerHandoff& handoff = *part.add_handoffs();
  handoff.set_handoff_id(id);
  for (const std::string& name : entries) {
    handoff.add_entries()->set_name(name);
  }
  return handoff;
}

// "1: a b; 2: c"
std::string Summary(const v1::QueryReply& reply) {
  std::string text;
  for (const v1::LedgerHandoff& handoff : reply.handoffs()) {
    absl::StrAppend(&text, text.empty() ? "" : "; ", handoff.handoff_id(), ":");
    for (const v1::LedgerEntry& entry : handoff.entries()) {
      absl::StrAppend(&text, " ", entry.name());
    }
  }
  return text;
}

// One datagram past the channel, as a peer without one could send it.
FakeQueryServer::Script Raw(std::string bytes) {
  return [bytes = std::move(bytes)](Channel& channel) {
    ::send(channel.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    FakeQueryServer::Hang(channel);
  };
}

TEST(AskTest, BringsTheStatus) {
  v1::QueryReply answer;
  answer.mutable_status()->set_pid(42);
  FakeQueryServer server(FakeQueryServer::Answer({answer}));
  const auto reply = Ask(server.path(), v1::Query::STATUS);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->status().pid(), 42);
  EXPECT_TRUE(reply->last());
}

TEST(AskTest, AsksWhatItWasToldToAskAndProvesWhoAsks) {
  v1::Query::Kind asked = v1::Query::KIND_UNSPECIFIED;
  size_t descriptors = 0;
  bool identified = false;
  {
    FakeQueryServer server([&](Channel& channel) {
      auto question = channel.Receive();
      if (!question.ok()) return;
      asked = question->frame.query().kind();
      descriptors = question->descriptors.size();
      identified = channel.peer() != nullptr &&
                   channel.peer()->credentials.pid == ::getpid();
    });
    EXPECT_FALSE(Ask(server.path(), v1::Query::LEDGER).ok());
  }
  EXPECT_EQ(asked, v1::Query::LEDGER);
  EXPECT_EQ(descriptors, 1u) << "the pidfd, for kernels before 6.5";
  EXPECT_TRUE(identified);
}

TEST(AskTest, PutsItemsOfManyFramesTogether) {
  FakeQueryServer server(FakeQueryServer::Answer(
      {Items({"a", "b"}), Items({}), Items({"c"}), Items({})}));
  const auto reply = Ask(server.path(), v1::Query::LIST);
  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->items_size(), 3);
  EXPECT_EQ(reply->items(0).name(), "a");
  EXPECT_EQ(reply->items(2).name(), "c");
}

TEST(AskTest, ContinuesAHandoffThatWasSplit) {
  v1::QueryReply first;
  AddHandoff(first, 1, {"a"}).set_result("committed");
  AddHandoff(first, 2, {"b", "c"}).set_result("aborted");
  v1::QueryReply second;
  AddHandoff(second, 2, {"d"});
  v1::QueryReply third;
  AddHandoff(third, 2, {"e"});
  AddHandoff(third, 3, {});
  FakeQueryServer server(FakeQueryServer::Answer({first, second, third}));
  const auto reply = Ask(server.path(), v1::Query::LEDGER);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(Summary(*reply), "1: a; 2: b c d e; 3:");
  EXPECT_EQ(reply->handoffs(1).result(), "aborted");
}

TEST(AskTest, RefusalsSayWhatToDoNext) {
  const std::vector<std::pair<v1::Refuse::Reason, absl::StatusCode>> codes = {
      {v1::Refuse::BUSY, absl::StatusCode::kUnavailable},
      {v1::Refuse::VERSION, absl::StatusCode::kFailedPrecondition},
      {v1::Refuse::SCHEMA, absl::StatusCode::kFailedPrecondition},
      {v1::Refuse::CREDENTIALS, absl::StatusCode::kPermissionDenied},
      {v1::Refuse::LIMITS, absl::StatusCode::kResourceExhausted},
      {v1::Refuse::MALFORMED, absl::StatusCode::kInvalidArgument},
      {v1::Refuse::REASON_UNSPECIFIED, absl::StatusCode::kUnknown},
  };
  for (const auto& [reason, code] : codes) {
    FakeQueryServer server(FakeQueryServer::Refuse(reason, "the detail"));
    const auto reply = Ask(server.path(), v1::Query::STATUS);
    EXPECT_EQ(reply.status().code(), code) << reply.status();
    EXPECT_THAT(reply.status().message(), HasSubstr("the detail"));
  }
  FakeQueryServer server(FakeQueryServer::Refuse(v1::Refuse::BUSY, ""));
  EXPECT_THAT(Ask(server.path(), v1::Query::STATUS).status().message(),
              HasSubstr("BUSY"));
}

// Closing a socket with something unread gives the other side ECONNRESET, in
// front of what was sent before.
TEST(AskTest, HearsARefusalFromOneWhoDidNotReadTheQuestion) {
  FakeQueryServer server([](Channel& channel) {
    v1::Frame frame;
    frame.mutable_refuse()->set_reason(v1::Refuse::CREDENTIALS);
    channel.Send(frame, {}).IgnoreError();
  });
  const auto reply = Ask(server.path(), v1::Query::STATUS);
  EXPECT_TRUE(absl::IsPermissionDenied(reply.status())) << reply.status();
}

// Answers as another user: credentials belong to the thread, by the system call
// without the C library.
FakeQueryServer::Script AsUser(uid_t user, FakeQueryServer::Script script) {
  return [user, script = std::move(script)](Channel& channel) {
    EXPECT_EQ(::syscall(SYS_setresuid, user, user, user), 0);
    script(channel);
  };
}

TEST(AskTest, RootTrustsTheOwnerOfTheSocketAndNobodyElse) {
  constexpr uid_t kOwner = 1;
  FakeQueryServer owner(
      AsUser(kOwner, FakeQueryServer::Answer({Items({"a"})})));
  FakeQueryServer stranger(
      AsUser(kOwner + 1, FakeQueryServer::Answer({Items({"a"})})));
  if (::chown(owner.path().c_str(), kOwner, -1) != 0 ||
      ::chown(stranger.path().c_str(), kOwner, -1) != 0) {
    GTEST_SKIP() << "only root can be several users";
  }
  EXPECT_EQ(Ask(owner.path(), v1::Query::LIST).status(), absl::OkStatus());
  const auto reply = Ask(stranger.path(), v1::Query::LIST);
  EXPECT_TRUE(absl::IsPermissionDenied(reply.status())) << reply.status();
}

TEST(AskTest, NobodyThereIsNotFound) {
  FakeQueryServer server(FakeQueryServer::Hang);
  const auto reply = Ask(server.path() + "-other", v1::Query::STATUS);
  EXPECT_TRUE(absl::IsNotFound(reply.status())) << reply.status();
}

TEST(AskTest, GivesUpAtTheDeadlineWhenThereIsNoAnswer) {
  FakeQueryServer server(FakeQueryServer::Hang);
  const absl::Time begun = absl::Now();
  const auto reply =
      Ask(server.path(), v1::Query::STATUS, absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
  EXPECT_GE(absl::Now() - begun, absl::Milliseconds(50));
}

TEST(AskTest, TheDeadlineIsForTheWholeReply) {
  FakeQueryServer server([](Channel& channel) {
    v1::Frame frame;
    *frame.mutable_query_reply() = Items({"again"});
    while (
        channel.SendBefore(absl::Now() + absl::Seconds(30), frame, {}).ok()) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  });
  const auto reply =
      Ask(server.path(), v1::Query::LIST, absl::Milliseconds(100));
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
}

TEST(AskTest, AConnectionThatClosesMidwayIsUnavailable) {
  FakeQueryServer server([](Channel& channel) {
    channel.Receive().IgnoreError();
    v1::Frame frame;
    *frame.mutable_query_reply() = Items({"and then"});
    channel.Send(frame, {}).IgnoreError();
  });
  const auto reply = Ask(server.path(), v1::Query::LIST);
  EXPECT_TRUE(absl::IsUnavailable(reply.status())) << reply.status();
  EXPECT_THAT(reply.status().message(), HasSubstr("before its last reply"));
}

TEST(AskTest, GarbageIsInvalid) {
  FakeQueryServer server(Raw("\xff\xff\xff\xff garbage"));
  const auto reply = Ask(server.path(), v1::Query::STATUS);
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status();
  EXPECT_THAT(reply.status().message(), HasSubstr("malformed"));
}

TEST(AskTest, FramesOutOfOrderAreInvalid) {
  v1::Frame frame;
  frame.set_seq(2);
  frame.mutable_query_reply()->set_last(true);
  FakeQueryServer server(Raw(frame.SerializeAsString()));
  const auto reply = Ask(server.path(), v1::Query::LIST);
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status();
}

TEST(AskTest, AFrameThatAnswersNoQuestionIsInvalid) {
  FakeQueryServer server([](Channel& channel) {
    v1::Frame frame;
    frame.mutable_offer();
    channel.Send(frame, {}).IgnoreError();
    FakeQueryServer::Hang(channel);
  });
  const auto reply = Ask(server.path(), v1::Query::STATUS);
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status();
}

TEST(AskTest, IgnoresAFrameOfALaterVersionUnlessItMustBeUnderstood) {
  for (const bool must_understand : {false, true}) {
    FakeQueryServer server([&](Channel& channel) {
      v1::Frame later;
      later.set_must_understand(must_understand);
      channel.Send(later, {}).IgnoreError();
      v1::Frame frame;
      frame.mutable_query_reply()->set_last(true);
      channel.Send(frame, {}).IgnoreError();
      FakeQueryServer::Hang(channel);
    });
    const auto reply = Ask(server.path(), v1::Query::LIST);
    EXPECT_EQ(reply.status().code(), must_understand
                                         ? absl::StatusCode::kInvalidArgument
                                         : absl::StatusCode::kOk)
        << reply.status();
  }
}

TEST(AskTest, AReplyWithoutItsStatusIsInvalid) {
  FakeQueryServer server(FakeQueryServer::Answer({Items({})}));
  const auto reply = Ask(server.path(), v1::Query::STATUS);
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status();
}

// Sends the same part for as long as it is wanted.
FakeQueryServer::Script Endless(v1::QueryReply part) {
  return [part = std::move(part)](Channel& channel) {
    v1::Frame frame;
    *frame.mutable_query_reply() = part;
    while (
        channel.SendBefore(absl::Now() + absl::Seconds(30), frame, {}).ok()) {
    }
  };
}

absl::StatusCode CodeWithin(ReplyLimits limits, v1::Query::Kind kind,
                            const FakeQueryServer& server) {
  return Ask(server.path(), kind, absl::Seconds(30), {}, limits)
      .status()
      .code();
}

TEST(AskTest, TooManyItemsEndTheReply) {
  ReplyLimits limits;
  limits.items = 100;
  v1::QueryReply exact = Items(std::vector<std::string>(100, "a"));
  FakeQueryServer enough(FakeQueryServer::Answer({exact}));
  EXPECT_EQ(CodeWithin(limits, v1::Query::LIST, enough), absl::StatusCode::kOk);
  FakeQueryServer items(Endless(Items({"a", "b"})));
  EXPECT_EQ(CodeWithin(limits, v1::Query::LIST, items),
            absl::StatusCode::kResourceExhausted);
}

TEST(AskTest, TooManyEntriesEndTheReply) {
  ReplyLimits limits;
  limits.items = 100;
  v1::QueryReply one_handoff;
  AddHandoff(one_handoff, 1, {"a", "b"});
  FakeQueryServer entries(Endless(one_handoff));
  EXPECT_EQ(CodeWithin(limits, v1::Query::LEDGER, entries),
            absl::StatusCode::kResourceExhausted);
  v1::QueryReply two_handoffs;
  AddHandoff(two_handoffs, 1, {});
  AddHandoff(two_handoffs, 2, {});
  FakeQueryServer handoffs(Endless(two_handoffs));
  EXPECT_EQ(CodeWithin(limits, v1::Query::LEDGER, handoffs),
            absl::StatusCode::kResourceExhausted);
}

TEST(AskTest, TooManyBytesEndTheReply) {
  ReplyLimits limits;
  limits.bytes = 1024 * 1024;
  FakeQueryServer server(Endless(Items({std::string(64 * 1024, 'x')})));
  EXPECT_EQ(CodeWithin(limits, v1::Query::LIST, server),
            absl::StatusCode::kResourceExhausted);
}

// Else a peer could send for as long as the deadline allows, for nothing.
TEST(AskTest, FramesThatAreIgnoredCountToo) {
  ReplyLimits limits;
  limits.bytes = 1024;
  FakeQueryServer server([](Channel& channel) {
    v1::Frame later;
    while (
        channel.SendBefore(absl::Now() + absl::Seconds(30), later, {}).ok()) {
    }
  });
  EXPECT_EQ(CodeWithin(limits, v1::Query::LIST, server),
            absl::StatusCode::kResourceExhausted);
}

TEST(AskTest, LeavesNoDescriptorOpen) {
  NoDescriptorLeak no_leak;
  {
    // Descriptors come with each frame, as from a process that proves itself.
    FakeQueryServer server(
        FakeQueryServer::Answer({Items({"a"}), Items({"b"})}));
    EXPECT_TRUE(Ask(server.path(), v1::Query::LIST).ok());
  }
  {
    FakeQueryServer server(FakeQueryServer::Refuse(v1::Refuse::BUSY, ""));
    EXPECT_FALSE(Ask(server.path(), v1::Query::LIST).ok());
  }
}

}  // namespace
}  // namespace handoff
