#include "tools/command_check.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace handoff {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(5);
// A rehearsal restores everything: as long as a handoff may stage, and as much
// again.
constexpr absl::Duration kRehearsalTimeout = absl::Minutes(2);

template <typename... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

void FromEnvironment(const char* name, std::string& value) {
  if (!value.empty()) return;
  const char* const set = std::getenv(name);
  if (set != nullptr) value = set;
}

absl::Status CheckAddress(const AdminAddress& admin) {
  const absl::string_view address = admin.address;
  if (absl::StartsWith(address, "unix:") && address.size() > 5) {
    return absl::OkStatus();
  }
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  // HOST has at least one character.
  if (!absl::StartsWith(address, "tcp:") || colon < 5 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port == 0 ||
      port > 65'535) {
    return Wrong("--admin is unix:PATH or tcp:HOST:PORT, not '", address, "'");
  }
  if (!admin.insecure_tcp &&
      (admin.ca.empty() || admin.certificate.empty() || admin.key.empty())) {
    return Wrong(
        "tcp needs --admin_ca, --admin_cert and --admin_key, or, where whoever "
        "can reach the network may read and forge everything, "
        "--admin_insecure_plaintext_tcp");
  }
  return absl::OkStatus();
}

// Whom to ask, of those verbs that have the choice.
bool MayAskSocket(const CommandLine& line) {
  return line.verb == Verb::kStatus || line.verb == Verb::kList ||
         line.verb == Verb::kLedger ||
         (line.verb == Verb::kUpgrade && !line.wait) || !line.command.empty();
}

absl::Status ChooseWhom(CommandLine& line, absl::string_view verb) {
  if (!line.command.empty()) {
    // Executed here, beside the service: only its socket will do.
    line.admin = AdminAddress();
    if (!line.path.empty()) return absl::OkStatus();
    return Wrong(verb, " needs --handoff=PATH, the service's socket");
  }
  // What is given on the command line goes before the environment.
  if (line.path.empty() || !MayAskSocket(line)) {
    FromEnvironment("HANDOFF_ADMIN", line.admin.address);
  }
  if (!line.admin.address.empty()) {
    line.path.clear();
    FromEnvironment("HANDOFF_ADMIN_CA", line.admin.ca);
    FromEnvironment("HANDOFF_ADMIN_CERT", line.admin.certificate);
    FromEnvironment("HANDOFF_ADMIN_KEY", line.admin.key);
    return CheckAddress(line.admin);
  }
  if (MayAskSocket(line)) {
    if (!line.path.empty()) return absl::OkStatus();
    return Wrong(verb,
                 " needs --handoff=PATH, the service's socket, or "
                 "--admin=ADDR, its admin endpoint");
  }
  if (line.verb == Verb::kRehearse) {
    return Wrong(
        "rehearse needs -- COMMAND [ARGUMENT...], and --handoff=PATH, or else "
        "--admin=ADDR, the service's admin endpoint");
  }
  return Wrong(verb, " needs --admin=ADDR, the service's admin endpoint");
}

// The service executes it, whose working directory is another.
absl::Status MakeAbsolute(std::string& executable) {
  std::error_code error;
  const std::filesystem::path path =
      std::filesystem::absolute(executable, error);
  if (error) {
    return Wrong("--exe=", executable, " is relative, to a directory that ",
                 "cannot be found: ", error.message());
  }
  executable = path.string();
  return absl::OkStatus();
}

absl::Status CheckVerb(const CommandLine& line) {
  switch (line.verb) {
    case Verb::kRehearse:
      if (!line.command.empty() && !line.executable.empty()) {
        return Wrong(
            "--exe is what the service executes: leave it out, or "
            "'--' and what follows");
      }
      break;
    case Verb::kUpgrade:
      if (line.wait && !line.executable.empty()) {
        return Wrong("--wait executes nothing: leave out --exe, or --wait");
      }
      break;
    case Verb::kDrain:
      if (line.all == !line.sessions.empty()) {
        return Wrong("drain needs either --all or --session=ID");
      }
      break;
    case Verb::kLock:
      if (line.reason.empty()) {
        return Wrong("lock needs --reason=TEXT, for whoever is refused");
      }
      break;
    case Verb::kAccept:
      if (line.accept.empty()) return Wrong("accept needs 'on' or 'off'");
      break;
    default:
      break;
  }
  return absl::OkStatus();
}

void SetTimeout(CommandLine& line) {
  if (line.timeout != absl::ZeroDuration()) return;
  if (line.verb == Verb::kUpgrade) {
    line.timeout = absl::InfiniteDuration();
  } else if (line.verb == Verb::kRehearse) {
    line.timeout = kRehearsalTimeout;
  } else {
    line.timeout = kTimeout;
  }
}

}  // namespace

absl::Status CompleteCommandLine(CommandLine& line) {
  SetTimeout(line);
  if (line.verb == Verb::kHelp) return absl::OkStatus();
  if (line.verb == Verb::kCompletion) {
    if (!line.shell.empty()) return absl::OkStatus();
    return Wrong("completion needs the name of a shell: bash, zsh or fish");
  }
  if (line.verb == Verb::kRun) {
    if (!line.command.empty()) return absl::OkStatus();
    return Wrong("run needs -- COMMAND [ARGUMENT...]");
  }
  const absl::Status checked = CheckVerb(line);
  if (!checked.ok()) return checked;
  const absl::Status chosen = ChooseWhom(line, TextOf(line.verb).name);
  // An admin endpoint has a list of the paths that it allows.
  if (!chosen.ok() || line.path.empty() || line.executable.empty()) {
    return chosen;
  }
  return MakeAbsolute(line.executable);
}

}  // namespace handoff
