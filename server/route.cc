#include "server/route.h"

#include <http_parser.h>

#include <cstdint>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace handoff::server {
namespace {

struct Target {
  absl::string_view path;
  absl::string_view query;
};

Target SplitTarget(absl::string_view target) {
  target = target.substr(0, target.find('#'));
  if (target.empty() || target[0] != '/') {
    // "http://host/path", as a client of a proxy writes it; or nothing we have.
    http_parser_url url;
    http_parser_url_init(&url);
    if (http_parser_parse_url(target.data(), target.size(), 0, &url) != 0) {
      return {};
    }
    const auto field = [&](http_parser_url_fields which) {
      return (url.field_set & 1 << which) == 0
                 ? absl::string_view()
                 : target.substr(url.field_data[which].off,
                                 url.field_data[which].len);
    };
    return {field(UF_PATH), field(UF_QUERY)};
  }
  const size_t mark = target.find('?');
  if (mark == absl::string_view::npos) return {target, {}};
  return {target.substr(0, mark), target.substr(mark + 1)};
}

// Digits only: no sign, no space.
bool ParseNumber(absl::string_view text, uint64_t* number) {
  return text.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, number) &&
         // What follows from it must fit a file offset and a Content-Length.
         *number <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
}

bool ParseStream(absl::string_view query, Route* route) {
  bool has_bytes = false;
  for (absl::string_view parameter : absl::StrSplit(query, '&')) {
    const size_t equals = parameter.find('=');
    if (equals == absl::string_view::npos) return false;
    const absl::string_view name = parameter.substr(0, equals);
    const absl::string_view value = parameter.substr(equals + 1);
    if (name == "bytes") {
      if (!ParseNumber(value, &route->stream_bytes)) return false;
      has_bytes = true;
    } else if (name != "rate" || !ParseNumber(value, &route->stream_rate)) {
      return false;
    }
  }
  return has_bytes;
}

}  // namespace

Route FindRoute(const Request& request) {
  const Target target = SplitTarget(request.target);
  Route route;
  if (target.path == "/") {
    route.endpoint = Endpoint::kPage;
  } else if (target.path == "/healthz") {
    route.endpoint = Endpoint::kHealthz;
  } else if (target.path == "/whoami") {
    route.endpoint = Endpoint::kWhoami;
  } else if (target.path == "/echo") {
    route.endpoint = Endpoint::kEcho;
  } else if (target.path == "/stream") {
    route.endpoint = Endpoint::kStream;
  } else if (target.path == "/metrics") {
    route.endpoint = Endpoint::kMetrics;
  } else if (target.path == "/ws") {
    route.endpoint = Endpoint::kWebSocket;
  } else {
    route.status = 404;
    route.problem = "nothing is here\n";
    return route;
  }

  const bool post = route.endpoint == Endpoint::kEcho;
  // A handshake has no answer without what comes after it.
  const bool head = !post && route.endpoint != Endpoint::kWebSocket;
  if (request.method != (post ? HTTP_POST : HTTP_GET) &&
      !(head && request.method == HTTP_HEAD)) {
    route.status = 405;
    route.allow = post ? "POST" : head ? "GET, HEAD" : "GET";
    route.problem = "not with this method\n";
    return route;
  }
  if (route.endpoint == Endpoint::kStream &&
      !ParseStream(target.query, &route)) {
    route.status = 400;
    route.problem =
        "/stream?bytes=N&rate=R takes two numbers; rate may be left out\n";
  }
  return route;
}

}  // namespace handoff::server
