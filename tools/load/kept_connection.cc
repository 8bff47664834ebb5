#include "tools/load/kept_connection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace handoff::load {
namespace {

// The figures below make about 10,000 sends and receives a second with 1,540
// connections: a load that two cores carry while two servers hand over.

constexpr uint64_t kThinkMsLow = 400;
constexpr uint64_t kThinkMsHigh = 1000;
constexpr uint64_t kSmallBody = 2000;

// Bytes a second. The server writes up to a hundred times a second, but not
// less than a byte: most streams are slow, which is cheap, and cut between any
// two bytes; one in so many is fast, and shows a short wait.
constexpr uint64_t kSlowRate = 12;
constexpr uint64_t kFastRate = 20'000;
constexpr uint64_t kFastOneIn = 16;
constexpr uint64_t kStreamMsLow = 7000;
constexpr uint64_t kStreamMsHigh = 11000;
constexpr uint64_t kShortStreamMsLow = 1500;
constexpr uint64_t kShortStreamMsHigh = 3000;

// An upload is shorter than the time between two handoffs, which waits for it:
// its body is proven only when it has come back.
constexpr uint64_t kUploadBodyLow = 8 * 1024;
constexpr uint64_t kUploadBodyHigh = 24 * 1024;
constexpr uint64_t kUploadMsLow = 1800;
constexpr uint64_t kUploadMsHigh = 2600;
constexpr uint64_t kPieceMs = 200;

constexpr uint64_t kSlowBody = 96 * 1024;
constexpr uint64_t kSlowReadMs = 2400;

}  // namespace

KeptConnection::KeptConnection(Kind kind, uint64_t seed, EventLoop* loop,
                               Generations* generations, Tally* tally)
    : kind_(kind),
      loop_(*loop),
      generations_(*generations),
      tally_(*tally),
      random_(seed),
      connection_(loop, this) {}

absl::Status KeptConnection::Open(const sockaddr_in& server) {
  if (absl::Status opened =
          connection_.Open(server, kind_ == Kind::kSlowReader);
      !opened.ok()) {
    return opened;
  }
  serves_since_ = loop_.now();
  connection_.Start(Whoami(), absl::ZeroDuration());
  return absl::OkStatus();
}

void KeptConnection::OnServes() {
  serves_since_ = loop_.now();
  hold_planned_ = false;
  if (lost_) return;
  connection_.Release();
  if (connection_.idle()) Next();
}

void KeptConnection::WindDown() {
  winding_down_ = true;
  hold_planned_ = false;
  if (lost_) return;
  connection_.Release();
  if (connection_.idle()) Next();
}

void KeptConnection::BeforeHandoff() {
  exchange_before_ = connection_.begun();
  request_before_ = connection_.mid_request();
  answer_before_ = connection_.mid_answer();
}

bool KeptConnection::WasCut() const {
  return !lost_ && connection_.begun() == exchange_before_ &&
         ((request_before_ && connection_.mid_request()) ||
          (answer_before_ && connection_.mid_answer()));
}

bool KeptConnection::prepared() const {
  return proven() && (!hold_planned_ || connection_.held());
}

void KeptConnection::OnChecked(uint64_t bytes) {
  tally_.bytes_checked += bytes;
  // Only a stream's bytes prove anything by the time at which they come: they
  // are due all the time, and read at once.
  if (kind_ == Kind::kStreams && !asks_whoami_ &&
      proven_ == generations_.current() &&
      loop_.now() > serves_since_ + kSettle) {
    ++proven_;
  }
}

void KeptConnection::OnAnswer(const std::string& text) {
  const Connection::Waits waits = connection_.waits();
  tally_.longest_answer_wait =
      std::max(tally_.longest_answer_wait, waits.answer);
  tally_.longest_pace_gap = std::max(tally_.longest_pace_gap, waits.pace);
  if (asks_whoami_) {
    if (absl::Status right = CheckWhoami(text); !right.ok()) {
      connection_.Close();
      OnFailure(absl::StrCat(right.message()));
      return;
    }
  }
  ++tally_.requests_ok;
  if (last_asked_) {
    connection_.Close();
    kept_ = proven();
    if (!kept_) OnFailure("was never answered by some of the processes");
    return;
  }
  Next();
}

void KeptConnection::OnFailure(const std::string& why) {
  ++tally_.requests_failed;
  lost_ = true;
  tally_.AddProblem(absl::StrCat("a kept connection: ", why));
}

absl::Status KeptConnection::CheckWhoami(const std::string& text) {
  const absl::StatusOr<WhoamiAnswer> answer = ParseWhoami(text);
  if (!answer.ok()) return answer.status();
  const absl::StatusOr<size_t> generation = generations_.Index(answer->pid);
  if (!generation.ok()) return generation.status();
  const bool first = id_.empty();
  if (first) id_ = answer->id;
  // Every connection was opened to the first process, so that a generation's
  // index is the number of handoffs that the connection has lived through.
  if (answer->id != id_ || answer->requests != connection_.begun() ||
      answer->handoffs != *generation || *generation < generation_) {
    return absl::DataLossError(
        absl::StrCat("has id ", id_, ", ", connection_.begun(),
                     " requests and ", *generation, " handoffs (at least ",
                     generation_, "); was told: ", text));
  }
  generation_ = *generation;
  if (generation_ == proven_) ++proven_;
  return absl::OkStatus();
}

void KeptConnection::Next() {
  if (winding_down_) {
    asks_whoami_ = last_asked_ = true;
    connection_.Start(Whoami(), absl::ZeroDuration());
    return;
  }
  if (kind_ == Kind::kIdle) {
    asks_whoami_ = true;
    // One request for each generation; OnServes() asks for the next.
    if (!proven()) {
      connection_.Start(Whoami(), absl::Milliseconds(Between(0, 1000)));
    }
    return;
  }
  // Small requests of either sort come as they fall, the others by turns.
  asks_whoami_ = kind_ == Kind::kRequests ? !proven() || Between(0, 1) == 0
                                          : !asks_whoami_;
  Exchange exchange = asks_whoami_ ? Whoami() : WorkExchange();
  if (kind_ != Kind::kRequests) {
    connection_.Start(std::move(exchange), absl::Milliseconds(Between(0, 50)));
    return;
  }
  const size_t hold =
      hold_planned_ && proven() ? Between(1, exchange.request.size() - 1) : 0;
  connection_.Start(std::move(exchange),
                    absl::Milliseconds(Between(kThinkMsLow, kThinkMsHigh)),
                    hold);
}

Exchange KeptConnection::WorkExchange() {
  const uint64_t offset = random_();
  const bool chunked = Between(0, 1) == 0;
  switch (kind_) {
    case Kind::kStreams: {
      const uint64_t milliseconds =
          short_streams_ ? Between(kShortStreamMsLow, kShortStreamMsHigh)
                         : Between(kStreamMsLow, kStreamMsHigh);
      const uint64_t rate = Between(1, kFastOneIn) == 1 ? kFastRate : kSlowRate;
      return Stream(rate * milliseconds / 1000, rate);
    }
    case Kind::kUploads: {
      Exchange exchange =
          Echo(offset, Between(kUploadBodyLow, kUploadBodyHigh), chunked);
      const uint64_t pieces = Between(kUploadMsLow, kUploadMsHigh) / kPieceMs;
      exchange.send_piece = exchange.request.size() / pieces + 1;
      exchange.send_interval = absl::Milliseconds(kPieceMs);
      return exchange;
    }
    case Kind::kSlowReader: {
      Exchange exchange = Echo(offset, kSlowBody, chunked);
      exchange.read_piece = kSlowBody / (kSlowReadMs / kPieceMs);
      exchange.read_interval = absl::Milliseconds(kPieceMs);
      return exchange;
    }
    case Kind::kRequests:
    case Kind::kIdle:
      break;
  }
  return Echo(offset, Between(1, kSmallBody), chunked);
}

uint64_t KeptConnection::Between(uint64_t low, uint64_t high) {
  return std::uniform_int_distribution<uint64_t>(low, high)(random_);
}

}  // namespace handoff::load
