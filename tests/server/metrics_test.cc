// GET /metrics, as Prometheus's own client reads it.

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "tests/server/served.h"

namespace handoff::server {
namespace {

constexpr char kCommitted[] = "handoff_handoffs_total{result=committed}";
constexpr char kOk[] = "http_requests_total{code=2xx}";

class MetricsTest : public Served {
 protected:
  // By name and labels; a request of its own.
  std::map<std::string, double> Scrape() {
    std::map<std::string, double> samples;
    const std::string printed =
        Run({"/usr/bin/python3", "tests/server/metrics_client.py",
             Url("/metrics")});
    const std::vector<std::string> lines =
        absl::StrSplit(printed, '\n', absl::SkipEmpty());
    for (const std::string& line : lines) {
      const std::vector<std::string> parts = absl::StrSplit(line, ' ');
      samples[parts.at(0)] = std::stod(parts.at(1));
    }
    return samples;
  }
};

TEST_F(MetricsTest, CountersGoOnAcrossHandoffs) {
  Start();
  Client client(line());
  for (int i = 0; i < 5; ++i) {
    client.Send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    ASSERT_EQ(client.ReadResponse().status, 200);
  }
  client.Send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_EQ(client.ReadResponse().status, 404);
  std::map<std::string, double> samples = Scrape();
  EXPECT_EQ(samples.at("http_requests_total{code=4xx}"), 1);
  EXPECT_GE(samples.at(kOk), 5);
  EXPECT_EQ(samples.at(kCommitted), 0);
  EXPECT_EQ(samples.at("handoff_generation{}"), 1);
  EXPECT_GE(samples.at("handoff_sessions{}"), 1);  // the client's
  const double ok = samples.at(kOk);

  Upgrade();
  Start();
  // The entry of a handoff, and its blackout, come a moment after it.
  EXPECT_TRUE(Eventually([&] {
    samples = Scrape();
    return samples.at(kCommitted) == 2 &&
           samples.at("handoff_blackout_seconds_count{}") >= 2;
  })) << samples.at(kCommitted);
  EXPECT_EQ(samples.at("handoff_generation{}"), 3);
  EXPECT_EQ(samples.at("http_requests_total{code=4xx}"), 1);
  EXPECT_GT(samples.at(kOk), ok);
  EXPECT_EQ(samples.at("handoff_phase_seconds_count{phase=frozen}"), 2);
  EXPECT_GE(samples.at("handoff_outcomes_total{outcome=moved}"), 2);
  EXPECT_EQ(samples.at("handoff_outcomes_total{outcome=lost}"), 0);

  client.Send("HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string head = client.Read(100'000);
  EXPECT_EQ(head.rfind("HTTP/1.1 200", 0), 0u) << head;
  EXPECT_TRUE(absl::EndsWith(head, "\r\n\r\n")) << head;
}

}  // namespace
}  // namespace handoff::server
