// Whole handoffs between processes, beside a bare loop.

#include <sys/prctl.h>

#include <cstdint>
#include <iostream>
#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/benchmark/handoffs/bare_loop.h"
#include "tests/benchmark/handoffs/clients.h"
#include "tests/benchmark/handoffs/program.h"
#include "tests/benchmark/handoffs/rows.h"
#include "tests/benchmark/handoffs/service.h"

ABSL_FLAG(std::string, row, "", "What to measure; prints one line of JSON.");
ABSL_FLAG(bool, quick, false, "Small, to see that it works.");
// What the program starts itself with.
ABSL_FLAG(std::string, role, "", "service, clients or bare.");
ABSL_FLAG(std::string, path, "", "Of a service: its handoff socket.");
ABSL_FLAG(int, port, 0, "Of clients: where to connect.");
ABSL_FLAG(uint64_t, sessions, 0, "Of clients and the bare loop: how many.");
ABSL_FLAG(uint64_t, state_bytes, 256, "Of each session.");
ABSL_FLAG(uint64_t, workers, 1, "Of a service: its loops.");
ABSL_FLAG(uint64_t, changes, 0, "Of a service: what changes at quiesce.");

int main(int argc, char** argv) {
  using namespace handoff::benchmark;  // NOLINT: this is its main
  absl::SetProgramUsageMessage(absl::StrCat(
      "--row=ROW [--quick]; ROW is one of ", absl::StrJoin(RowKeys(), ", ")));
  absl::ParseCommandLine(argc, argv);
  const std::string role = absl::GetFlag(FLAGS_role);
  // So that a profile can be told apart by what a process is.
  if (!role.empty()) ::prctl(PR_SET_NAME, role.c_str());
  if (role == "service") {
    RunService({absl::GetFlag(FLAGS_path), absl::GetFlag(FLAGS_workers),
                absl::GetFlag(FLAGS_state_bytes),
                absl::GetFlag(FLAGS_changes)});
  } else if (role == "clients") {
    RunClients(absl::GetFlag(FLAGS_port),
               static_cast<int>(absl::GetFlag(FLAGS_sessions)));
  } else if (role == "bare") {
    RunBareLoop(absl::GetFlag(FLAGS_sessions),
                absl::GetFlag(FLAGS_state_bytes));
  } else {
    const auto row =
        Measure(absl::GetFlag(FLAGS_row), absl::GetFlag(FLAGS_quick));
    Require(row.ok(), row.status().message());
    Say(ToJson(*row));
  }
  return 0;
}
