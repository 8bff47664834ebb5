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

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "tools/load/demonstration.h"
#include "tools/load/report.h"

namespace handoff::load {
namespace {

constexpr int kHandoffs = 6;
constexpr int kConnections = 1540;

}  // namespace
}  // namespace handoff::load

ABSL_FLAG(std::string, server, "", "the server's binary");
ABSL_FLAG(std::string, tool, "", "the handoff command's binary");
ABSL_FLAG(std::string, folder, "",
          "an empty folder of ours, with a short path, mode 0700");
ABSL_FLAG(int, handoffs, handoff::load::kHandoffs,
          "how many handoffs; one of them is by SIGUSR2");
ABSL_FLAG(int, connections, handoff::load::kConnections,
          "connections to keep through every handoff, at the most");
ABSL_FLAG(double, short_connections, 300,
          "connections of one request each, opened a second");

namespace handoff::load {
namespace {

constexpr char kUsage[] =
    "Puts load on a server, has it hand over, and reports what clients saw.";

// A server holds each connection once, and while it hands over perhaps a
// duplicate; this leaves as much again.
constexpr rlim_t kLimitShare = 3;
// Of descriptors that are not kept connections.
constexpr rlim_t kOtherDescriptors = 300;

// What a run of the default size is promised to take at the most, from the
// first server's start to the last one's exit.
constexpr absl::Duration kPromised = absl::Seconds(60);

// Raises the limit on descriptors, which the servers inherit, and returns how
// many of the connections it allows. Says so if these are fewer.
size_t AllowedConnections(size_t wanted) {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  const rlim_t most = std::min<rlim_t>(limit.rlim_cur, 1 << 20);
  const size_t allowed = std::max(most, kOtherDescriptors + 30) / kLimitShare -
                         kOtherDescriptors / kLimitShare;
  if (allowed >= wanted) return wanted;
  fprintf(stderr,
          "%zu connections instead of %zu: a process may have %llu descriptors "
          "(the hard RLIMIT_NOFILE), and needs %llu for each connection and "
          "%llu for the rest\n",
          allowed, wanted, static_cast<unsigned long long>(limit.rlim_cur),
          static_cast<unsigned long long>(kLimitShare),
          static_cast<unsigned long long>(kOtherDescriptors));
  return allowed;
}

bool IsHelp(absl::string_view argument) {
  return argument == "--help" || argument == "-help" || argument == "-h";
}

// Only what a caller of tools/demo sets; it gives the other flags itself.
void PrintHelp() {
  printf("%s\n\nflags:\n", kUsage);
  for (const char* name : {"handoffs", "connections", "short_connections"}) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    printf("  --%s (default: %s)\n      %s\n", name,
           flag->DefaultValue().c_str(), flag->Help().c_str());
  }
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
  const int connections = std::max(1, absl::GetFlag(FLAGS_connections));
  options.load.kept = AllowedConnections(connections);
  if (options.handoffs == kHandoffs && connections == kConnections) {
    options.promised = kPromised;
  }
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
  // Abseil's own --help exits with 1, as if something had failed.
  if (std::any_of(argv + 1, argv + argc, handoff::load::IsHelp)) {
    handoff::load::PrintHelp();
    return 0;
  }
  absl::SetProgramUsageMessage(handoff::load::kUsage);
  // For the others, such as --helpshort: by default Abseil looks for the flags
  // in a file named like the program.
  absl::FlagsUsageConfig usage;
  usage.contains_helpshort_flags = usage.contains_help_flags =
      usage.contains_helppackage_flags = [](absl::string_view file) {
        return absl::EndsWith(file, "tools/load/main.cc");
      };
  absl::SetFlagsUsageConfig(usage);
  absl::ParseCommandLine(argc, argv);
  return handoff::load::Main();
}
