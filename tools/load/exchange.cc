#include "tools/load/exchange.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/load/pattern.h"

namespace handoff::load {
namespace {

constexpr absl::string_view kHost = "Host: demo\r\n";

// Small, so that a slow upload is often between two chunks, or within the line
// of a chunk's size, when the handoff comes.
constexpr size_t kChunk = 700;

}  // namespace

Exchange HealthOnce() {
  Exchange exchange;
  exchange.request = absl::StrCat("GET /healthz HTTP/1.1\r\n", kHost,
                                  "Connection: close\r\n\r\n");
  exchange.text = "ok";
  exchange.closes = true;
  return exchange;
}

Exchange Whoami() {
  Exchange exchange;
  exchange.request = absl::StrCat("GET /whoami HTTP/1.1\r\n", kHost, "\r\n");
  return exchange;
}

Exchange Stream(uint64_t bytes, uint64_t bytes_per_second) {
  Exchange exchange;
  exchange.request =
      absl::StrCat("GET /stream?bytes=", bytes, "&rate=", bytes_per_second,
                   " HTTP/1.1\r\n", kHost, "\r\n");
  exchange.length = bytes;
  exchange.paced = true;
  return exchange;
}

Exchange Echo(uint64_t offset, size_t length, bool chunked) {
  Exchange exchange;
  const std::string body = Pattern(offset, length);
  absl::StrAppend(&exchange.request, "POST /echo HTTP/1.1\r\n", kHost);
  if (chunked) {
    absl::StrAppend(&exchange.request, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < body.size(); at += kChunk) {
      const std::string chunk = body.substr(at, kChunk);
      absl::StrAppend(&exchange.request, absl::Hex(chunk.size()), "\r\n", chunk,
                      "\r\n");
    }
    absl::StrAppend(&exchange.request, "0\r\n\r\n");
  } else {
    absl::StrAppend(&exchange.request, "Content-Length: ", length, "\r\n\r\n",
                    body);
  }
  exchange.offset = offset;
  exchange.length = length;
  return exchange;
}

absl::Status AnswerChecker::Consume(absl::string_view bytes) {
  absl::Status consumed = reader_.Consume(
      bytes, [this](absl::string_view piece) { return CheckBody(piece); });
  if (!consumed.ok() || !reader_.done()) return consumed;
  if (reader_.status_code() != 200) {
    return absl::FailedPreconditionError(
        absl::StrCat("status ", reader_.status_code(), " ", text_));
  }
  const uint64_t expected =
      exchange_.text.empty() ? exchange_.length : exchange_.text.size();
  if (expected != 0 && checked_ != expected) {
    return absl::DataLossError(absl::StrCat("the body ended after ", checked_,
                                            " of ", expected, " bytes"));
  }
  if (exchange_.closes && !reader_.closes()) {
    return absl::DataLossError("no \"Connection: close\" in the answer");
  }
  return absl::OkStatus();
}

absl::Status AnswerChecker::CheckBody(absl::string_view piece) {
  const bool keeps_text = reader_.status_code() != 200 ||
                          (exchange_.text.empty() && exchange_.length == 0);
  if (keeps_text) {
    if (text_.size() + piece.size() > kMaxText) {
      return absl::DataLossError("the body is too long for what was asked");
    }
    text_.append(piece.data(), piece.size());
    checked_ += piece.size();
    return absl::OkStatus();
  }
  size_t wrong = absl::string_view::npos;
  if (exchange_.text.empty()) {
    wrong = FirstMismatch(piece, exchange_.offset + checked_);
    if (wrong == absl::string_view::npos &&
        checked_ + piece.size() > exchange_.length) {
      wrong = exchange_.length - checked_;
    }
  } else if (exchange_.text.compare(
                 std::min<size_t>(checked_, exchange_.text.size()),
                 piece.size(), piece.data(), piece.size()) != 0) {
    wrong = 0;
  }
  if (wrong != absl::string_view::npos) {
    return absl::DataLossError(
        absl::StrFormat("byte %d of the body is wrong", checked_ + wrong));
  }
  checked_ += piece.size();
  return absl::OkStatus();
}

}  // namespace handoff::load
