// A predecessor that does not keep to the protocol: its successor exits with
// the reason, tells it, and leaves nothing behind.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "handoff/fd/memfd.h"
#include "handoff/fd/shared_word.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/transport/rendezvous.h"
#include "tests/process/hostile_peer.h"
#include "tests/process/toy.pb.h"
#include "tests/process/toy_control.h"
#include "tests/process/toy_process.h"

namespace handoff::toy {
namespace {

constexpr uint64_t kSession = (uint64_t{1} << 40) + 1;

UniqueFd UnsealedMemfd(size_t size) {
  auto fd = MakeMemfd("hostile");
  EXPECT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(::ftruncate(fd->get(), static_cast<off_t>(size)), 0);
  return *std::move(fd);
}

UniqueFd PipeEnd() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd other(ends[1]);
  return UniqueFd(ends[0]);
}

// A service with one session, which it offers to whoever says Hello.
class FakePredecessor {
 public:
  explicit FakePredecessor(const std::string& path)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
        client_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    auto met = Meet(path, absl::Now() + kPatience);
    EXPECT_TRUE(met.ok()) << met.status();
    if (met.ok()) handoff_listener_ = std::move(met->listener);
    auto word = SharedWord::Create();
    EXPECT_TRUE(word.ok()) << word.status();
    if (word.ok()) word_ = std::make_unique<SharedWord>(*std::move(word));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(listener_.get(), generic, size), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
    EXPECT_EQ(::connect(client_.get(), generic, size), 0);
    session_ =
        UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(::send(client_.get(), "hello", 5, 0), 5);
  }

  void AwaitHello() {
    pollfd polled = {handoff_listener_.get(), POLLIN, 0};
    ASSERT_EQ(::poll(&polled, 1, absl::ToInt64Milliseconds(kPatience)), 1);
    peer_ = std::make_unique<HostilePeer>(UniqueFd(
        ::accept4(handoff_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    EXPECT_TRUE(peer_->Receive().has_hello());
  }

  v1::Frame Offer() const {
    v1::Frame frame;
    frame.set_must_understand(true);
    v1::Offer& offer = *frame.mutable_offer();
    offer.set_protocol(1);
    offer.set_handoff_id(42);
    offer.set_generation(1);
    offer.set_label("hostile");
    offer.set_descriptors(2);
    offer.set_sessions(1);
    offer.set_descriptors_total(100);
    for (const char* name : {"toy", "counters"}) {
      v1::NegotiatedType& writes = *offer.add_writes();
      writes.set_name(name);
      writes.set_version(1);
    }
    return frame;
  }
  // `word`: in place of the real one.
  void SendOffer(int word = -1,
                 const std::function<void(v1::Frame&)>& tamper = nullptr) {
    const UniqueFd types = UnsealedMemfd(0);
    peer_->Send(Offer(),
                {peer_->pidfd(), word < 0 ? word_->fd() : word, types.get()},
                tamper);
  }

  void SendDescriptors(const std::function<void(v1::Frame&)>& tamper = nullptr,
                       int listener = -1) {
    v1::Frame frame;
    v1::Descriptors& batch = *frame.mutable_descriptors_batch();
    batch.add_entries()->set_role(v1::Descriptors::HANDOFF_LISTENER);
    batch.mutable_entries(0)->set_name("handoff");
    batch.add_entries()->set_role(v1::Descriptors::LISTENER);
    batch.mutable_entries(1)->set_name("toy");
    batch.mutable_entries(1)->set_address("tcp:127.0.0.1:0");
    peer_->Send(
        frame,
        {handoff_listener_.get(), listener < 0 ? listener_.get() : listener},
        tamper);
  }

  // `value` is no ToyCounters where it is to be hostile.
  void SendBlob(const google::protobuf::Message& value,
                const char* name = "counters") {
    v1::Frame frame;
    v1::Blobs::Entry& entry = *frame.mutable_blobs()->add_entries();
    entry.set_name(name);
    entry.mutable_value()->PackFrom(value);
    peer_->Send(frame);
  }

  // `state`: a memfd with the session's state, instead of none.
  void SendSession(int state = -1) {
    v1::Frame frame;
    v1::SessionRecord& record = *frame.mutable_sessions()->add_records();
    record.set_id(kSession);
    record.set_type("toy");
    record.set_opened_at(1);
    v1::SessionDescriptor& client = *record.add_descriptors();
    client.set_name("client");
    client.set_sent_in(1);
    std::vector<int> fds = {session_.get()};
    if (state >= 0) {
      fds.push_back(state);
      record.set_state_in(2);
    }
    peer_->Send(frame, fds);
  }

  void SendPreCopied(uint64_t descriptors = 2, uint64_t blobs = 1) {
    v1::Frame frame;
    frame.mutable_pre_copied()->set_descriptors(descriptors);
    frame.mutable_pre_copied()->set_blobs(blobs);
    frame.mutable_pre_copied()->set_sessions(1);
    peer_->Send(frame);
  }

  // Everything up to what the successor answers with Ready.
  void Stage(int state = -1) {
    SendOffer();
    SendDescriptors();
    SendBlob(ToyCounters());
    SendSession(state);
    SendPreCopied();
  }

  void SendFinal(uint64_t sessions, uint64_t blobs = 1) {
    v1::Frame frame;
    frame.set_must_understand(true);
    frame.mutable_final()->set_descriptors(2);
    frame.mutable_final()->set_blobs(blobs);
    frame.mutable_final()->set_sessions(sessions);
    peer_->Send(frame);
  }

  HostilePeer& peer() { return *peer_; }
  void Close() { peer_.reset(); }
  uint32_t word() const { return word_->Load(); }
  // What has come for the session, which nobody else may have read.
  std::string Unread() const {
    char bytes[16];
    const ssize_t n =
        ::recv(session_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    return n < 0 ? "" : std::string(bytes, static_cast<size_t>(n));
  }

 private:
  UniqueFd listener_;
  UniqueFd client_;
  UniqueFd session_;
  UniqueFd handoff_listener_;
  std::unique_ptr<SharedWord> word_;
  std::unique_ptr<HostilePeer> peer_;
};

// Whether `text` is `pattern`, in which one * stands for what is not known.
bool Matches(absl::string_view text, absl::string_view pattern) {
  const size_t star = pattern.find('*');
  if (star == pattern.npos) return text == pattern;
  return text.size() + 1 >= pattern.size() &&
         absl::StartsWith(text, pattern.substr(0, star)) &&
         absl::EndsWith(text, pattern.substr(star + 1));
}

struct Attack {
  std::string name;
  std::function<void(FakePredecessor&)> attack;
  // What the successor says when it exits, and what it sends.
  std::string failure;
  std::string verdict;
  // Which of its deadlines is to expire, if any.
  std::string deadline = "";
};

class HostilePredecessorTest : public testing::TestWithParam<Attack> {};

TEST_P(HostilePredecessorTest, ItsSuccessorSaysWhyAndLeavesNothingBehind) {
  const ShortFolder folder;
  FakePredecessor predecessor(folder / "h");
  Settings settings = {
      {"handoff", folder / "h"}, {"hello", "60s"}, {"frame", "60s"}};
  if (!GetParam().deadline.empty()) settings[GetParam().deadline] = "300ms";
  ToyProcess successor(settings);
  ASSERT_NO_FATAL_FAILURE(predecessor.AwaitHello()) << successor.Said();
  GetParam().attack(predecessor);
  const std::string failure = successor.WaitFor("failed ");
  EXPECT_TRUE(Matches(failure, "failed " + GetParam().failure))
      << successor.Said();
  if (!GetParam().verdict.empty()) {
    const std::string verdict = predecessor.peer().Verdict();
    EXPECT_TRUE(Matches(verdict, GetParam().verdict)) << verdict;
  }
  EXPECT_EQ(successor.WaitExit(), 1) << successor.Said();

  EXPECT_NE(predecessor.word(), 1u) << "it has committed";
  EXPECT_EQ(predecessor.Unread(), "hello") << "the session was touched";
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "")) {
    files.insert(entry.path().filename());
  }
  EXPECT_EQ(files, (std::set<std::string>{"h", "h.lock"}));
}

const Attack kAttacks[] = {
    {"Silence", [](FakePredecessor&) {},
     "DEADLINE_EXCEEDED: the predecessor does not answer",
     "DEADLINE: the predecessor does not answer", "hello"},
    {"HalfAnOffer",
     [](FakePredecessor& p) {
       v1::Frame offer = p.Offer();
       offer.set_seq(1);
       const std::string bytes = offer.SerializeAsString();
       p.peer().SendBytes(bytes.substr(0, bytes.size() - 3));
     },
     "INVALID_ARGUMENT: a message is no frame",
     "MALFORMED: a message is no frame"},
    {"AFrameThatIsTooLarge",
     [](FakePredecessor& p) { p.peer().SendBytes(std::string(131'073, 'x')); },
     "DATA_LOSS: a message is longer than 131072 bytes (MSG_TRUNC)",
     "TRUNCATED: a message is longer than 131072 bytes (MSG_TRUNC)"},
    {"TheWrongDescriptorCount",
     [](FakePredecessor& p) {
       p.SendOffer(-1, [](v1::Frame& f) { f.set_descriptor_count(4); });
     },
     "INVALID_ARGUMENT: frame 1 came with 3 descriptors, says 4 and describes "
     "3",
     "MALFORMED: frame 1 came with 3 descriptors, says 4 and describes 3"},
    {"AWordThatIsNotSealed",
     [](FakePredecessor& p) { p.SendOffer(UnsealedMemfd(4096).get()); },
     "ABORTED: the memfd has the seals 0x20, not all of 0x7: its content could "
     "change",
     "MALFORMED: the memfd has the seals 0x20, not all of 0x7: its content "
     "could change"},
    {"AWordThatIsAPipe",
     [](FakePredecessor& p) { p.SendOffer(PipeEnd().get()); },
     "ABORTED: not a memfd", "MALFORMED: not a memfd"},
    {"AnOfferOfAnUnknownType",
     [](FakePredecessor& p) {
       p.SendOffer(-1, [](v1::Frame& f) {
         f.mutable_offer()->mutable_writes(0)->set_name("alien");
       });
     },
     "INVALID_ARGUMENT: an offer of version 1 of state type \"alien\", which "
     "this process did not say that it reads",
     "MISMATCH: an offer of version 1 of state type \"alien\", which this "
     "process did not say that it reads"},
    {"AnOfferAboveTheLimits",
     [](FakePredecessor& p) {
       p.SendOffer(-1, [](v1::Frame& f) {
         f.mutable_offer()->set_sessions(1'000'001);
       });
     },
     "RESOURCE_EXHAUSTED: an offer of 1000001 sessions and 2 descriptors; the "
     "limits are 1000000 and 10000",
     "LIMITS: an offer of 1000001 sessions and 2 descriptors; the limits are "
     "1000000 and 10000"},
    {"SilenceAfterTheOffer", [](FakePredecessor& p) { p.SendOffer(); },
     "DEADLINE_EXCEEDED: the predecessor sends nothing",
     "DEADLINE: the predecessor sends nothing", "frame"},
    {"AnEndOfFileOfAProcessThatLives",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.Close();
     },
     "DEADLINE_EXCEEDED: the predecessor closed the connection but lives", "",
     "frame"},
    {"APipeInThePlaceOfAListener",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors(
           [](v1::Frame& f) {
             f.mutable_descriptors(1)->set_kind(
                 v1::DescriptorInfo::TCP_LISTENER);
             f.mutable_descriptors(1)->set_device(0);
             f.mutable_descriptors(1)->set_inode(0);
             f.mutable_descriptors(1)->set_socket_cookie(7);
             f.mutable_descriptors(1)->set_local_address("127.0.0.1:1");
           },
           PipeEnd().get());
     },
     "FAILED_PRECONDITION: a descriptor is pipe (*), the sender says listener "
     "127.0.0.1:1 (cookie 7)",
     "MISMATCH: a descriptor is pipe (*), the sender says listener 127.0.0.1:1 "
     "(cookie 7)"},
    {"AnotherSocketsCookie",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors([](v1::Frame& f) {
         f.mutable_descriptors(1)->set_socket_cookie(7);
       });
     },
     "FAILED_PRECONDITION: a descriptor is listener 127.0.0.1:* (cookie 7)",
     "MISMATCH: a descriptor is listener 127.0.0.1:* (cookie 7)"},
    {"NoHandoffListener",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors([](v1::Frame& f) {
         f.mutable_descriptors_batch()->mutable_entries(0)->set_role(
             v1::Descriptors::OTHER);
       });
     },
     "INVALID_ARGUMENT: the handoff listener must be the first descriptor, "
     "once",
     "MALFORMED: the handoff listener must be the first descriptor, once"},
    {"AFrameThatIsTheSuccessors",
     [](FakePredecessor& p) {
       p.SendOffer();
       v1::Frame committed;
       committed.mutable_committed();
       p.peer().Send(committed);
     },
     "INVALID_ARGUMENT: frame \"committed\" does not belong here",
     "MALFORMED: frame \"committed\" does not belong here"},
    {"WrongCountsInPreCopied",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors();
       p.SendBlob(ToyCounters());
       p.SendSession();
       p.SendPreCopied(5);
     },
     "INVALID_ARGUMENT: the predecessor counts 5 descriptors, 1 blobs and 1 "
     "sessions; 2, 1 and 1 have come",
     "MISMATCH: the predecessor counts 5 descriptors, 1 blobs and 1 sessions; "
     "2, 1 and 1 have come"},
    {"ABlobBehindASession",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors();
       p.SendSession();
       p.SendBlob(ToyCounters());
     },
     "INVALID_ARGUMENT: frame \"blobs\" comes after the first sessions",
     "MALFORMED: frame \"blobs\" comes after the first sessions"},
    // The successor has restored the session by now, or is about to.
    {"AnAbortBehindASession",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors();
       p.SendBlob(ToyCounters());
       p.SendSession();
       v1::Frame abort;
       abort.mutable_abort()->set_reason(v1::Abort::STOPPED);
       abort.mutable_abort()->set_detail("enough");
       p.peer().Send(abort);
     },
     "ABORTED: the predecessor aborted: enough (STOPPED)", ""},
    {"ASessionThatComesAgainWithADescriptorTooMany",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors();
       p.SendBlob(ToyCounters());
       p.SendSession();
       v1::Frame again;
       v1::SessionRecord& record = *again.mutable_sessions()->add_records();
       record.set_id(kSession);
       record.set_type("toy");
       record.add_descriptors()->set_name("client");
       record.add_descriptors()->set_name("another");
       record.mutable_descriptors(1)->set_sent_in(9);
       p.peer().Send(again);
     },
     "INVALID_ARGUMENT: a session names descriptor 9 of 0, which is not there "
     "or is taken",
     "MALFORMED: a session names descriptor 9 of 0, which is not there or is "
     "taken"},
    {"WrongCountsInFinal",
     [](FakePredecessor& p) {
       p.Stage();
       EXPECT_TRUE(p.peer().Receive().has_ready());
       p.SendFinal(9);
     },
     "INVALID_ARGUMENT: the predecessor counts 2 descriptors, 1 blobs and 9 "
     "sessions; 2, 1 and 1 have come",
     "MISMATCH: the predecessor counts 2 descriptors, 1 blobs and 9 sessions; "
     "2, 1 and 1 have come"},
    {"ABlobOfAnUnknownType",
     [](FakePredecessor& p) {
       p.SendOffer();
       p.SendDescriptors();
       p.SendBlob(ToyState());
       p.SendSession();
       p.SendPreCopied();
     },
     "INVALID_ARGUMENT: blob \"counters\" cannot be restored: no counters",
     "STOPPED: the successor ended before it was ready"},
};

INSTANTIATE_TEST_SUITE_P(Sends, HostilePredecessorTest,
                         testing::ValuesIn(kAttacks),
                         [](const testing::TestParamInfo<Attack>& info) {
                           return info.param.name;
                         });

TEST(HostilePredecessorSessionTest,
     StateThatIsNotSealedIsRefusedWithTheReason) {
  const ShortFolder folder;
  FakePredecessor predecessor(folder / "h");
  ToyProcess successor({{"handoff", folder / "h"}});
  ASSERT_NO_FATAL_FAILURE(predecessor.AwaitHello()) << successor.Said();
  predecessor.Stage(UnsealedMemfd(100).get());
  const v1::Frame frame = predecessor.peer().Receive();
  ASSERT_EQ(frame.ready().refused_size(), 1) << frame.DebugString();
  EXPECT_EQ(frame.ready().refused(0).id(), kSession);
  EXPECT_EQ(frame.ready().refused(0).reason(),
            "the memfd has the seals 0x20, not all of 0xf: its content could "
            "change");
}

TEST(HostilePredecessorBlobTest,
     TheLibrarysBlobsThatMakeNoSenseCostNoHandoffAndNoRefusal) {
  const ShortFolder folder;
  FakePredecessor predecessor(folder / "h");
  ToyProcess successor({{"handoff", folder / "h"}, {"control", folder / "c"}});
  ASSERT_NO_FATAL_FAILURE(predecessor.AwaitHello()) << successor.Said();
  predecessor.SendOffer();
  predecessor.SendDescriptors();
  predecessor.SendBlob(ToyCounters());
  predecessor.SendBlob(ToyCounters(), "handoff.events");
  predecessor.SendBlob(ToyCounters(), "handoff.of-a-later-version");
  predecessor.SendSession();
  predecessor.SendPreCopied(2, 3);
  ASSERT_TRUE(predecessor.peer().Receive().has_ready()) << successor.Said();
  v1::EventHistory tail;
  for (const uint64_t number : {uint64_t{9}, uint64_t{8}, ~uint64_t{0}}) {
    tail.add_events()->set_sequence(number);
    tail.mutable_events(tail.events_size() - 1)->set_kind("odd\n");
  }
  predecessor.SendBlob(tail, "handoff.events.tail");
  predecessor.SendFinal(1, 4);
  ASSERT_TRUE(successor.WaitReady()) << successor.Said();
  EXPECT_TRUE(
      successor.Has("event note the predecessor's events cannot be "
                    "read"))
      << successor.Said();

  const std::string control = ControlPath(folder / "c", 2);
  const auto events = AskFor<v1::EventHistory>(control, "events 0");
  ASSERT_GT(events.events_size(), 2) << events.DebugString();
  EXPECT_EQ(events.events(0).sequence(), 9u);
  EXPECT_EQ(events.events(0).kind(), "odd\\x0a");
  EXPECT_EQ(events.events(1).pid(), successor.pid());
  // Written by the library's thread, which may have come to it only now.
  const absl::Time deadline = absl::Now() + kPatience;
  auto ledger = AskFor<v1::Ledger>(control, "ledger");
  while (ledger.handoffs().empty() && absl::Now() < deadline) {
    ledger = AskFor<v1::Ledger>(control, "ledger");
  }
  ASSERT_EQ(ledger.handoffs_size(), 1);
  EXPECT_EQ(ledger.handoffs(0).refused(), 0u) << ledger.DebugString();
}

}  // namespace
}  // namespace handoff::toy
