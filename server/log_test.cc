#include "server/log.h"

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "handoff/fd/unique_fd.h"
#include "handoff/observer.h"

namespace handoff::server {
namespace {

using testing::MatchesRegex;

// Whether what a process writes to standard error, that logs in this format,
// matches `pattern`, in which PID is its pid.
void ExpectLogged(LogFormat format, const std::function<void()>& log,
                  const std::string& pattern) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(to.get(), STDERR_FILENO);
    OpenLog(format);
    log();
    _exit(0);
  }
  to.reset();
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  char text[4096];
  const ssize_t size = read(from.get(), text, sizeof(text));
  ASSERT_GE(size, 0);
  EXPECT_THAT(
      std::string(text, static_cast<size_t>(size)),
      MatchesRegex(absl::StrReplaceAll(pattern, {{"PID", absl::StrCat(pid)}})));
}

void LogTwoEvents() {
  Log("accept", "a \"name\"\nand a line", Level::kWarning);
  LogObserver().OnEvent({Event::Kind::kCommitted, 0xabc, "pid 7 serves now"});
}

constexpr char kTime[] = "....-..-..T..:..:..\\....Z";

TEST(LogTest, TextIsOneLineForEachEvent) {
  ExpectLogged(
      LogFormat::kText, LogTwoEvents,
      absl::StrCat(kTime, " PID warning accept: a \"name\" and a line\n", kTime,
                   " PID info committed handoff=abc: pid 7 serves now\n"));
}

TEST(LogTest, JsonIsOneObjectForEachEvent) {
  ExpectLogged(
      LogFormat::kJson, LogTwoEvents,
      absl::StrCat("\\{\"time\":\"", kTime,
                   "\",\"pid\":PID,\"level\":\"warning\",\"event\":\"accept\","
                   "\"text\":\"a ..name...u000aand a line\"\\}\n"
                   "\\{\"time\":\"",
                   kTime,
                   "\",\"pid\":PID,\"level\":\"info\",\"event\":\"committed\","
                   "\"handoff\":\"abc\",\"text\":\"pid 7 serves now\"\\}\n"));
}

TEST(LogTest, OnlyTwoFormatsAreKnown) {
  EXPECT_EQ(*ParseLogFormat("text"), LogFormat::kText);
  EXPECT_EQ(*ParseLogFormat("json"), LogFormat::kJson);
  EXPECT_FALSE(ParseLogFormat("").ok());
  EXPECT_FALSE(ParseLogFormat("JSON").ok());
}

}  // namespace
}  // namespace handoff::server
