// Real clients of gRPC, while the server is replaced again and again.

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/server/grpc_clients.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

constexpr int kHandoffs = 20;

class GrpcLoadTest : public Served {
 protected:
  // grpc_client.py, from its first call to its last.
  void StartPython() {
    // Debian's, whose package has gRPC.
    python_ = Launch({"/usr/bin/python3", "tests/server/grpc_client.py",
                      line().grpc, File("python")});
  }
  std::string Python() const {
    std::ifstream file(File("python"));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool PythonHasSeen(uint64_t generation) const {
    const std::string text = Python();
    return absl::StrContains(text,
                             absl::StrCat("generation ", generation, "\n")) ||
           absl::StrContains(text, "failed");
  }
  pid_t python_ = 0;
};

// What a process has open, by kind: "socket", "anon_inode", "pipe".
std::map<std::string, int> OpenDescriptors(pid_t pid) {
  std::map<std::string, int> kinds;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(
           absl::StrCat("/proc/", pid, "/fd"), ignored)) {
    const std::string target =
        std::filesystem::read_symlink(entry.path(), ignored).string();
    // Who is started by another server has another standard input.
    if (target == "/dev/null") continue;
    ++kinds[target.substr(0, target.find(":["))];
  }
  return kinds;
}

std::string Describe(const std::map<std::string, int>& kinds) {
  return absl::StrJoin(kinds, ", ", absl::PairFormatter(" x "));
}

TEST_F(GrpcLoadTest, TwentyHandoffsFailNoCallAndBreakNoStream) {
  Start({"--grpc=tcp:127.0.0.1:0", "--drain_deadline=20s"});
  const std::string address = line().grpc;
  const std::map<std::string, int> idle = OpenDescriptors(serving());
  GrpcLoad load(address, /*callers=*/4, /*streamers=*/4);
  StartPython();
  const auto all_have_seen = [&](uint64_t generation) {
    return (load.generation() >= generation && PythonHasSeen(generation)) ||
           !load.failures().empty();
  };
  ASSERT_TRUE(Eventually([&] { return all_have_seen(1); })) << Python();
  const pid_t first = serving();
  const std::map<std::string, int> busy = OpenDescriptors(first);

  for (uint64_t generation = 2; generation <= kHandoffs + 1; ++generation) {
    Upgrade();
    ASSERT_EQ(line().generation, generation);
    ASSERT_EQ(line().grpc, address);
    ASSERT_TRUE(Eventually([&] { return all_have_seen(generation); }))
        << "not every client has come to generation " << generation << "; "
        << load.generation() << " " << Python();
    if (HasFailure() || !load.failures().empty()) break;
  }
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(serving()) == busy; }))
      << "open under load in the first process: " << Describe(busy)
      << "; in the last: " << Describe(OpenDescriptors(serving()));

  load.Stop();
  kill(python_, SIGTERM);
  EXPECT_EQ(ExitCode(python_), 0);
  EXPECT_EQ(absl::StrJoin(load.failures(), "\n"), "");
  const std::string python = Python();
  EXPECT_FALSE(absl::StrContains(python, "failed")) << python;
  EXPECT_TRUE(absl::StrContains(python, "ended ")) << python;
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors(serving()) == idle; }))
      << "open without clients in the first process: " << Describe(idle)
      << "; in the last: " << Describe(OpenDescriptors(serving()));
  RecordProperty("calls", absl::StrCat(load.calls()));
  RecordProperty("streams", absl::StrCat(load.streams()));
  printf("C++: %llu calls, %llu streams; Python (calls, streams): %s",
         static_cast<unsigned long long>(load.calls()),
         static_cast<unsigned long long>(load.streams()),
         python.substr(python.rfind("ended")).c_str());
}

}  // namespace
}  // namespace handoff::server
