#include "tools/load/response_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace handoff::load {
namespace {

absl::Status Malformed(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": \"", absl::CEscape(text.substr(0, 80)), "\""));
}

bool ParseHex(absl::string_view text, uint64_t* value) {
  return text.size() <= 15 && absl::SimpleHexAtoi(text, value);
}

}  // namespace

absl::Status ResponseReader::Consume(absl::string_view bytes, OnBody on_body) {
  started_ = started_ || !bytes.empty();
  while (!bytes.empty()) {
    switch (state_) {
      case State::kHead: {
        // The end of the block may lie across two pieces.
        const size_t known = text_.size();
        text_.append(bytes.data(), bytes.size());
        const size_t end = text_.find("\r\n\r\n", known < 3 ? 0 : known - 3);
        if (end == std::string::npos) {
          if (text_.size() > kMaxHead) return Malformed("endless head", text_);
          return absl::OkStatus();
        }
        bytes.remove_prefix(end + 4 - known);
        text_.resize(end);
        if (absl::Status parsed = ParseHead(); !parsed.ok()) return parsed;
        break;
      }
      case State::kBody:
      case State::kChunk: {
        const size_t size = std::min<uint64_t>(bytes.size(), remaining_);
        if (absl::Status taken = on_body(bytes.substr(0, size)); !taken.ok()) {
          return taken;
        }
        bytes.remove_prefix(size);
        remaining_ -= size;
        if (remaining_ == 0) {
          state_ = state_ == State::kChunk ? State::kChunkEnd : State::kDone;
        }
        break;
      }
      case State::kChunkSize:
      case State::kChunkEnd:
      case State::kTrailer: {
        if (!TakeLine(&bytes)) {
          if (text_.size() > kMaxHead) return Malformed("endless line", text_);
          return absl::OkStatus();
        }
        if (absl::Status parsed = ParseLine(); !parsed.ok()) {
          return parsed;
        }
        break;
      }
      case State::kDone:
        return absl::OutOfRangeError(absl::StrCat(
            bytes.size(), " bytes after the end of the response: \"",
            absl::CEscape(bytes.substr(0, 80)), "\""));
    }
  }
  return absl::OkStatus();
}

bool ResponseReader::TakeLine(absl::string_view* bytes) {
  const size_t end = bytes->find('\n');
  const size_t size = end == absl::string_view::npos ? bytes->size() : end + 1;
  text_.append(bytes->data(), size);
  bytes->remove_prefix(size);
  if (end == absl::string_view::npos) return false;
  text_.pop_back();
  if (!text_.empty() && text_.back() == '\r') text_.pop_back();
  return true;
}

absl::Status ResponseReader::ParseLine() {
  const std::string line = std::exchange(text_, {});
  if (state_ == State::kTrailer) {
    if (line.empty()) state_ = State::kDone;
    return absl::OkStatus();
  }
  if (state_ == State::kChunkEnd) {
    if (!line.empty()) return Malformed("chunk longer than its size", line);
    state_ = State::kChunkSize;
    return absl::OkStatus();
  }
  if (!ParseHex(line.substr(0, line.find(';')), &remaining_)) {
    return Malformed("not a chunk size", line);
  }
  state_ = remaining_ == 0 ? State::kTrailer : State::kChunk;
  return absl::OkStatus();
}

absl::Status ResponseReader::ParseHead() {
  const std::string head = std::exchange(text_, {});
  const std::vector<absl::string_view> lines = absl::StrSplit(head, "\r\n");
  // "HTTP/1.1 200 OK"
  const absl::string_view first = lines[0];
  if (!absl::StartsWith(first, "HTTP/1.1 ") ||
      !absl::SimpleAtoi(first.substr(9, 3), &status_code_) ||
      status_code_ < 200 || status_code_ > 599) {
    return Malformed("not a status line", first);
  }
  bool has_length = false;
  bool chunked = false;
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> field =
        absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    const absl::string_view value = absl::StripAsciiWhitespace(field.second);
    if (absl::EqualsIgnoreCase(field.first, "content-length")) {
      if (!absl::SimpleAtoi(value, &remaining_)) {
        return Malformed("not a length", lines[i]);
      }
      has_length = true;
    } else if (absl::EqualsIgnoreCase(field.first, "transfer-encoding")) {
      if (!absl::EqualsIgnoreCase(value, "chunked")) {
        return Malformed("unknown encoding", lines[i]);
      }
      chunked = true;
    } else if (absl::EqualsIgnoreCase(field.first, "connection")) {
      closes_ = absl::EqualsIgnoreCase(value, "close");
    }
  }
  if (has_length == chunked) {
    return Malformed("neither a length nor chunks, or both", head);
  }
  if (chunked) {
    state_ = State::kChunkSize;
  } else {
    state_ = remaining_ == 0 ? State::kDone : State::kBody;
  }
  return absl::OkStatus();
}

}  // namespace handoff::load
