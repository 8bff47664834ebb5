#include "handoff/integrations/systemd/listen_fds.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "gtest/gtest.h"
#include "handoff/fd/forked_child.h"
#include "handoff/fd/unique_fd.h"

namespace handoff {
namespace {

using Given = absl::StatusOr<std::vector<GivenDescriptor>>;

// What a manager has set up. Of `pid`, "self" is the child's.
struct Environment {
  absl::optional<std::string> pid = "self";
  absl::optional<std::string> fds;
  absl::optional<std::string> names;
  int open = 2;  // descriptors, from 3 on
};

void Set(const char* variable, const absl::optional<std::string>& value) {
  ::unsetenv(variable);
  if (value.has_value()) ::setenv(variable, value->c_str(), 1);
}

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

// Runs `check` in a process that was given this; what it returns, or 100 where
// the variables stay.
int In(const Environment& environment, const std::function<int(Given)>& check) {
  ForkedChild child([&] {
    ::close_range(3, ~0U, 0);
    for (int fd = 3; fd < 3 + environment.open; ++fd) {
      if (::open("/dev/null", O_RDONLY) != fd) return 101;
    }
    Set("LISTEN_PID",
        environment.pid == "self" ? absl::StrCat(::getpid()) : environment.pid);
    Set("LISTEN_FDS", environment.fds);
    Set("LISTEN_FDNAMES", environment.names);
    Given given = TakeListenFds();
    for (const char* variable :
         {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
      if (::getenv(variable) != nullptr) return 100;
    }
    return check(std::move(given));
  });
  return child.Wait();
}

TEST(TakeListenFdsTest, OwnsEachDescriptorUnderItsNameInOrder) {
  const auto check = [](Given given) {
    if (!given.ok()) return 1;
    if (given->size() != 3) return 2;
    const char* const names[] = {"http", "admin", "http"};
    for (int i = 0; i < 3; ++i) {
      const GivenDescriptor& one = (*given)[static_cast<size_t>(i)];
      if (one.name != names[i]) return 3;
      if (one.fd->get() != 3 + i) return 4;
      if (::fcntl(3 + i, F_GETFD) != FD_CLOEXEC) return 5;
    }
    return 0;
  };
  EXPECT_EQ(In({"self", "3", "http:admin:http", 4}, check), 0)
      << "the codes are above";
}

TEST(TakeListenFdsTest, TheyAreClosedWithTheResultAndNoOtherIs) {
  const auto check = [](Given given) {
    if (!given.ok() || given->size() != 2) return 1;
    given->clear();
    return !IsOpen(3) && !IsOpen(4) && IsOpen(5) ? 0 : 2;
  };
  EXPECT_EQ(In({"self", "2", absl::nullopt, 3}, check), 0);
}

TEST(TakeListenFdsTest, WithoutNamesTheyAreUnknown) {
  for (const absl::optional<std::string>& none :
       {absl::optional<std::string>(), absl::optional<std::string>("")}) {
    EXPECT_EQ(In({"self", "2", none},
                 [](Given given) {
                   return given.ok() && given->size() == 2 &&
                                  (*given)[0].name == "unknown" &&
                                  (*given)[1].name == "unknown"
                              ? 0
                              : 1;
                 }),
              0);
  }
}

TEST(TakeListenFdsTest, AnotherProcesssDescriptorsAreLeftAlone) {
  const auto nothing = [](Given given) {
    return given.ok() && given->empty() && IsOpen(3) && IsOpen(4) ? 0 : 1;
  };
  EXPECT_EQ(In({"1", "2", "a:b"}, nothing), 0) << "of the parent, say";
  EXPECT_EQ(In({"1", "nonsense", "a:b"}, nothing), 0);
  EXPECT_EQ(In({absl::nullopt, "2", absl::nullopt}, nothing), 0);
  EXPECT_EQ(In({"self", absl::nullopt, absl::nullopt}, nothing), 0);
  EXPECT_EQ(In({"self", "0", absl::nullopt}, nothing), 0);
}

TEST(TakeListenFdsTest, WhatMakesNoSenseIsSaidAndNothingClosed) {
  const std::vector<std::pair<Environment, std::string>> wrong = {
      {{"", "2", {}}, "LISTEN_PID= is no pid"},
      {{"-5", "2", {}}, "LISTEN_PID=-5 is no pid"},
      {{"self ish", "2", {}}, "LISTEN_PID=self ish is no pid"},
      {{"self", "", {}}, "LISTEN_FDS= is no number of descriptors"},
      {{"self", "-1", {}}, "LISTEN_FDS=-1 is no number of descriptors"},
      {{"self", "two", {}}, "LISTEN_FDS=two is no number of descriptors"},
      {{"self", "2147483647", {}},
       "LISTEN_FDS=2147483647 is no number of descriptors"},
      {{"self", "3", {}}, "LISTEN_FDS=3, but descriptor 5 is not open"},
      {{"self", "2147483644", {}},
       "LISTEN_FDS=2147483644, but descriptor 5 is not open"},
      {{"self", "2", "a"},
       "LISTEN_FDNAMES has 1 names for LISTEN_FDS=2 descriptors"},
      {{"self", "2", "a:b:"},
       "LISTEN_FDNAMES has 3 names for LISTEN_FDS=2 descriptors"},
  };
  for (const auto& [environment, text] : wrong) {
    EXPECT_EQ(In(environment,
                 [&text = text](Given given) {
                   if (given.status() != absl::InvalidArgumentError(text)) {
                     const std::string said = given.status().ToString() + "\n";
                     (void)!::write(STDERR_FILENO, said.data(), said.size());
                     return 1;
                   }
                   return IsOpen(3) && IsOpen(4) ? 0 : 2;
                 }),
              0)
        << text;
  }
}

}  // namespace
}  // namespace handoff
