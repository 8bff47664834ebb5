// The command at the server's admin endpoint, end to end.

#include <signal.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// In the runfiles of a test, which is where it is started.
constexpr char kCommand[] = "tools/handoff";

class AdminCommandTest : public Served {
 protected:
  struct Answer {
    int exit_code = -1;
    std::string out;
    std::string err;
  };

  std::string Address() const { return absl::StrCat("unix:", File("admin")); }
  void StartWithAdmin() {
    Start({absl::StrCat("--admin=", Address()),
           "--admin_executables=/bin/false"});
  }

  // Begins `handoff ARGUMENTS --admin=...`, whose output goes to files of this
  // name.
  pid_t Begin(const std::string& name,
              const std::vector<std::string>& arguments) {
    std::vector<std::string> argv = {
        "/bin/sh",
        "-c",
        "out=$1; shift; exec \"$@\" >$out.out 2>$out.err",
        "sh",
        File(name),
        kCommand,
        absl::StrCat("--admin=", Address()),
        "--timeout=30s"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return Launch(argv);
  }
  Answer Ask(const std::vector<std::string>& arguments) {
    Answer answer;
    answer.exit_code = ExitCode(Begin("answer", arguments));
    answer.out = Content("answer.out");
    answer.err = Content("answer.err");
    return answer;
  }
  // What it says where it is done.
  std::string Done(const std::vector<std::string>& arguments) {
    const Answer answer = Ask(arguments);
    EXPECT_EQ(answer.exit_code, 0) << arguments.front() << ": " << answer.err;
    return answer.out;
  }
  // The same as JSON, which another reader of JSON can read.
  std::string Json(std::vector<std::string> arguments) {
    arguments.push_back("--format=json");
    const std::string json = Done(arguments);
    EXPECT_FALSE(json.empty()) << arguments.front();
    Run({"/bin/sh", "-c",
         "python3 -c 'import json, sys; [json.loads(l) for l in sys.stdin]' <" +
             File("answer.out")});
    return json;
  }
  std::string Content(const std::string& name) const {
    std::ifstream file(File(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
};

TEST_F(AdminCommandTest, EachVerbIsAnswered) {
  StartWithAdmin();
  Client client(line());
  client.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().status, 200);

  EXPECT_THAT(Done({"status"}),
              HasSubstr(absl::StrCat("pid:          ", serving(), "\n")));
  EXPECT_THAT(Done({"list"}), HasSubstr("\nhandoff-listener"));
  EXPECT_THAT(Done({"list"}), HasSubstr("\nsession"));
  EXPECT_THAT(Done({"list", "--details"}), HasSubstr("SO_"));
  EXPECT_THAT(Done({"ledger"}), HasSubstr("no handoff yet"));

  EXPECT_THAT(Done({"lock", "--reason=a fair"}), HasSubstr(": a fair\n"));
  const Answer locked = Ask({"upgrade"});
  EXPECT_EQ(locked.exit_code, 1);
  EXPECT_THAT(locked.err, HasSubstr("a fair"));
  EXPECT_EQ(Done({"unlock"}), "unlocked\n");

  EXPECT_EQ(Done({"accept", "off"}), "not accepting\n");
  EXPECT_EQ(Done({"accept", "on"}), "accepting\n");
  EXPECT_THAT(Done({"rehearse"}), HasSubstr(" passed "));
  EXPECT_EQ(Ask({"abort"}).exit_code, 1) << "there is nothing to abort";
  EXPECT_EQ(Done({"drain", "--all", "--deadline=20s"}),
            "asked 1, ended 1, cut off 0\n");
  EXPECT_EQ(client.Read(1), "") << "it was drained";

  EXPECT_THAT(Json({"status"}), Not(HasSubstr("\"lastEvent\":\"0\"")));
  Json({"list"});
  Json({"rehearse"});
  Json({"ledger"});
  Json({"lock", "--reason=x"});
  Json({"unlock"});
  Json({"accept", "on"});
  Json({"drain", "--all"});
}

TEST_F(AdminCommandTest, AnUpgradeCommitsAndAWatcherGoesOnAtTheSuccessor) {
  StartWithAdmin();
  const pid_t watch = Begin("watch", {"watch", "--after=0", "--kind=committed",
                                      "--kind=audit", "--kind=watch-ended"});
  Answer upgrade;
  UpgradeBy([&] { upgrade = Ask({"upgrade"}); });
  EXPECT_EQ(upgrade.exit_code, 0) << upgrade.err;
  for (const char* phase : {"pre-copy, ", "staging, ", "changes, ", "frozen, "})
    EXPECT_THAT(upgrade.err, HasSubstr(phase));
  EXPECT_THAT(upgrade.out, HasSubstr(" committed "));
  EXPECT_THAT(upgrade.out, HasSubstr("  phases: "));
  EXPECT_THAT(Done({"ledger"}), HasSubstr(" committed "));
  Json({"ledger"});

  // Is an event of the successor.
  const std::string here = absl::StrCat("pid ", serving(), " ");
  Done({"lock", "--reason=tell the watcher"});
  EXPECT_TRUE(Eventually([&] {
    const std::string seen = Content("watch.out");
    const size_t at = seen.find("tell the watcher");
    return at != std::string::npos && absl::StrContains(seen, here);
  })) << Content("watch.out")
      << Content("watch.err");
  EXPECT_FALSE(absl::StrContains(Content("watch.out"), "missed"));
  ASSERT_EQ(::kill(watch, SIGINT), 0);
  EXPECT_EQ(ExitCode(watch), 0);
  Done({"unlock"});
}

TEST_F(AdminCommandTest, AnUpgradeWhoseSuccessorEndsExitsWith5) {
  StartWithAdmin();
  const Answer ended = Ask({"upgrade", "--exe=/bin/false"});
  EXPECT_EQ(ended.exit_code, 5) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("the successor"));
  const Answer other = Ask({"upgrade", "--exe=/bin/true"});
  EXPECT_EQ(other.exit_code, 4) << other.err;
  EXPECT_THAT(Done({"status"}), HasSubstr("serving"));
}

}  // namespace
}  // namespace handoff::server
