// The command rehearses the server's next binary, end to end.

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

// In the runfiles of a test, which is where it is started.
constexpr char kCommand[] = "tools/handoff";

class RehearsalTest : public Served {
 protected:
  struct Answer {
    int exit_code = -1;
    std::string out;
    std::string err;
  };
  // handoff rehearse OPTION -- the server with these flags.
  Answer Rehearse(const std::string& option,
                  const std::vector<std::string>& flags = {}) {
    std::vector<std::string> argv = {
        "/bin/sh",
        "-c",
        absl::StrCat("out=$1; shift; exec \"$@\" >$out.out 2>$out.err"),
        "sh",
        File("answer"),
        kCommand,
        "rehearse",
        absl::StrCat("--handoff=", File("h")),
        option,
        "--",
        File("server"),
        absl::StrCat("--handoff=", File("h")),
        "--http=tcp:127.0.0.1:0"};
    argv.insert(argv.end(), flags.begin(), flags.end());
    Answer answer;
    answer.exit_code = ExitCode(Launch(argv));
    answer.out = Content("answer.out");
    answer.err = Content("answer.err");
    return answer;
  }

 private:
  std::string Content(const std::string& name) const {
    std::ifstream file(File(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
};

TEST_F(RehearsalTest, OfABinaryThatFitsPassesAndNobodyNotices) {
  Start();
  Client idle(line());
  idle.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(idle.ReadResponse().status, 200);
  Client halfway(line());
  halfway.Send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  Client streamed(line());
  streamed.Send(
      "GET /stream?bytes=50000&rate=100000 HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(streamed.Read(15), "HTTP/1.1 200 OK");
  const pid_t pid = serving();

  const Answer text = Rehearse("--format=text");
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_TRUE(absl::StrContains(text.out, " passed ")) << text.out;
  EXPECT_TRUE(absl::StrContains(text.out, "  moved 8\n"))
      << "handoff listener, listener, three blobs and three connections: "
      << text.out;
  EXPECT_FALSE(absl::StrContains(text.out, "ready ")) << text.out;
  EXPECT_FALSE(absl::StrContains(text.err, "ready ")) << text.err;
  EXPECT_TRUE(absl::StrContains(text.err, "a rehearsal: everything would move"))
      << "its log says what it was: " << text.err;

  const Answer json = Rehearse("--format=json");
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_TRUE(absl::StrContains(json.out, "\"result\":\"passed\"")) << json.out;
  EXPECT_TRUE(absl::StrContains(
      json.out, absl::StrCat("\"predecessorPid\":\"", pid, "\"")))
      << json.out;
  EXPECT_TRUE(absl::StrContains(json.out, "\"moved\":\"8\"")) << json.out;

  EXPECT_FALSE(absl::StrContains(Log(), "quiescing")) << Log();
  idle.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(absl::StrContains(idle.ReadResponse().body, absl::StrCat(pid)));
  halfway.Send("way123");
  EXPECT_EQ(halfway.ReadResponse().body, "halfway123");
  EXPECT_EQ(streamed.ReadResponse().body, StreamBytes(50000));

  Upgrade();
  idle.Send("GET /whoami HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(
      absl::StrContains(idle.ReadResponse().body, absl::StrCat(serving())));
}

TEST_F(RehearsalTest, OfABinaryThatDoesNotStartFailsWithTheReason) {
  Start();
  const Answer flags = Rehearse("--format=text", {"--workers=0"});
  EXPECT_EQ(flags.exit_code, 1);
  EXPECT_EQ(flags.out, "");
  EXPECT_TRUE(absl::StrContains(flags.err, "exited with code 2")) << flags.err;

  const Answer path =
      Rehearse("--format=json", {absl::StrCat("--handoff=", File("other"))});
  EXPECT_EQ(path.exit_code, 1);
  EXPECT_TRUE(absl::StrContains(
      path.out, absl::StrCat("\"reason\":\"nobody serves at ", File("other"))))
      << path.out;
  EXPECT_TRUE(absl::StrContains(path.out, "\"result\":\"failed\"")) << path.out;
  Client client(line());
  client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.ReadResponse().body, "ok");
}

}  // namespace
}  // namespace handoff::server
