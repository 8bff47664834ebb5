#include "handoff/integrations/admin/check_options.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace handoff {
namespace {

bool IsLoopback(const in_addr& address) {
  return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

bool IsLoopback(const in6_addr& address) {
  in_addr mapped;
  std::memcpy(&mapped, &address.s6_addr[12], sizeof(mapped));
  return IN6_IS_ADDR_LOOPBACK(&address) ||
         (IN6_IS_ADDR_V4MAPPED(&address) && IsLoopback(mapped));
}

bool IsLoopback(const sockaddr_storage& address) {
  return address.ss_family == AF_INET6
             ? IsLoopback(
                   reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr)
             : IsLoopback(
                   reinterpret_cast<const sockaddr_in*>(&address)->sin_addr);
}

// Whether the host of "tcp:HOST:PORT" is an address, and none of loopback. What
// a name stands for we cannot know: it need not be what the listener has.
bool NamesOthersThanLoopback(absl::string_view address) {
  absl::ConsumePrefix(&address, "tcp:");
  absl::string_view host = address.substr(0, address.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  const std::string text(host);
  in_addr v4;
  in6_addr v6;
  return (::inet_pton(AF_INET, text.c_str(), &v4) == 1 && !IsLoopback(v4)) ||
         (::inet_pton(AF_INET6, text.c_str(), &v6) == 1 && !IsLoopback(v6));
}

}  // namespace

bool OnUnixSocket(const AdminOptions& options) {
  return absl::StartsWith(options.address, "unix:");
}

absl::Status CheckOptions(const AdminOptions& options) {
  const bool users =
      !options.operators.uids.empty() || !options.operators.gids.empty() ||
      !options.readers.uids.empty() || !options.readers.gids.empty();
  const bool certificates = !options.operators.certificates.empty() ||
                            !options.readers.certificates.empty();
  if (OnUnixSocket(options)) {
    if (!options.tls.empty() || certificates) {
      return absl::InvalidArgumentError(
          "TLS and names of certificates are for TCP: on a Unix socket the "
          "kernel says who connects");
    }
    return absl::OkStatus();
  }
  if (users) {
    return absl::InvalidArgumentError(
        "uids and gids are for a Unix socket: over TCP certificates say who "
        "calls");
  }
  if (options.insecure_plaintext_tcp) {
    if (options.tls.empty() && !certificates) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "insecure_plaintext_tcp (--admin_insecure_plaintext_tcp) and TLS "
        "together: leave one of them out");
  }
  if (options.tls.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.address,
        ": without TLS whoever reaches the port could operate this process; "
        "use unix:/path, or give the TLS files, or, where that is what you "
        "want, insecure_plaintext_tcp (--admin_insecure_plaintext_tcp)"));
  }
  if (!certificates) {
    return absl::InvalidArgumentError(
        "no client could call over TLS: name certificates that are operators "
        "or readers");
  }
  return absl::OkStatus();
}

absl::Status CheckListener(int listener, const AdminOptions& options) {
  sockaddr_storage bound = {};
  socklen_t length = sizeof(bound);
  if (::getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &length) <
      0) {
    return absl::ErrnoToStatus(errno, "getsockname of the admin listener");
  }
  const bool on_unix = bound.ss_family == AF_UNIX;
  if (on_unix != OnUnixSocket(options) ||
      (!on_unix && bound.ss_family != AF_INET && bound.ss_family != AF_INET6)) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.address, ": the predecessor's listener is ",
        on_unix ? "a Unix socket" : "no Unix socket",
        ", and who calls is found out in another way there; configure what the "
        "predecessor has, or stop it and start afresh"));
  }
  if (options.insecure_plaintext_tcp && !IsLoopback(bound) &&
      !NamesOthersThanLoopback(options.address)) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.address,
        ": the listener can be reached from elsewhere, and whoever does so "
        "could operate this process; use TLS, or stop the predecessor and "
        "start afresh, or, where that is what you want, name the host by its "
        "address"));
  }
  return absl::OkStatus();
}

}  // namespace handoff
