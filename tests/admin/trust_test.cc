// Who may call what, through real channels to a real server.

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"
#include "tests/admin/admin_client.h"
#include "tests/admin/certificates.h"
#include "tests/server/served.h"

namespace handoff::admin_tests {
namespace {

// Some user and groups, with no rights and no name.
constexpr uid_t kUser = 54321;
constexpr gid_t kGroup = 54322;
constexpr gid_t kOtherGroup = 54323;

// What the caller of another user finds, as its exit code.
constexpr int kReadsOnly = 10;
constexpr int kOperates = 11;
constexpr int kRefused = 12;
constexpr int kOddAnswer = 13;

struct Calls {
  ::grpc::Status read;
  ::grpc::Status operate;
};

// Reads, then operates, without changing anything that lasts.
Calls TryBoth(AdminClient& client) {
  Calls calls;
  admin::v1::GetStatusResponse status;
  calls.read = client.Call(&admin::v1::Admin::Stub::GetStatus, {}, &status);
  // Without a reason: an operator's mistake, and nobody is locked out.
  admin::v1::LockResponse lock;
  calls.operate = client.Call(&admin::v1::Admin::Stub::Lock, {}, &lock);
  return calls;
}

int Verdict(const Calls& calls) {
  if (calls.read.error_code() == ::grpc::UNAVAILABLE &&
      calls.operate.error_code() == ::grpc::UNAVAILABLE) {
    return kRefused;
  }
  if (!calls.read.ok()) return kOddAnswer;
  if (calls.operate.error_code() == ::grpc::PERMISSION_DENIED) {
    return kReadsOnly;
  }
  return calls.operate.error_code() == ::grpc::INVALID_ARGUMENT ? kOperates
                                                                : kOddAnswer;
}

struct Method {
  std::string path;
  std::string request;
};

// Every call of the service for which `wanted` is true, with an empty request.
template <typename Wanted>
std::vector<Method> CallsOfAdmin(Wanted wanted) {
  const google::protobuf::ServiceDescriptor* admin =
      admin::v1::Problem::descriptor()->file()->FindServiceByName("Admin");
  std::vector<Method> methods;
  for (int i = 0; i < admin->method_count(); ++i) {
    if (!wanted(admin->method(i)->name())) continue;
    methods.push_back(
        {absl::StrCat("/", admin->full_name(), "/", admin->method(i)->name()),
         ""});
  }
  return methods;
}

// All that a reader may not do.
std::vector<Method> ForOperators() {
  const std::set<std::string> reads = {"GetStatus",    "ListDescriptors",
                                       "ListSessions", "GetLedger",
                                       "ListHandoffs", "WatchEvents"};
  std::vector<Method> methods = CallsOfAdmin(
      [&reads](const std::string& name) { return reads.count(name) == 0; });
  admin::v1::ListSessionsRequest state;
  state.set_state(true);
  methods.push_back(
      {"/handoff.admin.v1.Admin/ListSessions", state.SerializeAsString()});
  return methods;
}

// All that there is.
std::vector<Method> All() {
  std::vector<Method> methods =
      CallsOfAdmin([](const std::string&) { return true; });
  for (const char* path :
       {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetTopChannels",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/grpc.channelz.v1.Channelz/GetServer",
        "/grpc.channelz.v1.Channelz/GetServerSockets",
        "/grpc.channelz.v1.Channelz/GetSocket"}) {
    methods.push_back({path, ""});
  }
  return methods;
}

// Those that are answered in another way than with `code`; none is right.
std::string Otherwise(const AdminClient& client,
                      const std::vector<Method>& methods,
                      ::grpc::StatusCode code) {
  std::string otherwise;
  for (const Method& method : methods) {
    const ::grpc::Status status =
        CallRaw(client.channel(), method.path, method.request).status;
    if (status.error_code() == code) continue;
    absl::StrAppend(&otherwise, method.path, ": ", status.error_code(), " ",
                    status.error_message(), "\n");
  }
  return otherwise;
}

class Trust : public server::Served {
 protected:
  std::string Path() const { return File("a"); }
  std::string Address() const { return absl::StrCat("unix:", Path()); }

  void StartOnUnix(std::vector<std::string> flags = {}) {
    // So that others get as far as to the socket.
    ::chmod(std::filesystem::path(Path()).parent_path().c_str(), 0711);
    flags.push_back(absl::StrCat("--admin=", Address()));
    Start(flags);
  }
  // With TLS, at a port of the kernel's choice.
  void StartOnTcp(const std::vector<std::string>& flags) {
    Start(TcpFlags(flags));
  }
  std::vector<std::string> TcpFlags(std::vector<std::string> flags) const {
    const AdminTls tls = certificates_.server();
    for (const std::string& flag :
         {std::string("--admin=tcp:127.0.0.1:0"),
          absl::StrCat("--admin_tls_certificate=", tls.certificate),
          absl::StrCat("--admin_tls_key=", tls.key),
          absl::StrCat("--admin_tls_client_authority=",
                       tls.client_authority)}) {
      flags.insert(flags.begin(), flag);
    }
    return flags;
  }
  std::string TcpAddress() const { return absl::StrCat("tcp:", line().admin); }
  AdminClient Tls(const std::string& client) const {
    return AdminClient(Dial(TcpAddress(), certificates_.Client(client)));
  }

  // Starts a server that cannot be meant; what it says before it exits.
  std::string ComplaintOf(const std::vector<std::string>& flags) {
    std::vector<std::string> argv = {File("server"), "--http=tcp:127.0.0.1:0",
                                     absl::StrCat("--handoff=", File("h"))};
    argv.insert(argv.end(), flags.begin(), flags.end());
    const std::string before = Log();
    EXPECT_EQ(ExitCode(Launch(argv)), 2) << "is the code for bad flags";
    return Log().substr(before.size());
  }

  // Until whoever serves has done with a successor that was refused.
  void AwaitNoHandoff(const std::string& address) {
    AdminClient client(address);
    EXPECT_TRUE(
        server::Eventually([&] { return !client.Status().has_handoff(); }));
    EXPECT_EQ(client.Status().pid(), serving());
  }

  // This program again, as another user: what it finds.
  int CallAs(uid_t uid, gid_t gid, std::vector<gid_t> more = {}) {
    // By descriptor: another user may not reach the folder of the test.
    const UniqueFd self(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    std::string name = "trust_test", flag = "--call", address = Address();
    char* argv[] = {name.data(), flag.data(), address.data(), nullptr};
    char* environment[] = {nullptr};
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (::setgroups(more.size(), more.data()) == 0 &&
          ::setresgid(gid, gid, gid) == 0 && ::setresuid(uid, uid, uid) == 0) {
        ::fexecve(self.get(), argv, environment);
      }
      ::_exit(99);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  const Certificates certificates_;
};

class OtherUsers : public Trust {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  }
};

TEST_F(Trust, ThisUserOperatesAtASocketThatNobodyElseMayOpen) {
  StartOnUnix();
  struct stat status;
  ASSERT_EQ(::stat(Path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  AdminClient client(Address());
  EXPECT_EQ(Verdict(TryBoth(client)), kOperates);
}

TEST_F(OtherUsers, GetNothingUnlessTheyAreNamed) {
  StartOnUnix();
  EXPECT_EQ(CallAs(kUser, kGroup), kRefused) << "by the mode";
  // Whatever the mode: the kernel's credentials of the connection decide.
  ASSERT_EQ(::chmod(Path().c_str(), 0666), 0);
  EXPECT_EQ(CallAs(kUser, kGroup), kRefused) << "by its credentials";
  EXPECT_TRUE(server::Eventually([&] {
    return absl::StrContains(Log(), absl::StrCat("uid ", kUser));
  })) << "no event tells of the refusal";
  EXPECT_EQ(CallAs(0, 0), kOperates);
}

TEST_F(OtherUsers, ReadOrOperateByUid) {
  StartOnUnix({absl::StrCat("--admin_readers=uid:", kUser),
               absl::StrCat("--admin_operators=uid:", kUser + 1)});
  EXPECT_EQ(CallAs(kUser, kGroup), kReadsOnly);
  EXPECT_EQ(CallAs(kUser + 1, kGroup), kOperates);
  EXPECT_EQ(CallAs(kUser + 2, kGroup), kRefused);
}

TEST_F(OtherUsers, ReadOrOperateByGroupAlsoOneThatIsNotTheirFirst) {
  StartOnUnix({absl::StrCat("--admin_readers=gid:", kGroup),
               absl::StrCat("--admin_operators=gid:", kOtherGroup)});
  EXPECT_EQ(CallAs(kUser, kGroup), kReadsOnly);
  EXPECT_EQ(CallAs(kUser, 1, {7, kGroup}), kReadsOnly);
  EXPECT_EQ(CallAs(kUser, kGroup, {kOtherGroup}), kOperates);
  EXPECT_EQ(CallAs(kUser, 1, {7}), kRefused);
}

TEST_F(OtherUsers, TheUserThatStandsForUnknownOnesIsNobody) {
  StartOnUnix({"--admin_readers=uid:65534"});
  EXPECT_EQ(CallAs(65534, 65534), kRefused);
}

TEST_F(OtherUsers, BeyondTheEighthOfARoleAreRefusedUnlessTheyAreNamed) {
  StartOnUnix({absl::StrCat("--admin_readers=gid:", kGroup, ",uid:", kUser + 9),
               absl::StrCat("--admin_operators=gid:", kOtherGroup,
                            ",uid:", kUser + 10)});
  for (uid_t i = 0; i < 8; ++i) {
    EXPECT_EQ(CallAs(kUser + i, kGroup), kReadsOnly) << i;
  }
  EXPECT_EQ(CallAs(kUser + 8, kGroup), kRefused);
  EXPECT_EQ(CallAs(kUser + 3, kGroup), kReadsOnly) << "who came before stays";
  EXPECT_EQ(CallAs(kUser + 9, 1), kReadsOnly) << "who is named has a place";
  EXPECT_EQ(CallAs(kUser + 10, 1), kOperates) << "who is named has a place";
  EXPECT_EQ(CallAs(kUser + 11, kOtherGroup), kOperates)
      << "readers keep no operator out";
  EXPECT_EQ(CallAs(0, 0), kOperates);
}

TEST_F(OtherUsers, ACrowdOfReadersLeavesRoomForOperators) {
  StartOnUnix({absl::StrCat("--admin_readers=uid:", kUser)});
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  Path().copy(address.sun_path, sizeof(address.sun_path) - 1);
  // gRPC keeps a connection that has begun like this.
  const std::string begins("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
                           33);
  // More than all may have.
  std::vector<UniqueFd> crowd;
  for (int i = 0; i < 600; ++i) {
    crowd.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::seteuid(kUser), 0);
    const int connected =
        ::connect(crowd.back().get(), reinterpret_cast<sockaddr*>(&address),
                  sizeof(address));
    ASSERT_EQ(::seteuid(0), 0);
    ASSERT_EQ(connected, 0) << i;
    // Fails where it was refused.
    (void)::send(crowd.back().get(), begins.data(), begins.size(),
                 MSG_NOSIGNAL);
  }
  EXPECT_EQ(CallAs(0, 0), kOperates);
  EXPECT_EQ(CallAs(kUser, kGroup), kRefused);
  crowd.clear();
  EXPECT_TRUE(
      server::Eventually([&] { return CallAs(kUser, kGroup) == kReadsOnly; }));
}

TEST_F(Trust, SoManyUsersCannotBeNamed) {
  std::string readers = "--admin_readers=uid:1";
  for (int uid = 2; uid <= 32; ++uid) absl::StrAppend(&readers, ",uid:", uid);
  const std::string said =
      ComplaintOf({absl::StrCat("--admin=", Address()), readers});
  EXPECT_TRUE(absl::StrContains(said, "name a group")) << said;
}

TEST_F(Trust, AnInheritedListenerOfAnotherKindIsRefusedAndTheErrorSaysWhy) {
  const std::string tcp = "--admin=tcp:127.0.0.1:0";
  const std::string plain = "--admin_insecure_plaintext_tcp=true";
  StartOnUnix();
  std::string said = ComplaintOf({tcp, plain});
  EXPECT_TRUE(absl::StrContains(said, "is a Unix socket")) << said;
  AwaitNoHandoff(Address());
  said = ComplaintOf(TcpFlags({"--admin_operators=cert:operator"}));
  EXPECT_TRUE(absl::StrContains(said, "is a Unix socket")) << said;
  AwaitNoHandoff(Address());
}

TEST_F(Trust, AnInheritedTcpListenerServesNoUsersAndNoPlaintextBeyondLoopback) {
  const std::string plain = "--admin_insecure_plaintext_tcp=true";
  Start({"--admin=tcp:0.0.0.0:0", plain});
  std::string said = ComplaintOf({absl::StrCat("--admin=", Address())});
  EXPECT_TRUE(absl::StrContains(said, "is no Unix socket")) << said;
  for (const std::string host :
       {"127.0.0.1", "[::1]", "localhost", "127.1", "somewhere.invalid"}) {
    AwaitNoHandoff(TcpAddress());
    said = ComplaintOf({absl::StrCat("--admin=tcp:", host, ":0"), plain});
    EXPECT_TRUE(absl::StrContains(said, "from elsewhere")) << host << said;
  }
  AwaitNoHandoff(TcpAddress());
  // Both of which are what they were asked for.
  Start({"--admin=tcp:0.0.0.0:0", plain});
  Start(TcpFlags({"--admin_operators=cert:operator"}));
}

TEST_F(Trust, PlainTcpIsRefusedEvenOnLoopbackAndTheErrorNamesTheFlag) {
  const std::string said = ComplaintOf({"--admin=tcp:127.0.0.1:0"});
  EXPECT_TRUE(absl::StrContains(said, "--admin_insecure_plaintext_tcp"))
      << said;
  Start({"--admin=tcp:127.0.0.1:0", "--admin_insecure_plaintext_tcp=true"});
  AdminClient client(TcpAddress());
  EXPECT_EQ(Verdict(TryBoth(client)), kOperates);
}

TEST_F(Trust, OverTlsTheNameInTheCertificateHasTheRole) {
  StartOnTcp({"--admin_operators=cert:operator",
              "--admin_readers=cert:reader.example"});
  const auto verdict = [this](const std::string& name) {
    AdminClient client = Tls(name);
    return Verdict(TryBoth(client));
  };
  EXPECT_EQ(verdict("operator"), kOperates);
  EXPECT_EQ(verdict("reader"), kReadsOnly);
  EXPECT_EQ(verdict(""), kRefused) << "without a certificate";
  EXPECT_EQ(verdict("stranger"), kRefused) << "of another authority";
  AdminClient plain(TcpAddress());
  EXPECT_EQ(Verdict(TryBoth(plain)), kRefused) << "without TLS";

  AdminClient nobody = Tls("nobody");
  const Calls calls = TryBoth(nobody);
  EXPECT_TRUE(absl::StrContains(calls.read.error_message(), "nobody"))
      << calls.read.error_message();
}

TEST_F(Trust, NobodyIsRefusedEverythingAndAReaderWhateverChangesOrMayBeSecret) {
  StartOnTcp(
      {"--admin_readers=cert:reader.example", "--admin_show_state=true"});
  AdminClient nobody = Tls("nobody");
  EXPECT_EQ(Otherwise(nobody, All(), ::grpc::PERMISSION_DENIED), "");
  AdminClient reader = Tls("reader");
  EXPECT_EQ(Otherwise(reader, ForOperators(), ::grpc::PERMISSION_DENIED), "");
}

TEST_F(Trust, RefusedCallsAreToldOnceASecondAndCounted) {
  StartOnTcp({"--admin_readers=cert:reader.example"});
  AdminClient reader = Tls("reader");
  const absl::Time begun = absl::Now();
  for (int i = 0; i < 100; ++i) TryBoth(reader);
  const double took = absl::ToDoubleSeconds(absl::Now() - begun);
  const std::string refusal =
      "audit: certificate \"reader.example\": Lock: PERMISSION_DENIED";
  const auto told = [&] {
    return std::vector<std::string>(absl::StrSplit(Log(), refusal)).size() - 1;
  };
  // So that there is one of which it is known that it is the last.
  EXPECT_TRUE(server::Eventually([&] {
    TryBoth(reader);
    return absl::StrContains(Log(), " refusals before it");
  }));
  EXPECT_LE(static_cast<double>(told()), took + 3) << Log();
}

TEST_F(Trust, AReaderIsToldWhoItIsAndWhatToDo) {
  StartOnTcp({"--admin_readers=cert:reader.example"});
  AdminClient reader = Tls("reader");
  const Calls calls = TryBoth(reader);
  ASSERT_EQ(calls.operate.error_code(), ::grpc::PERMISSION_DENIED);
  EXPECT_TRUE(
      absl::StrContains(calls.operate.error_message(), "reader.example"))
      << calls.operate.error_message();
  const admin::v1::Problem problem = ProblemOf(calls.operate);
  EXPECT_EQ(problem.reason(), "NOT_OPERATOR");
  EXPECT_FALSE(problem.remedy().empty());
}

TEST_F(Trust, WhatCannotBeMeantIsRefusedBeforeAnybodyIsServed) {
  const std::string unix = absl::StrCat("--admin=", Address());
  const struct {
    std::vector<std::string> flags;
    std::string says;
  } wrong[] = {
      {TcpFlags({"--admin_readers=uid:1"}), "are for a Unix socket"},
      {TcpFlags({}), "name certificates"},
      {TcpFlags({"--admin_operators=cert:x", "--admin_tls_key="}),
       "the key is missing"},
      {TcpFlags({"--admin_operators=cert:x", "--admin_tls_key=/nowhere"}),
       "the key cannot be read"},
      {TcpFlags(
           {"--admin_operators=cert:x", "--admin_tls_key=/proc/self/stat"}),
       "in the TLS files"},
      {TcpFlags(
           {"--admin_operators=cert:x", "--admin_insecure_plaintext_tcp=true"}),
       "leave one of them out"},
      {{unix, "--admin_readers=cert:x"}, "are for TCP"},
      {{unix, "--admin_readers=root"}, "uid:N"},
  };
  for (const auto& one : wrong) {
    const std::string said = ComplaintOf(one.flags);
    EXPECT_TRUE(absl::StrContains(said, one.says))
        << "wanted: " << one.says << "\nsaid: " << said;
  }
}

}  // namespace

// What CallAs() executes.
int CallFromOutside(const std::string& address) {
  AdminClient client(address);
  const int verdict = Verdict(TryBoth(client));
  std::string otherwise;
  if (verdict == kReadsOnly) {
    otherwise = Otherwise(client, ForOperators(), ::grpc::PERMISSION_DENIED);
  } else if (verdict == kRefused) {
    otherwise = Otherwise(client, All(), ::grpc::UNAVAILABLE);
  }
  std::cerr << otherwise;
  return otherwise.empty() ? verdict : kOddAnswer;
}

}  // namespace handoff::admin_tests

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--call") {
    return handoff::admin_tests::CallFromOutside(argv[2]);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
