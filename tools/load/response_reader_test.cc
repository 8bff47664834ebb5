#include "tools/load/response_reader.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace handoff::load {
namespace {

struct Result {
  absl::Status status;
  std::string body;
  bool done = false;
};

// Gives the reader `text` in pieces of `size` bytes.
Result Read(absl::string_view text, size_t size) {
  ResponseReader reader;
  Result result;
  for (size_t at = 0; at < text.size() && result.status.ok(); at += size) {
    result.status =
        reader.Consume(text.substr(at, size), [&](absl::string_view piece) {
          result.body.append(piece.data(), piece.size());
          return absl::OkStatus();
        });
  }
  result.done = reader.done();
  return result;
}

constexpr absl::string_view kWithLength =
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
constexpr absl::string_view kChunked =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n"
    "4;name=value\r\nhell\r\n00A\r\no, chunks!\r\n0\r\nTrailer: x\r\n\r\n";

TEST(ResponseReaderTest, ReadsABodyWithALengthInPiecesOfAnySize) {
  for (size_t size = 1; size <= kWithLength.size(); ++size) {
    const Result result = Read(kWithLength, size);
    EXPECT_TRUE(result.status.ok()) << size << ": " << result.status;
    EXPECT_TRUE(result.done) << size;
    EXPECT_EQ(result.body, "hello") << size;
  }
}

TEST(ResponseReaderTest, ReadsChunksInPiecesOfAnySize) {
  for (size_t size = 1; size <= kChunked.size(); ++size) {
    const Result result = Read(kChunked, size);
    EXPECT_TRUE(result.status.ok()) << size << ": " << result.status;
    EXPECT_TRUE(result.done) << size;
    EXPECT_EQ(result.body, "hello, chunks!") << size;
  }
}

TEST(ResponseReaderTest, IsNotDoneBeforeTheLastByte) {
  for (const absl::string_view text : {kWithLength, kChunked}) {
    for (size_t end = 0; end < text.size(); ++end) {
      const Result result = Read(text.substr(0, end), 1);
      EXPECT_TRUE(result.status.ok()) << end << ": " << result.status;
      EXPECT_FALSE(result.done) << end << " of " << text;
    }
  }
}

TEST(ResponseReaderTest, AnEmptyBodyEndsWithTheHead) {
  const Result result =
      Read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 100);
  EXPECT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(result.done);
}

TEST(ResponseReaderTest, TellsStatusAndClose) {
  ResponseReader reader;
  EXPECT_FALSE(reader.started());
  ASSERT_TRUE(reader
                  .Consume("HTTP/1.1 503 Busy\r\nConnection: CLOSE\r\n"
                           "Content-Length: 9\r\n\r\n",
                           [](absl::string_view) { return absl::OkStatus(); })
                  .ok());
  EXPECT_TRUE(reader.started());
  EXPECT_TRUE(reader.has_head());
  EXPECT_EQ(reader.status_code(), 503);
  EXPECT_TRUE(reader.closes());
}

TEST(ResponseReaderTest, BytesAfterTheEndAreAnError) {
  for (const absl::string_view text : {kWithLength, kChunked}) {
    for (const size_t size : {size_t{1}, text.size() + 1}) {
      const Result result = Read(absl::StrCat(text, "H"), size);
      EXPECT_TRUE(absl::IsOutOfRange(result.status)) << result.status;
    }
  }
}

TEST(ResponseReaderTest, WhatIsNoResponseIsAnError) {
  for (const absl::string_view text : {
           absl::string_view("GET / HTTP/1.1\r\n\r\n"),
           absl::string_view("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
           absl::string_view("HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\n\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\n"
                             "Transfer-Encoding: gzip\r\n\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\n"
                             "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
           absl::string_view("HTTP/1.1 200 OK\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
       }) {
    const Result result = Read(text, 7);
    EXPECT_TRUE(absl::IsInvalidArgument(result.status))
        << text << ": " << result.status;
  }
}

TEST(ResponseReaderTest, AHeadWithoutEndIsAnError) {
  const std::string text =
      "HTTP/1.1 200 OK\r\nX: " + std::string(ResponseReader::kMaxHead, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(Read(text, 1000).status));
}

}  // namespace
}  // namespace handoff::load
