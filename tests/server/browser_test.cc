// The page in a real browser, while the server's binary is replaced.

#include <cstdlib>
#include <fstream>
#include <ios>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

// Of a line "next".
constexpr std::streamoff kRequestBytes = 5;

class BrowserTest : public Served {};

TEST_F(BrowserTest, TwoPagesChatAcrossSixHandoffsOnOneConnectionEach) {
  Start({"--label=v2"});
  const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR");
  const std::string picture = outputs == nullptr
                                  ? File("page.png")
                                  : absl::StrCat(outputs, "/page.png");
  const pid_t browser = Launch({"/usr/bin/python3", "tests/server/browser.py",
                                Url("/"), picture, File("requests")});
  for (std::streamoff i = 1; i <= 6; ++i) {
    ASSERT_TRUE(Eventually([&] {
      std::ifstream requests(File("requests"), std::ios::ate);
      return requests && requests.tellg() >= i * kRequestBytes;
    })) << "the browser never came to handoff "
        << i;
    Upgrade();
  }
  EXPECT_EQ(ExitCode(browser), 0);
}

}  // namespace
}  // namespace handoff::server
