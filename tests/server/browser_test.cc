// The page in a real browser, while the server's binary is replaced.

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

class BrowserTest : public Served {};

TEST_F(BrowserTest, TwoPagesChatAcrossSixHandoffsOnOneConnectionEach) {
  Start({"--label=v2"});
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  // Sends SIGUSR2 to whoever the page says serves it.
  const pid_t browser =
      Launch({"/usr/bin/python3", "tests/server/browser.py", Url("/"),
              outputs == nullptr ? File("page.png")
                                 : absl::StrCat(outputs, "/page.png")});
  for (int i = 0; i < 6; ++i) AwaitSuccessor();
  EXPECT_EQ(ExitCode(browser), 0);
}

}  // namespace
}  // namespace handoff::server
