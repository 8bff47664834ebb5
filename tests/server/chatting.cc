#include "tests/server/chatting.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>

#include <fstream>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace handoff::server {

std::string Chatting::Port() const {
  return absl::StrCat(ntohs(line().http.sin_port));
}

void Chatting::StartPython(const std::string& address, int members, int rooms) {
  // Debian's, whose package has websockets.
  python_ =
      Launch({"/usr/bin/python3", "tests/server/chat_client.py", address,
              absl::StrCat(members), absl::StrCat(rooms), File("python")});
}

std::string Chatting::Python() const {
  std::ifstream file(File("python"));
  return {std::istreambuf_iterator<char>(file), {}};
}

bool Chatting::PythonSays(const std::string& line) {
  return Eventually([&] {
    const std::string text = Python();
    return absl::StrContains(text, line + "\n") ||
           absl::StrContains(text, "failed");
  });
}

bool Chatting::EveryRoomHasHeard(pid_t pid) {
  return PythonSays(absl::StrCat("pid ", pid));
}

void Chatting::StopPython() {
  kill(python_, SIGTERM);
  EXPECT_EQ(ExitCode(python_), 0);
  const std::string text = Python();
  EXPECT_FALSE(absl::StrContains(text, "failed")) << text;
  EXPECT_TRUE(absl::StrContains(text, "ended ")) << text;
  printf("%s", text.substr(text.rfind("ended")).c_str());
}

}  // namespace handoff::server
