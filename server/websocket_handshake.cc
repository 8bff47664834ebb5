#include "server/websocket_handshake.h"

#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace handoff::server {
namespace {

constexpr size_t kKeyBytes = 16;

// RFC 6455, section 1.3.
std::string AcceptFor(absl::string_view key) {
  const std::string text =
      absl::StrCat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       digest);
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

bool IsKey(absl::string_view text) {
  std::string key;
  // 16 bytes in base64, padding included: Abseil does without it.
  return text.size() == 24 && absl::EndsWith(text, "==") &&
         absl::Base64Unescape(text, &key) && key.size() == kKeyBytes;
}

// "https://host:port" is of "host:port".
bool IsOf(absl::string_view origin, absl::string_view host) {
  const size_t scheme = origin.find("://");
  return scheme != absl::string_view::npos &&
         absl::EqualsIgnoreCase(origin.substr(scheme + 3), host);
}

}  // namespace

Handshake CheckHandshake(const Request& request) {
  Handshake answer;
  if (request.http_minor == 0 || request.has_body) {
    answer.status = 400;
    answer.problem = "a handshake is a GET of HTTP/1.1 without a body\n";
  } else if (!request.upgrades_to_websocket ||
             request.websocket_version != "13") {
    answer.status = 426;
    answer.problem = "here WebSocket is spoken, version 13\n";
  } else if (!IsKey(request.websocket_key)) {
    answer.status = 400;
    answer.problem = "Sec-WebSocket-Key is 16 bytes in base64\n";
  } else if (!request.origin.empty() && !IsOf(request.origin, request.host)) {
    answer.status = 403;
    answer.problem = "not for pages of another origin\n";
  } else {
    answer.accept = AcceptFor(request.websocket_key);
  }
  return answer;
}

}  // namespace handoff::server
