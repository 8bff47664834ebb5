#include "server/request_parser.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace handoff::server {
namespace {

// Longer than any name, and any value, that this service looks at.
constexpr size_t kFieldBytes = 24;
constexpr size_t kValueBytes = 320;  // an origin has a name of a host

// Means "no Content-Length" in http_parser::content_length.
constexpr uint64_t kNoLength = std::numeric_limits<uint64_t>::max();

void AppendUpTo(size_t limit, absl::string_view bytes, std::string* to) {
  const size_t room = limit - std::min(limit, to->size());
  to->append(bytes.data(), std::min(room, bytes.size()));
}

std::string VersionName(uint32_t version) {
  return absl::StrCat(version >> 16 & 0xff, ".", version >> 8 & 0xff, ".",
                      version & 0xff);
}

}  // namespace

struct RequestParser::Callbacks {
  static RequestParser& Of(http_parser* parser) {
    return *static_cast<RequestParser*>(parser->data);
  }

  static int MessageBegin(http_parser* parser) {
    Of(parser).begun_ = true;
    return 0;
  }

  static int Url(http_parser* parser, const char* at, size_t size) {
    RequestParser& self = Of(parser);
    self.request_.target.append(at, size);
    return self.CountHeaderBytes(size);
  }

  static int HeaderField(http_parser* parser, const char* at, size_t size) {
    RequestParser& self = Of(parser);
    if (self.in_value_ && self.EndOfField() != 0) return -1;
    AppendUpTo(kFieldBytes, absl::string_view(at, size), &self.field_);
    return self.CountHeaderBytes(size);
  }

  static int HeaderValue(http_parser* parser, const char* at, size_t size) {
    RequestParser& self = Of(parser);
    self.in_value_ = true;
    AppendUpTo(kValueBytes, absl::string_view(at, size), &self.value_);
    return self.CountHeaderBytes(size);
  }

  static int HeadersComplete(http_parser* parser) {
    return Of(parser).HeadersComplete();
  }

  static int Body(http_parser* parser, const char* at, size_t size) {
    return Of(parser).BodyPiece(absl::string_view(at, size));
  }

  static int MessageComplete(http_parser* parser) {
    Of(parser).stopped_at_ = Result::kRequest;
    http_parser_pause(parser, 1);
    return 0;
  }

  static const http_parser_settings& Settings() {
    static const http_parser_settings settings = [] {
      http_parser_settings s;
      http_parser_settings_init(&s);
      s.on_message_begin = MessageBegin;
      s.on_url = Url;
      s.on_header_field = HeaderField;
      s.on_header_value = HeaderValue;
      s.on_headers_complete = HeadersComplete;
      s.on_body = Body;
      s.on_message_complete = MessageComplete;
      return s;
    }();
    return settings;
  }
};

RequestParser::Result RequestParser::Parse(absl::string_view bytes,
                                           BodySink sink, size_t* used) {
  parser_.data = this;
  sink_ = &sink;
  stopped_at_ = Result::kMore;
  *used = http_parser_execute(&parser_, &Callbacks::Settings(), bytes.data(),
                              bytes.size());
  sink_ = nullptr;
  switch (HTTP_PARSER_ERRNO(&parser_)) {
    case HPE_OK:
      return Result::kMore;
    case HPE_PAUSED:
      http_parser_pause(&parser_, 0);
      return stopped_at_;
    case HPE_HEADER_OVERFLOW:
      Fail(431);
      return Result::kError;
    default:
      Fail(400);  // unless a callback has said what it is
      return Result::kError;
  }
}

void RequestParser::Reset() {
  http_parser_init(&parser_, HTTP_REQUEST);
  request_.target.clear();
  request_.keep_alive = false;
  request_.expects_continue = false;
  request_.has_body = false;
  request_.upgrades_to_websocket = false;
  request_.websocket_key.clear();
  request_.websocket_version.clear();
  request_.origin.clear();
  request_.host.clear();
  begun_ = false;
  headers_done_ = false;
  field_.clear();
  value_.clear();
  in_value_ = false;
  unknown_expectation_ = false;
  header_bytes_ = 0;
  body_bytes_ = 0;
  hosts_ = 0;
  error_status_ = 0;
}

int RequestParser::Fail(int status) {
  if (error_status_ == 0) error_status_ = status;
  return -1;
}

int RequestParser::CountHeaderBytes(size_t bytes) {
  header_bytes_ += bytes;
  return header_bytes_ > limits_.max_header_bytes ? Fail(431) : 0;
}

int RequestParser::EndOfField() {
  // After the body come trailers, which mean nothing here.
  if (!headers_done_) {
    const absl::string_view value = absl::StripAsciiWhitespace(value_);
    if (absl::EqualsIgnoreCase(field_, "host")) {
      // One and only one: RFC 7230, section 5.4.
      if (++hosts_ > 1) return Fail(400);
      request_.host = std::string(value);
    } else if (absl::EqualsIgnoreCase(field_, "upgrade")) {
      for (absl::string_view name : absl::StrSplit(value, ',')) {
        if (absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(name),
                                   "websocket")) {
          request_.upgrades_to_websocket = true;
        }
      }
    } else if (absl::EqualsIgnoreCase(field_, "sec-websocket-key")) {
      // A second one makes it too long for a key.
      absl::StrAppend(&request_.websocket_key, value);
    } else if (absl::EqualsIgnoreCase(field_, "sec-websocket-version")) {
      absl::StrAppend(&request_.websocket_version, value);
    } else if (absl::EqualsIgnoreCase(field_, "origin")) {
      absl::StrAppend(&request_.origin, value);
    } else if (absl::EqualsIgnoreCase(field_, "expect")) {
      if (absl::EqualsIgnoreCase(value, "100-continue")) {
        request_.expects_continue = true;
      } else {
        unknown_expectation_ = true;
      }
    }
  }
  field_.clear();
  value_.clear();
  in_value_ = false;
  return 0;
}

int RequestParser::HeadersComplete() {
  if (in_value_ && EndOfField() != 0) return -1;
  if (parser_.http_major != 1) return Fail(505);
  request_.http_minor = parser_.http_minor;
  request_.method = static_cast<http_method>(parser_.method);
  if (request_.http_minor >= 1 && hosts_ == 0) return Fail(400);
  if (request_.http_minor == 0) {
    // RFC 7231, section 5.1.1: from such a client it is to be ignored.
    request_.expects_continue = false;
  } else if (unknown_expectation_) {
    return Fail(417);
  }
  const bool chunked = (parser_.flags & F_CHUNKED) != 0;
  const bool sized = !chunked && parser_.content_length != kNoLength;
  if (sized && parser_.content_length > limits_.max_body_bytes) {
    return Fail(413);
  }
  request_.has_body = chunked || (sized && parser_.content_length > 0);
  request_.keep_alive = http_should_keep_alive(&parser_) != 0;
  if ((parser_.flags & F_CONNECTION_UPGRADE) == 0) {
    request_.upgrades_to_websocket = false;
  }
  // Without this the parser would stop at "Upgrade" and at CONNECT and take the
  // rest for something else. Where this service does change to another
  // protocol, it asks the parser no more.
  parser_.upgrade = 0;
  headers_done_ = true;
  stopped_at_ = Result::kHeaders;
  http_parser_pause(&parser_, 1);
  return 0;
}

int RequestParser::BodyPiece(absl::string_view piece) {
  body_bytes_ += piece.size();
  if (body_bytes_ > limits_.max_body_bytes) return Fail(413);
  const int status = (*sink_)(piece);
  return status == 0 ? 0 : Fail(status);
}

void RequestParser::Save(v1::Parser* state) const {
  state->set_library_version(static_cast<uint32_t>(http_parser_version()));
  state->set_flags(parser_.flags);
  state->set_state(parser_.state);
  state->set_header_state(parser_.header_state);
  state->set_index(parser_.index);
  state->set_uses_transfer_encoding(parser_.uses_transfer_encoding != 0);
  state->set_nread(parser_.nread);
  state->set_content_length(parser_.content_length);
  state->set_http_major(parser_.http_major);
  state->set_http_minor(parser_.http_minor);
  state->set_method(parser_.method);
  state->set_target(request_.target);
  state->set_field(field_);
  state->set_value(value_);
  state->set_in_value(in_value_);
  state->set_header_bytes(header_bytes_);
  state->set_body_bytes(body_bytes_);
  state->set_hosts(hosts_);
  state->set_headers_done(headers_done_);
  state->set_keep_alive(request_.keep_alive);
  state->set_expects_continue(request_.expects_continue);
  state->set_unknown_expectation(unknown_expectation_);
  state->set_has_body(request_.has_body);
  state->set_upgrades_to_websocket(request_.upgrades_to_websocket);
  state->set_websocket_key(request_.websocket_key);
  state->set_websocket_version(request_.websocket_version);
  state->set_origin(request_.origin);
  state->set_host(request_.host);
}

absl::Status RequestParser::Restore(const v1::Parser& state) {
  const uint32_t version = static_cast<uint32_t>(http_parser_version());
  if (state.library_version() != version) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a request that is half read is in the state of http-parser ",
        VersionName(state.library_version()), ", and this binary has ",
        VersionName(version)));
  }
  Reset();
  parser_.flags = state.flags();
  parser_.state = state.state();
  parser_.header_state = state.header_state();
  parser_.index = state.index();
  parser_.uses_transfer_encoding = state.uses_transfer_encoding() ? 1 : 0;
  parser_.nread = state.nread();
  parser_.content_length = state.content_length();
  parser_.http_major = static_cast<uint16_t>(state.http_major());
  parser_.http_minor = static_cast<uint16_t>(state.http_minor());
  parser_.method = state.method();
  // The fields are narrower than the message's: what did not fit was written by
  // no parser.
  if (parser_.flags != state.flags() || parser_.state != state.state() ||
      parser_.header_state != state.header_state() ||
      parser_.index != state.index() ||
      parser_.http_major != state.http_major() ||
      parser_.http_minor != state.http_minor() ||
      parser_.method != state.method()) {
    return absl::InvalidArgumentError("a parser's state is out of range");
  }
  begun_ = true;
  headers_done_ = state.headers_done();
  request_.method = static_cast<http_method>(parser_.method);
  request_.http_minor = parser_.http_minor;
  request_.target = state.target();
  request_.keep_alive = state.keep_alive();
  request_.expects_continue = state.expects_continue();
  request_.has_body = state.has_body();
  request_.upgrades_to_websocket = state.upgrades_to_websocket();
  request_.websocket_key = state.websocket_key();
  request_.websocket_version = state.websocket_version();
  request_.origin = state.origin();
  request_.host = state.host();
  field_ = state.field();
  value_ = state.value();
  in_value_ = state.in_value();
  unknown_expectation_ = state.unknown_expectation();
  header_bytes_ = state.header_bytes();
  body_bytes_ = state.body_bytes();
  hosts_ = state.hosts();
  return absl::OkStatus();
}

}  // namespace handoff::server
