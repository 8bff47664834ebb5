// What of a Connection moves to another process.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/connection.h"

namespace handoff::server {
namespace {

// A clock of another time namespace may be ahead of ours; nothing has happened
// in the future.
absl::Time FromNanos(int64_t nanos, absl::Time now) {
  return std::min(absl::FromUnixNanos(nanos), now);
}

}  // namespace

void Connection::Save(uint32_t version, v1::HttpConnection* state) const {
  state->Clear();
  state->set_requests(requests_);
  state->set_client_ended(client_ended_);
  state->set_last_answer(last_answer_);
  state->set_lingering(lingering_);
  if (parser_.begun()) parser_.Save(state->mutable_parser());
  if (body_.size() > 0) body_.Save(state->mutable_body());
  if (answer_ == Answer::kEcho) {
    state->mutable_echo()->set_offset(echo_offset_);
  } else if (answer_ == Answer::kStream) {
    v1::Stream* stream = state->mutable_stream();
    stream->set_total(stream_.total);
    stream->set_rate(stream_.rate);
    stream->set_offset(stream_.offset);
    stream->set_started_at(absl::ToUnixNanos(stream_.started));
  }
  // Where the version has none, Peer sends nothing.
  if (websocket_ != nullptr) SaveFrames(state->mutable_websocket());
  if (version >= 2) {
    v1::Timing* timing = state->mutable_timing();
    timing->set_waiting_since(absl::ToUnixNanos(waiting_since_));
    if (blocked_since_ != absl::InfiniteFuture()) {
      timing->set_blocked_since(absl::ToUnixNanos(blocked_since_));
    }
  }
}

absl::Status Connection::Restore(uint32_t version,
                                 const v1::HttpConnection& state,
                                 absl::string_view input,
                                 absl::string_view output, int body_file,
                                 absl::Time now) {
  requests_ = state.requests();
  client_ended_ = state.client_ended();
  last_answer_ = state.last_answer();
  lingering_ = state.lingering();
  input_.clear();
  input_used_ = 0;
  output_.assign(output.data(), output.size());
  output_used_ = 0;
  paced_ = false;

  parser_.Reset();
  route_ = Route();
  websocket_ = nullptr;
  if (state.has_websocket()) {
    if (version < 3) {
      return absl::FailedPreconditionError(
          absl::StrCat("a WebSocket, which version ", version,
                       " of the state does not have"));
    }
    if (state.has_parser() || state.answer_case() != state.ANSWER_NOT_SET) {
      return absl::InvalidArgumentError("a WebSocket with a request");
    }
    if (absl::Status s = RestoreFrames(state.websocket(), input); !s.ok()) {
      return s;
    }
  } else {
    input_.assign(input.data(), input.size());
  }
  if (state.has_parser()) {
    if (absl::Status s = parser_.Restore(state.parser()); !s.ok()) return s;
    if (parser_.headers_done()) route_ = FindRoute(parser_.request());
  }
  if (absl::Status s = body_.Restore(state.body(), body_file); !s.ok()) {
    return s;
  }

  answer_ = Answer::kNone;
  echo_offset_ = 0;
  stream_ = Stream();
  if (state.has_echo()) {
    answer_ = Answer::kEcho;
    echo_offset_ = state.echo().offset();
    if (echo_offset_ >= body_.size()) {
      return absl::InvalidArgumentError("an echo that is over");
    }
  } else if (state.has_stream()) {
    answer_ = Answer::kStream;
    stream_.total = state.stream().total();
    stream_.rate = state.stream().rate();
    stream_.offset = state.stream().offset();
    stream_.started = FromNanos(state.stream().started_at(), now);
    if (stream_.offset >= stream_.total) {
      return absl::InvalidArgumentError("a stream that is over");
    }
  }
  if (parser_.begun() && answer_ != Answer::kNone) {
    return absl::InvalidArgumentError(
        "a request is read while another is answered");
  }

  waiting_since_ = now;
  blocked_since_ = absl::InfiniteFuture();
  if (version >= 2 && state.has_timing()) {
    waiting_since_ = FromNanos(state.timing().waiting_since(), now);
    if (state.timing().blocked_since() != 0) {
      blocked_since_ = FromNanos(state.timing().blocked_since(), now);
    }
  }
  return absl::OkStatus();
}

}  // namespace handoff::server
