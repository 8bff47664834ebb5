#ifndef HANDOFF_SERVER_SETTINGS_H_
#define HANDOFF_SERVER_SETTINGS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "handoff/integrations/admin/admin_options.h"
#include "server/log.h"
#include "server/service_info.h"

namespace handoff::server {

// The values of --max_state_version; README.md has what each stands for.
inline constexpr uint32_t kLowestMaxStateVersion = 1;
inline constexpr uint32_t kHighestMaxStateVersion = 4;

// What the command line asks for, checked.
struct Settings {
  std::string http;
  std::string grpc;  // empty: none
  std::string handoff;
  std::string label;
  LogFormat log_format = LogFormat::kText;
  int workers = 0;
  bool sharded = false;
  size_t max_connections = 0;
  // What --max_state_version stands for.
  uint32_t http_version = 0;
  uint32_t rooms_version = 0;
  size_t ws_max_rooms = 0;
  ConnectionLimits limits;
  absl::Duration drain_deadline;
  absl::Duration watch;
  absl::Duration staging_deadline;
  absl::Duration frozen_deadline;
  size_t fd_store = 0;  // descriptors; 0: none is kept
  AdminOptions admin;  // without an address: none
};

// INVALID_ARGUMENT with a line that says which flag is wrong and what it takes.
// "--help" prints Usage() and ends the process with 0.
absl::StatusOr<Settings> ReadFlags(int argc, char** argv);

// The flags, what they mean and their defaults.
std::string Usage();

}  // namespace handoff::server

#endif  // HANDOFF_SERVER_SETTINGS_H_
