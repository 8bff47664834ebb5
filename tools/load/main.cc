// Puts load on a server, has it hand over again and again, and reports what its
// clients saw. Run by tools/demo, which builds what it needs.

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "tools/load/demonstration.h"
#include "tools/load/report.h"

ABSL_FLAG(std::string, server, "", "the server's binary");
ABSL_FLAG(std::string, tool, "", "the handoff command's binary");
ABSL_FLAG(std::string, folder, "",
          "an empty folder of ours, with a short path, mode 0700");
ABSL_FLAG(int, handoffs, 6, "how many handoffs; one of them is by SIGUSR2");
ABSL_FLAG(int, connections, 1540,
          "connections to keep through every handoff, at the most");
ABSL_FLAG(double, short_connections, 300,
          "connections of one request each, opened a second");

namespace handoff::load {
namespace {

// A server holds each connection once, and while it hands over perhaps a
// duplicate; this leaves as much again.
constexpr rlim_t kLimitShare = 3;
// Of descriptors that are not kept connections.
constexpr rlim_t kOtherDescriptors = 300;

// Raises the limit on descriptors, which the servers inherit, and returns how
// many connections it allows.
size_t AllowedConnections() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 100;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t most = std::min<rlim_t>(limit.rlim_cur, 1 << 20);
  return std::max(most, kOtherDescriptors + 30) / kLimitShare -
         kOtherDescriptors / kLimitShare;
}

void PrintLog(const std::string& path) {
  std::ifstream log(path);
  std::string line;
  while (std::getline(log, line)) fprintf(stderr, "server: %s\n", line.c_str());
}

int Main() {
  Demonstration::Options options;
  options.server = absl::GetFlag(FLAGS_server);
  options.tool = absl::GetFlag(FLAGS_tool);
  options.folder = absl::GetFlag(FLAGS_folder);
  options.handoffs = std::max(1, absl::GetFlag(FLAGS_handoffs));
  options.load.kept = std::min<size_t>(
      std::max(1, absl::GetFlag(FLAGS_connections)), AllowedConnections());
  options.load.short_per_second = absl::GetFlag(FLAGS_short_connections);
  options.load.seed = std::random_device()();

  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    signal(number, [](int) { Demonstration::Stop(); });
  }
  signal(SIGPIPE, SIG_IGN);

  const absl::StatusOr<Report> report = Demonstration::Run(options);
  const bool passed = report.ok() && report->Passed();
  if (!passed && !absl::IsCancelled(report.status())) {
    PrintLog(options.folder + "/server.log");
  }
  if (!report.ok()) {
    fprintf(stderr, "%s\n", report.status().ToString().c_str());
    return 1;
  }
  printf("\n%s\n%s\n", FormatTable(*report).c_str(),
         FormatJson(*report).c_str());
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace handoff::load

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "puts load on a server, has it hand over, and reports what clients saw");
  absl::ParseCommandLine(argc, argv);
  return handoff::load::Main();
}
