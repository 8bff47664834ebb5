// From bytes to answers: what a Connection does with a request.

#include <string>

#include "absl/strings/str_cat.h"
#include "server/connection.h"
#include "server/page.h"

namespace handoff::server {
namespace {

absl::string_view ProblemOf(int status) {
  switch (status) {
    case 413:
      return "the body is too large\n";
    case 417:
      return "only 100-continue can be expected\n";
    case 431:
      return "the header is too large\n";
    case 500:
      return "the body could not be stored\n";
    case 505:
      return "only HTTP/1.0 and HTTP/1.1 are spoken here\n";
    case 507:
      return "there is no room for the body\n";
    default:
      return "this is no HTTP/1.1 request\n";
  }
}

}  // namespace

// Parses `*bytes` as far as answers allow, and takes what it has parsed away.
void Connection::Consume(absl::string_view* bytes, absl::Time now) {
  while (!bytes->empty() && (websocket_ != nullptr || can_parse())) {
    if (websocket_ != nullptr) {
      TakeBytes(*bytes, now);
      bytes->remove_prefix(bytes->size());
      return;
    }
    const bool begun = parser_.begun();
    size_t used = 0;
    const RequestParser::Result result = parser_.Parse(
        *bytes, [this](absl::string_view piece) { return StoreBody(piece); },
        &used);
    bytes->remove_prefix(used);
    if (parser_.begun() && (!begun || parser_.headers_done())) {
      waiting_since_ = now;
    }
    switch (result) {
      case RequestParser::Result::kMore:
        break;
      case RequestParser::Result::kHeaders:
        OnHeaders(now);
        break;
      case RequestParser::Result::kRequest:
        OnRequest(now);
        break;
      case RequestParser::Result::kError:
        Fail(parser_.error_status(), ProblemOf(parser_.error_status()), {},
             now);
        break;
    }
  }
}

int Connection::StoreBody(absl::string_view piece) {
  if (route_.endpoint != Endpoint::kEcho || route_.status != 200) return 0;
  const absl::Status stored = body_.Append(piece);
  if (stored.ok()) return 0;
  return absl::IsResourceExhausted(stored) ? 507 : 500;
}

void Connection::OnHeaders(absl::Time now) {
  const Request& request = parser_.request();
  route_ = FindRoute(request);
  if (!request.expects_continue || !request.has_body) return;
  if (route_.status == 200) {
    AppendContinue(&output_);
  } else {
    // The client asked first: it need not send a body for nothing. Whether it
    // will is unknown, so no other request can be found after this one.
    Fail(route_.status, route_.problem, route_.allow, now);
  }
}

void Connection::OnRequest(absl::Time now) {
  ++requests_;
  const Request& request = parser_.request();
  const Mode mode = info_->mode.load(std::memory_order_relaxed);
  last_answer_ = !request.keep_alive || mode != Mode::kServing || drains_;

  if (route_.status != 200) {
    ResponseHead head;
    head.status = route_.status;
    head.allow = route_.allow;
    Respond(head, route_.problem);
  } else {
    switch (route_.endpoint) {
      case Endpoint::kNone:
        break;
      case Endpoint::kHealthz: {
        ResponseHead head;
        if (mode == Mode::kDraining) head.status = 503;
        Respond(head, mode == Mode::kDraining ? "draining" : "ok");
        break;
      }
      case Endpoint::kPage: {
        ResponseHead head;
        head.content_type = "text/html; charset=utf-8";
        Respond(head, kPage);
        break;
      }
      case Endpoint::kWhoami: {
        ResponseHead head;
        head.content_type = "application/json";
        Respond(head, Whoami() + "\n");
        break;
      }
      case Endpoint::kMetrics: {
        ResponseHead head;
        head.content_type = "text/plain; version=0.0.4; charset=utf-8";
        Respond(head, info_->metrics ? info_->metrics() : "");
        break;
      }
      case Endpoint::kWebSocket:
        Upgrade(now);
        break;
      case Endpoint::kEcho: {
        ResponseHead head;
        head.content_type = "application/octet-stream";
        head.content_length = body_.size();
        Respond(head, {});
        if (body_.size() > 0) answer_ = Answer::kEcho;
        break;
      }
      case Endpoint::kStream: {
        ResponseHead head;
        head.content_type = "application/octet-stream";
        head.content_length = route_.stream_bytes;
        Respond(head, {});
        if (request.method != HTTP_HEAD && route_.stream_bytes > 0) {
          answer_ = Answer::kStream;
          stream_.total = route_.stream_bytes;
          stream_.rate = route_.stream_rate;
          stream_.offset = 0;
          stream_.started = now;
        }
        break;
      }
    }
  }
  parser_.Reset();
}

// `head` without persistence, and without a length where `body` is the body.
void Connection::Respond(ResponseHead head, absl::string_view body) {
  const Request& request = parser_.request();
  if (last_answer_) {
    head.persistence = Persistence::kClose;
  } else if (request.http_minor == 0) {
    head.persistence = Persistence::kKeepAlive;
  }
  if (!body.empty()) head.content_length = body.size();
  info_->answers[static_cast<size_t>(head.status / 100 - 1)].fetch_add(
      1, std::memory_order_relaxed);
  AppendHead(head, &output_);
  if (!parser_.headers_done() || request.method != HTTP_HEAD) {
    absl::StrAppend(&output_, body);
  }
}

std::string Connection::Whoami() const {
  std::string json = absl::StrCat("{\"pid\":", info_->pid, ",\"label\":");
  AppendJsonString(info_->label, &json);
  absl::StrAppend(&json, ",\"generation\":", info_->generation,
                  ",\"id\":", owner_->id(), ",\"requests\":", requests_,
                  ",\"handoffs\":", owner_->handoffs(), "}");
  return json;
}

// The request cannot be answered in full, so where the next one begins is not
// known: this answer is the last.
void Connection::Fail(int status, absl::string_view problem,
                      absl::string_view allow, absl::Time now) {
  last_answer_ = true;
  ResponseHead head;
  head.status = status;
  head.allow = allow;
  Respond(head, problem);
  parser_.Reset();
  body_.Clear();
  waiting_since_ = now;
  owner_->Changed();
}

}  // namespace handoff::server
