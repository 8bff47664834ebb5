// Runs a server through random handoffs, rehearsals and kills under load. Run
// by tools/soak, which builds what it needs.

#include <signal.h>

#include <cstdio>
#include <random>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/time/time.h"
#include "tools/load/soak.h"

ABSL_FLAG(std::string, server, "", "the server's binary");
ABSL_FLAG(std::string, tool, "", "the handoff command's binary");
ABSL_FLAG(std::string, folder, "",
          "an empty folder of ours, with a short path, mode 0700");
ABSL_FLAG(absl::Duration, length, absl::Minutes(1), "how long");
ABSL_FLAG(uint64_t, seed, 0, "of the rounds; 0: a new one, which is printed");

int main(int argc, char** argv) {
  using handoff::load::Soak;
  absl::SetProgramUsageMessage(
      "Hands over, rehearses and kills at random, under load.");
  absl::ParseCommandLine(argc, argv);
  Soak::Options options;
  options.server = absl::GetFlag(FLAGS_server);
  options.tool = absl::GetFlag(FLAGS_tool);
  options.folder = absl::GetFlag(FLAGS_folder);
  options.length = absl::GetFlag(FLAGS_length);
  options.seed = absl::GetFlag(FLAGS_seed);
  if (options.seed == 0) options.seed = std::random_device()();
  fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(options.seed));
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    signal(number, [](int) { Soak::Stop(); });
  }
  signal(SIGPIPE, SIG_IGN);
  const absl::StatusOr<Soak::Report> report = Soak::Run(options);
  if (!report.ok()) {
    fprintf(stderr, "%s; the servers' log is %s/server.log\n",
            report.status().ToString().c_str(), options.folder.c_str());
    return 1;
  }
  printf("%s\n", FormatJson(*report).c_str());
  return report->violations == 0 ? 0 : 1;
}
