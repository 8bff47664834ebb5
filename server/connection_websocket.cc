// From frames to frames: what a Connection does once it speaks WebSocket.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/connection.h"
#include "server/log.h"
#include "server/websocket_handshake.h"

namespace handoff::server {

// Answers the request that asks for it; `last_answer_` says whether this
// process serves on.
void Connection::Upgrade(absl::Time now) {
  const Handshake handshake = CheckHandshake(parser_.request());
  ResponseHead head;
  if (handshake.status != 101) {
    head.status = handshake.status;
    head.names_websocket = handshake.status == 426;
    Respond(head, handshake.problem);
    return;
  }
  const Mode mode = info_->mode.load(std::memory_order_relaxed);
  if (mode != Mode::kServing || drains_) {
    head.status = 503;
    Respond(head, "this process ends\n");
    return;
  }
  // That of a request that asks for more than one thing.
  last_answer_ = false;
  info_->answers[0].fetch_add(1, std::memory_order_relaxed);
  AppendSwitchToWebSocket(handshake.accept, &output_);
  BeginFrames();
  waiting_since_ = now;
}

void Connection::BeginFrames() {
  ChatMember::Client* client = this;
  websocket_ = std::make_unique<WebSocket>(info_->limits.ws_max_message_bytes,
                                           owner_->desk(), client);
}

void Connection::TakeBytes(absl::string_view bytes, absl::Time now) {
  websocket_->reader.Append(bytes);
  // While we wait for its Close, nothing else gives it more time.
  if (!websocket_->closing) Heard(now);
  ReadFrames();
}

void Connection::Heard(absl::Time now) {
  waiting_since_ = now;
  websocket_->pinged = false;
}

void Connection::ReadFrames() {
  WebSocketReader& reader = websocket_->reader;
  while (can_parse() && reader.has_unread()) {
    owner_->Changed();
    const WebSocketReader::Result result = reader.Next();
    // After our Close only the client's matters (section 5.5.1).
    if (websocket_->closing && result != WebSocketReader::Result::kClose &&
        result != WebSocketReader::Result::kFail) {
      continue;
    }
    switch (result) {
      case WebSocketReader::Result::kMore:
      case WebSocketReader::Result::kPong:
        break;
      case WebSocketReader::Result::kText:
        websocket_->member.OnText(reader.payload());
        break;
      case WebSocketReader::Result::kPing:
        AppendPongFrame(reader.payload(), &output_);
        break;
      case WebSocketReader::Result::kClose:
        if (!websocket_->closing) {
          AppendCloseFrame(reader.payload(), &output_);
        }
        last_answer_ = true;
        LeaveRooms();
        break;
      case WebSocketReader::Result::kFail:
        if (!websocket_->closing) {
          AppendCloseFrame(reader.close_code(), reader.problem(), &output_);
        }
        last_answer_ = true;
        LeaveRooms();
        break;
    }
  }
}

// Nothing but the client's Close is read from here on, and nothing written.
void Connection::StartClosing(CloseCode code, absl::string_view reason) {
  if (websocket_->closing || last_answer_) return;
  AppendCloseFrame(code, reason, &output_);
  websocket_->closing = true;
  owner_->Changed();
}

void Connection::LeaveRooms() {
  if (websocket_ != nullptr) websocket_->member.LeaveAll();
}

absl::Time Connection::FramesDeadline() const {
  absl::Time earliest = blocked_since_ + info_->limits.write_timeout;
  if (websocket_->closing) {
    if (output().empty()) {
      earliest = std::min(earliest, waiting_since_ + kLingerTimeout);
    }
  } else if (wants_read()) {
    // Whom we do not read cannot be silent.
    earliest = std::min(earliest, waiting_since_ + info_->limits.ws_ping);
  }
  return earliest;
}

Connection::Next Connection::OnFramesLate(absl::Time now) {
  if (websocket_->closing) return Next::kClose;
  if (websocket_->pinged) return Next::kReset;
  websocket_->pinged = true;
  waiting_since_ = now;
  AppendPingFrame(&output_);
  owner_->Changed();
  return Advance(now);
}

void Connection::SendText(absl::string_view text) {
  std::string frame;
  AppendTextFrame(text, &frame);
  SendFrame(frame);
}

void Connection::SendFrame(absl::string_view frame) {
  if (websocket_->closing || last_answer_) return;
  const size_t most = info_->limits.ws_max_queue_bytes;
  if (output().size() + frame.size() > most) {
    Log("slow-reader", absl::StrCat("connection ", owner_->id(),
                                    " reads too slowly: more than ", most,
                                    " bytes would wait for it; it is closed"));
    StartClosing(CloseCode::kTryAgainLater, "you read too slowly");
    return;
  }
  absl::StrAppend(&output_, frame);
}

void Connection::DeliverFrame(absl::string_view frame) {
  SendFrame(frame);
  owner_->WriteSoon();
}

void Connection::SaveFrames(v1::WebSocket* state) const {
  const absl::string_view fragments = websocket_->reader.fragments();
  state->set_in_message(websocket_->reader.in_message());
  state->set_fragments(fragments.data(), fragments.size());
  state->set_pinged(websocket_->pinged);
  state->set_closing(websocket_->closing);
  // Who is leaving gets nothing more.
  if (!websocket_->closing) websocket_->member.Save(state);
}

absl::Status Connection::RestoreFrames(const v1::WebSocket& state,
                                       absl::string_view input) {
  BeginFrames();
  websocket_->pinged = state.pinged();
  websocket_->closing = state.closing();
  if (absl::Status s = websocket_->reader.Restore(state.in_message(),
                                                  state.fragments(), input);
      !s.ok()) {
    return s;
  }
  return websocket_->member.Restore(state);
}

}  // namespace handoff::server
