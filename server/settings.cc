#include "server/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <utf8cpp/utf8.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "handoff/handoff.h"
#include "server/connection.h"

ABSL_FLAG(std::string, http, "tcp:127.0.0.1:8080",
          "where to serve HTTP: tcp:HOST:PORT, tcp:[V6]:PORT or unix:/PATH; "
          "port 0 lets the kernel choose. A predecessor's listener is used "
          "wherever it listens");
ABSL_FLAG(std::string, grpc, "",
          "where to serve gRPC, with addresses as for --http; nowhere without "
          "it");
ABSL_FLAG(std::string, handoff, "",
          "path of the Unix socket at which processes of this service meet; "
          "required");
ABSL_FLAG(std::string, log_format, "text", "of the log: text, or json");
ABSL_FLAG(std::string, label, "", "shown by /whoami and by tools");
ABSL_FLAG(int, workers, 2, "event loops, each with a thread");
ABSL_FLAG(bool, sharded, false,
          "a listener of its own for each worker (--http at a TCP address), in "
          "place of one for all");
ABSL_FLAG(uint64_t, max_connections, 10000,
          "connections at the same time, HTTP and gRPC each; fewer where "
          "RLIMIT_NOFILE is too low");
ABSL_FLAG(uint64_t, max_header_bytes, 32768,
          "request target, header names and values; 431 beyond it");
ABSL_FLAG(uint64_t, max_body_bytes, 67108864, "request body; 413 beyond it");
ABSL_FLAG(absl::Duration, idle_timeout, absl::Seconds(60),
          "how long a connection may wait for its next request");
ABSL_FLAG(
    absl::Duration, request_timeout, absl::Seconds(30),
    "how long a header may take to arrive, and how long a body may stall; "
    "408 beyond it");
ABSL_FLAG(absl::Duration, write_timeout, absl::Seconds(120),
          "how long a client may leave its answer unread before it is reset");
ABSL_FLAG(absl::Duration, drain_deadline, absl::Seconds(30),
          "how long what cannot move, or is in flight at SIGTERM, may go on");
ABSL_FLAG(absl::Duration, watch, absl::Seconds(10),
          "how long to stay after a handoff, to take over again from a "
          "successor that crashes");
ABSL_FLAG(absl::Duration, staging_deadline, absl::Seconds(60),
          "how long a successor may take to receive and restore everything");
ABSL_FLAG(absl::Duration, frozen_deadline, absl::Seconds(2),
          "how long connections may stand still in a handoff before it is "
          "aborted");
ABSL_FLAG(uint32_t, max_state_version, handoff::server::kHighestMaxStateVersion,
          "the newest state to write and read; less, to be as an older release "
          "is, before a rollback to one");
ABSL_FLAG(uint64_t, ws_max_message_bytes, 1048576,
          "WebSocket: a message, either way; 1009 beyond it");
ABSL_FLAG(uint64_t, ws_max_queue_bytes, 4194304,
          "WebSocket: what may wait for a client that reads slowly; 1013 "
          "beyond it");
ABSL_FLAG(absl::Duration, ws_ping, absl::Seconds(30),
          "WebSocket: a client that is silent so long is sent a ping, and is "
          "reset after as long again");
ABSL_FLAG(uint64_t, ws_max_rooms, 1000,
          "rooms; for one more, one that nobody is in is forgotten");

ABSL_FLAG(uint32_t, fd_store, 0,
          "how many descriptors to keep in systemd's fd store, for the next "
          "process should this one crash: FileDescriptorStoreMax= of the unit");

ABSL_FLAG(std::string, admin, "",
          "where to serve the admin endpoint, with addresses as for --http; "
          "nowhere without it");
ABSL_FLAG(std::string, admin_operators, "",
          "who may operate by the admin endpoint, beside this user and root: "
          "uid:N and gid:N (Unix socket), cert:NAME (TLS), with commas");
ABSL_FLAG(std::string, admin_readers, "",
          "who may read there, in the same way");
ABSL_FLAG(std::string, admin_executables, "",
          "paths, with commas, of what an operator may have executed to take "
          "over, beside this program");
ABSL_FLAG(bool, admin_show_state, false,
          "operators may see the state of connections, secrets included");
ABSL_FLAG(std::string, admin_tls_certificate, "",
          "PEM file; required, with the next two, for --admin=tcp:HOST:PORT");
ABSL_FLAG(std::string, admin_tls_key, "", "PEM file");
ABSL_FLAG(std::string, admin_tls_client_authority, "",
          "PEM file: whose certificates clients must have");
ABSL_FLAG(bool, admin_insecure_plaintext_tcp, false,
          "serve --admin=tcp:HOST:PORT without TLS: whoever reaches the port "
          "is an operator");

namespace handoff::server {
namespace {

// Of http-parser: 80 KiB for a header section, separators included.
constexpr uint64_t kMostHeaderBytes = 64 * 1024;
constexpr uint64_t kFewestHeaderBytes = 256;
constexpr int kMostWorkers = 256;
constexpr uint64_t kMostConnections = 1'000'000;
constexpr uint64_t kFewestMessageBytes = 1024;
constexpr uint64_t kMostMessageBytes = 16 * 1024 * 1024;
// Of what is in the state of one connection, which has a limit too.
constexpr uint64_t kMostQueueBytes = 32 * 1024 * 1024;
constexpr uint64_t kMostRooms = 10'000;

absl::Status Wrong(absl::string_view flag, absl::string_view value,
                   absl::string_view takes) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--", flag, "=", value, " cannot be used: it takes ", takes));
}

absl::Status CheckRange(absl::string_view flag, uint64_t value, uint64_t least,
                        uint64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Wrong(flag, absl::StrCat(value),
               absl::StrCat("a number from ", least, " to ", most));
}

absl::Status CheckDuration(absl::string_view flag, absl::Duration value,
                           absl::Duration least) {
  constexpr absl::Duration kMost = absl::Hours(24 * 365);
  if (value >= least && value <= kMost) return absl::OkStatus();
  return Wrong(flag, absl::FormatDuration(value),
               absl::StrCat("a time from ", absl::FormatDuration(least),
                            " to a year, as in 500ms or 30s or 5m"));
}

// absl::ParseCommandLine() ends the process with another code and several
// lines, so flags are checked before it sees them.
absl::Status CheckArguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::StartsWith(argument, "-") || argument == "-" ||
        argument == "--") {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", argument, "' is no flag: give flags as --name=value"));
    }
    argument.remove_prefix(absl::StartsWith(argument, "--") ? 2 : 1);
    const size_t equals = argument.find('=');
    const absl::string_view name = argument.substr(0, equals);
    // Here and not by Abseil, for which help is a failure.
    if (absl::StartsWith(name, "help")) {
      fputs(Usage().c_str(), stdout);
      exit(0);
    }
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          "there is no flag --", name, ": --help lists those there are"));
    }
    absl::string_view value;
    if (equals != absl::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < argc) {
      value = argv[++i];
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " needs a value: --", name, "=VALUE"));
    }
    std::string error;
    if (!flag->ParseFrom(value, &error)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", name, "=", value, " cannot be read", error.empty() ? "" : ": ",
          error, "; for instance --", name, "=", flag->DefaultValue()));
    }
  }
  return absl::OkStatus();
}

// As far as that can be seen without asking the system.
bool IsAddress(absl::string_view address) {
  if (absl::ConsumePrefix(&address, "unix:")) {
    return absl::StartsWith(address, "/");
  }
  if (!absl::ConsumePrefix(&address, "tcp:")) return false;
  const size_t colon = address.rfind(':');
  uint32_t port;
  return colon != absl::string_view::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port <= 65535;
}

absl::StatusOr<AdminParty> ReadParty(absl::string_view flag,
                                     absl::string_view value) {
  AdminParty party;
  for (absl::string_view one : absl::StrSplit(value, ',', absl::SkipEmpty())) {
    uint32_t id;
    const absl::string_view whole = one;
    if (absl::ConsumePrefix(&one, "uid:") && absl::SimpleAtoi(one, &id)) {
      party.uids.push_back(id);
    } else if (absl::ConsumePrefix(&one, "gid:") &&
               absl::SimpleAtoi(one, &id)) {
      party.gids.push_back(id);
    } else if (absl::ConsumePrefix(&one, "cert:") && !one.empty()) {
      party.certificates.emplace_back(one);
    } else {
      return Wrong(flag, whole, "uid:N, gid:N and cert:NAME, with commas");
    }
  }
  return party;
}

absl::StatusOr<AdminOptions> ReadAdmin() {
  AdminOptions admin;
  admin.address = absl::GetFlag(FLAGS_admin);
  if (!admin.address.empty() && !IsAddress(admin.address)) {
    return Wrong("admin", admin.address,
                 "unix:/PATH, tcp:HOST:PORT or tcp:[V6]:PORT");
  }
  auto operators =
      ReadParty("admin_operators", absl::GetFlag(FLAGS_admin_operators));
  if (!operators.ok()) return operators.status();
  admin.operators = *std::move(operators);
  auto readers = ReadParty("admin_readers", absl::GetFlag(FLAGS_admin_readers));
  if (!readers.ok()) return readers.status();
  admin.readers = *std::move(readers);
  admin.executables = absl::StrSplit(absl::GetFlag(FLAGS_admin_executables),
                                     ',', absl::SkipEmpty());
  admin.allow_state = absl::GetFlag(FLAGS_admin_show_state);
  admin.tls.certificate = absl::GetFlag(FLAGS_admin_tls_certificate);
  admin.tls.key = absl::GetFlag(FLAGS_admin_tls_key);
  admin.tls.client_authority = absl::GetFlag(FLAGS_admin_tls_client_authority);
  admin.insecure_plaintext_tcp =
      absl::GetFlag(FLAGS_admin_insecure_plaintext_tcp);
  return admin;
}

absl::Status CheckSettings(const Settings& s) {
  if (s.handoff.empty()) {
    return absl::InvalidArgumentError(
        "--handoff is required: --handoff=/run/service/handoff.sock, in a "
        "folder that only this user can write");
  }
  if (!IsAddress(s.http)) {
    return Wrong("http", s.http, "tcp:HOST:PORT, tcp:[V6]:PORT or unix:/PATH");
  }
  if (!s.grpc.empty() && !IsAddress(s.grpc)) {
    return Wrong("grpc", s.grpc, "tcp:HOST:PORT, tcp:[V6]:PORT or unix:/PATH");
  }
  if (s.label.size() > kMaxNameBytes ||
      utf8::find_invalid(s.label.begin(), s.label.end()) != s.label.end()) {
    return Wrong("label", "...",
                 absl::StrCat("UTF-8 of at most ", kMaxNameBytes, " bytes"));
  }
  const struct {
    absl::string_view flag;
    uint64_t value, least, most;
  } numbers[] = {
      // A negative number of workers is very large here.
      {"workers", static_cast<uint64_t>(s.workers), 1, kMostWorkers},
      {"max_connections", s.max_connections, 1, kMostConnections},
      {"max_header_bytes", s.limits.max_header_bytes, kFewestHeaderBytes,
       kMostHeaderBytes},
      {"max_body_bytes", s.limits.max_body_bytes, 0,
       std::numeric_limits<int64_t>::max()},
      {"ws_max_message_bytes", s.limits.ws_max_message_bytes,
       kFewestMessageBytes, kMostMessageBytes},
      // Room for what somebody who joins is sent, and one message.
      {"ws_max_queue_bytes", s.limits.ws_max_queue_bytes,
       s.limits.ws_max_message_bytes + 2 * 1024 * 1024, kMostQueueBytes},
      {"ws_max_rooms", s.ws_max_rooms, 1, kMostRooms},
      {"fd_store", s.fd_store, 0, kMostConnections},
  };
  for (const auto& n : numbers) {
    absl::Status status = CheckRange(n.flag, n.value, n.least, n.most);
    if (!status.ok()) return status;
  }
  const struct {
    absl::string_view flag;
    absl::Duration value, least;
  } durations[] = {
      {"idle_timeout", s.limits.idle_timeout, absl::Milliseconds(1)},
      {"request_timeout", s.limits.request_timeout, absl::Milliseconds(1)},
      {"ws_ping", s.limits.ws_ping, absl::Milliseconds(1)},
      {"write_timeout", s.limits.write_timeout, absl::Milliseconds(1)},
      {"staging_deadline", s.staging_deadline, absl::Milliseconds(1)},
      {"frozen_deadline", s.frozen_deadline, absl::Milliseconds(1)},
      {"drain_deadline", s.drain_deadline, absl::ZeroDuration()},
      {"watch", s.watch, absl::ZeroDuration()},
  };
  for (const auto& d : durations) {
    absl::Status status = CheckDuration(d.flag, d.value, d.least);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

std::string Usage() {
  // Sorted by name.
  std::map<absl::string_view, absl::CommandLineFlag*> flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    // Not Abseil's own.
    if (absl::EndsWith(flag->Filename(), "server/settings.cc")) {
      flags.emplace(name, flag);
    }
  }
  std::string usage =
      "handoff_server --handoff=PATH [--name=value ...]\n"
      "serves HTTP, and hands its connections to the next process that is "
      "started with the same --handoff\n\n";
  for (const auto& [name, flag] : flags) {
    const std::string value = flag->DefaultValue();
    absl::StrAppend(&usage, "  --", name, "  ", flag->Help());
    if (!value.empty()) absl::StrAppend(&usage, " (default ", value, ")");
    usage += '\n';
  }
  return usage;
}

absl::StatusOr<Settings> ReadFlags(int argc, char** argv) {
  if (absl::Status s = CheckArguments(argc, argv); !s.ok()) return s;
  absl::ParseCommandLine(argc, argv);

  Settings s;
  s.http = absl::GetFlag(FLAGS_http);
  s.grpc = absl::GetFlag(FLAGS_grpc);
  s.handoff = absl::GetFlag(FLAGS_handoff);
  s.label = absl::GetFlag(FLAGS_label);
  const std::string log_format = absl::GetFlag(FLAGS_log_format);
  const absl::StatusOr<LogFormat> format = ParseLogFormat(log_format);
  if (!format.ok()) return Wrong("log_format", log_format, "text or json");
  s.log_format = *format;
  s.workers = absl::GetFlag(FLAGS_workers);
  s.sharded = absl::GetFlag(FLAGS_sharded);
  s.max_connections = absl::GetFlag(FLAGS_max_connections);
  const uint32_t newest = absl::GetFlag(FLAGS_max_state_version);
  if (absl::Status status =
          CheckRange("max_state_version", newest, kLowestMaxStateVersion,
                     kHighestMaxStateVersion);
      !status.ok()) {
    return status;
  }
  s.http_version = std::min(newest, kHighestStateVersion);
  s.rooms_version = newest < 4 ? 1 : kHighestRoomsVersion;
  s.ws_max_rooms = absl::GetFlag(FLAGS_ws_max_rooms);
  s.limits.ws_max_message_bytes = absl::GetFlag(FLAGS_ws_max_message_bytes);
  s.limits.ws_max_queue_bytes = absl::GetFlag(FLAGS_ws_max_queue_bytes);
  s.limits.ws_ping = absl::GetFlag(FLAGS_ws_ping);
  s.limits.max_header_bytes = absl::GetFlag(FLAGS_max_header_bytes);
  s.limits.max_body_bytes = absl::GetFlag(FLAGS_max_body_bytes);
  s.limits.idle_timeout = absl::GetFlag(FLAGS_idle_timeout);
  s.limits.request_timeout = absl::GetFlag(FLAGS_request_timeout);
  s.limits.write_timeout = absl::GetFlag(FLAGS_write_timeout);
  s.drain_deadline = absl::GetFlag(FLAGS_drain_deadline);
  s.watch = absl::GetFlag(FLAGS_watch);
  s.staging_deadline = absl::GetFlag(FLAGS_staging_deadline);
  s.frozen_deadline = absl::GetFlag(FLAGS_frozen_deadline);
  s.fd_store = absl::GetFlag(FLAGS_fd_store);
  absl::StatusOr<AdminOptions> admin = ReadAdmin();
  if (!admin.ok()) return admin.status();
  s.admin = *std::move(admin);
  if (absl::Status status = CheckSettings(s); !status.ok()) return status;
  return s;
}

}  // namespace handoff::server
